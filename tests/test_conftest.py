"""The fixture that fails a test for what it leaves behind, tried on tests that do."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path
from xml.etree import ElementTree

import pytest

IMPORTS = """
import os
import socket
import sys
import threading

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.protocol import Factory, ProcessProtocol, Protocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.python.failure import Failure
"""

CLEAN = """
def test_nothing():
    pass


def test_timer_cancelled():
    reactor.callLater(60, print).cancel()


def test_timer_of_this_turn():
    reactor.callLater(0, int)


@pytest_twisted.ensureDeferred
async def test_timer_passed():
    await deferLater(reactor, 0.001)


@pytest_twisted.ensureDeferred
async def test_connection_closed_without_waiting():
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Factory.forProtocol(Protocol))
    client = await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port), Protocol())
    client.transport.loseConnection()
    port.stopListening()


@pytest_twisted.ensureDeferred
async def test_pool_of_the_reactor():
    assert await deferToThread(int) == 0


def test_thread_that_ends_soon():
    threading.Timer(0.01, int).start()


def test_socket_closed():
    socket.socket().close()


def test_failures_flushed(logged_errors):
    fail(ZeroDivisionError("one"))
    fail(KeyError("two"))
    assert [failure.value.args for failure in logged_errors.flush(KeyError)] == [("two",)]
    assert [failure.value.args for failure in logged_errors.flush()] == [("one",)]
    assert logged_errors.flush() == []


def test_failure_in_a_cycle_flushed(logged_errors):
    deferred = fail(ZeroDivisionError("one"))
    deferred.itself = deferred
    del deferred
    assert len(logged_errors.flush(ZeroDivisionError)) == 1


def test_messages_flushed(logged_errors):
    Logger().error("no {what}", what="luck")
    Logger().warn("no {what}", what="matter")
    Logger().failure("at all", Failure(KeyError("two")))
    assert logged_errors.flush_messages() == ["no luck"]
    assert repr(logged_errors).startswith('<LoggedErrors ["at all')
    assert len(logged_errors.flush()) == 1
"""

LEAKING = {
    "timer": ("reactor.callLater(60, print)", "a timer: <DelayedCall *"),
    "short_timer": ("reactor.callLater(0.05, int)", "a timer: <DelayedCall *"),
    "port": (
        "reactor.listenTCP(0, Factory(), interface='127.0.0.1')",
        "a reader of the reactor: <*Factory* on *",
    ),
    "child": ("reactor.spawnProcess(ProcessProtocol(), '/bin/cat', ['cat'])", "a child process: <* pid=*"),
    "thread": ("threading.Thread(target=wait, name='straggler').start()", "a thread: <Thread(straggler*"),
    "pipe": ("os.pipe()", "a file descriptor: ('*', 'pipe:*"),
    "socket": ("kept.append(socket.socket())", "a file descriptor: ('*', 'socket:*"),
    "file": ("os.open(__file__, os.O_RDONLY)", "a file descriptor: ('*', '*test_leaking.py')"),
    "deferred": ("fail(ZeroDivisionError('one'))", "*ZeroDivisionError: one*"),
    "deferred_in_a_cycle": ("in_a_cycle(fail(ZeroDivisionError('one')))", "*ZeroDivisionError: one*"),
    "error": ("Logger().error('no {what}', what='luck')", "a logged error: no luck"),
    "failure": ("Logger().failure('no luck', Failure(KeyError('two')))", "a logged error: no luck"),
    "failed_callback": ("reactor.callLater(0, int, 'many')", "*invalid literal for int() *'many'*"),
    "unclosed_socket": ("in_a_cycle(socket.socket())", "*ResourceWarning: unclosed <socket.socket *"),
    "coroutine": ("in_a_cycle(never_awaited())", "*coroutine 'never_awaited' was never awaited*"),
}

LEAKING_PARTS = """
kept = []
stop = threading.Event()


def wait():
    stop.wait(30)


def in_a_cycle(thing):
    cycle = [thing]
    cycle.append(cycle)


async def never_awaited():
    pass
"""


ENDLESS = """
@pytest_twisted.ensureDeferred
async def test_waits_for_what_never_comes():
    await Deferred()


@pytest_twisted.ensureDeferred
async def test_after_it():
    await deferLater(reactor, 0.001)
"""


def run(pytester: pytest.Pytester, settings: Path, name: str, tests: str) -> dict[str, str]:
    """Run tests under this project's conftest and pytest settings; the complaint about each, if any."""
    conftest = Path(__file__).with_name("conftest.py").read_text()
    pytester.makeconftest(conftest.replace("LONGEST_TEST = 60.0", "LONGEST_TEST = 0.5"))
    pytester.path.joinpath("pyproject.toml").write_text(settings.read_text())
    pytester.makepyfile(**{name: IMPORTS + tests})
    pytester.runpytest_subprocess(f"{name}.py", "--junitxml=report.xml", "-p", "no:cacheprovider")
    cases = ElementTree.parse(pytester.path / "report.xml").iter("testcase")
    return {case.get("name", ""): "".join(case.itertext()).strip() for case in cases}


def test_passes_what_is_clean(pytester: pytest.Pytester, pytestconfig: pytest.Config) -> None:
    complaints = run(pytester, pytestconfig.rootpath / "pyproject.toml", "test_clean", CLEAN)
    assert complaints == dict.fromkeys(re.findall(r"def (test_\w+)", CLEAN), "")


def test_fails_what_leaks_and_nothing_after_it(pytester: pytest.Pytester, pytestconfig: pytest.Config) -> None:
    tests = "".join(
        f"\n\ndef test_{name}():\n    {leak}\n\n\ndef test_after_{name}():\n    pass\n"
        for name, (leak, _) in LEAKING.items()
    )
    settings = pytestconfig.rootpath / "pyproject.toml"
    complaints = run(pytester, settings, "test_leaking", LEAKING_PARTS + tests + "    stop.set()\n")
    assert len(complaints) == 2 * len(LEAKING)
    for name, (_, complaint) in LEAKING.items():
        assert fnmatchcase(complaints[f"test_{name}"], f"*{complaint}*"), name
        assert complaints[f"test_after_{name}"] == "", name


def test_gives_up_what_never_ends(pytester: pytest.Pytester, pytestconfig: pytest.Config) -> None:
    complaints = run(pytester, pytestconfig.rootpath / "pyproject.toml", "test_endless", ENDLESS)
    assert "the test took more than 0.5 seconds" in complaints["test_waits_for_what_never_comes"]
    assert complaints["test_after_it"] == ""

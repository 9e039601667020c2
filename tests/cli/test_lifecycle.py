"""``pyproxyctl reload``, ``drain``, ``upgrade``, ``log-level``, ``health`` and ``metrics``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from tests.cli.api import API, Silence, answer, problem
from tests.cli.samples import STATISTICS, STATUS
from twistedproxy.cli import lifecycle
from twistedproxy.cli.lifecycle import LEVELS
from twistedproxy.control.types import Done, Health, Level, LogLevel

ROOT = Path(__file__).parents[2]

# A daemon that ends when it is told to drain, and leaves its socket.
DEPARTING = """
import os, sys
from pathlib import Path
import msgspec
from tests.cli.api import API, answer
from tests.cli.samples import STATUS

api = API(Path(sys.argv[1]))

def drain():
    api.closing.set()
    return answer({"detail": "draining"})

api.answers["GET", "/api/v1/status"] = answer(msgspec.structs.replace(STATUS, pid=os.getpid()))
api.answers["POST", "/api/v1/drain"] = drain
print("ready", flush=True)
api.closing.wait()
api.close()
"""


@pytest.mark.parametrize(("command", "path"), [("reload", "reload"), ("drain", "drain"), ("upgrade", "upgrade")])
def test_done(command: str, path: str, api: API, run: Callable[..., Any]) -> None:
    api.answers["POST", f"/api/v1/{path}"] = answer(Done("done\x1b"))
    ended = run(command)
    assert (ended.code, ended.out, ended.err) == (0, "done\\x1b\n", "")
    assert run(command, "--json").out == '{"detail":"done\\u001b"}\n'


@pytest.mark.parametrize("command", ["reload", "drain", "upgrade"])
@pytest.mark.parametrize(("status", "code"), [(409, 1), (503, 1), (500, 3)])
def test_refused(command: str, status: int, code: int, api: API, run: Callable[..., Any]) -> None:
    api.answers["POST", f"/api/v1/{command}"] = problem("No", status, "it is draining", ["one", "two"])
    ended = run(command)
    assert (ended.code, ended.out, ended.err) == (code, "", "pyproxyctl: No: it is draining\n  one\n  two\n")


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ((), b'{"timeout":null}'),
        (("--timeout", "2m"), b'{"timeout":120.0}'),
        (("--timeout", "0"), b'{"timeout":0.0}'),
    ],
)
def test_drain_timeout(arguments: tuple[str, ...], sent: bytes, api: API, run: Callable[..., Any]) -> None:
    api.answers["POST", "/api/v1/drain"] = answer(Done("draining"))
    assert run("drain", *arguments).code == 0
    assert api.requests == [("POST", "/api/v1/drain", sent)]


def test_drain_and_wait_for_the_process(run: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "sock"
    command = (sys.executable, "-c", DEPARTING, str(path))
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == b"ready\n"
        ended = run("--socket", str(path), "drain", "--wait")
        # It is a zombie by now, or on the way to be one.
        assert os.waitid(os.P_PID, daemon.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    assert (ended.code, ended.out) == (0, "it has ended\n")
    assert daemon.returncode == 0


@pytest.mark.parametrize(
    "after",
    [
        [msgspec.structs.replace(STATUS, state="draining"), msgspec.structs.replace(STATUS, pid=4712)],
        [STATUS, msgspec.structs.replace(STATUS, started=STATUS.started + 60)],
    ],
    ids=["another process", "the same number in another container"],
)
def test_drain_and_wait_until_another_answers(
    after: list[Any], api: API, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "_ASK_AGAIN", 0.01)
    answers = [answer(one) for one in (STATUS, *after)]
    api.answers["GET", "/api/v1/status"] = lambda: answers.pop(0)
    api.answers["POST", "/api/v1/drain"] = answer(Done("draining"))
    assert run("drain", "--wait").code == 0
    assert answers == []
    assert [path for _, path, _ in api.requests] == ["/api/v1/status", "/api/v1/drain", *["/api/v1/status"] * 2]


def test_drain_and_wait_until_nobody_answers(
    api: API, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "_ASK_AGAIN", 0.01)
    asked = []

    def status() -> bytes:
        asked.append(api.path.exists())
        if len(asked) == 3:
            api.path.unlink()
        # What was cut, it did not finish before it ended.
        return b"" if len(asked) == 2 else answer(STATUS)

    api.answers["GET", "/api/v1/status"] = status
    api.answers["POST", "/api/v1/drain"] = answer(Done("draining"))
    assert run("drain", "--wait").code == 0
    assert asked == [True, True, True]


def test_silent_one_is_still_there(api: API) -> None:
    from twistedproxy.cli.client import Client

    api.answers["GET", "/api/v1/status"] = Silence()
    departure = lifecycle.Departure(Client([api.path], 0.02), STATUS)
    assert departure._is_there()
    assert repr(departure) == "<Departure of 4711>"


def test_drain_and_wait_when_it_is_refused(api: API, run: Callable[..., Any]) -> None:
    """Here the process is this one, which had better not be waited for."""
    api.answers["GET", "/api/v1/status"] = answer(msgspec.structs.replace(STATUS, pid=os.getpid()))
    api.answers["POST", "/api/v1/drain"] = problem("Conflict", 409, "already")
    assert run("drain", "--wait").code == 1


def test_levels_are_the_apis() -> None:
    assert get_args(Level) == LEVELS


def test_log_level(api: API, run: Callable[..., Any]) -> None:
    api.answers["GET", "/api/v1/log-level"] = answer(LogLevel("info"))
    api.answers["PUT", "/api/v1/log-level"] = answer(LogLevel("debug"))
    assert run("log-level").out == "info\n"
    assert run("log-level", "debug").out == "debug\n"
    assert run("log-level", "debug", "--json").out == '{"level":"debug"}\n'
    assert run("log-level", "loud").code == 2
    assert [body for _, _, body in api.requests] == [b"", b'{"level":"debug"}', b'{"level":"debug"}']


@pytest.mark.parametrize(
    ("raw", "code", "out"),
    [
        (answer(Health("ok")), 0, "ok\n"),
        (answer(Health("draining"), 503), 1, "draining\n"),
        (problem("Service Unavailable", 503, "draining"), 1, ""),
        (answer("busy", 503, "text/plain"), 3, ""),
        (b"", 3, ""),
    ],
)
def test_health(raw: bytes, code: int, out: str, api: API, run: Callable[..., Any]) -> None:
    api.answers["GET", "/readyz"] = raw
    ended = run("health")
    assert (ended.code, ended.out) == (code, out)


def test_health_of_nobody(api: API, run: Callable[..., Any], tmp_path: Path) -> None:
    assert run("--socket", str(tmp_path / "none"), "health").code == 4
    api.answers["GET", "/readyz"] = Silence()
    assert run("health", "--answer-timeout", "20ms").code == 4


def test_health_as_json(api: API, run: Callable[..., Any]) -> None:
    api.answers["GET", "/readyz"] = answer(Health("draining"), 503)
    ended = run("health", "--json")
    assert (ended.code, ended.out) == (1, '{"status":"draining"}\n')


def test_metrics(api: API, run: Callable[..., Any]) -> None:
    text = '# HELP a b\na{c="d"} 1\n'
    api.answers["GET", "/metrics"] = answer(text, kind="text/plain")
    api.answers["GET", "/api/v1/status"] = answer(STATUS)
    assert run("metrics").out == text
    assert run("metrics", "--json").out == msgspec.json.encode(STATISTICS).decode() + "\n"

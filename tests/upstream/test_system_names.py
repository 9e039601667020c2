"""The system's own resolver; more of it, with the cache in front, in `test_resolver`."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from tests.upstream.test_resolver import Found, found, four
from twistedproxy import errors
from twistedproxy.upstream.answers import Answer
from twistedproxy.upstream.hosts_file import HostsFile
from twistedproxy.upstream.literals import ResolvedAddress
from twistedproxy.upstream.system_names import SystemNames

LookUp = Callable[["Found | Exception"], Deferred[Answer]]


@pytest.fixture
def look_up(running_reactor: Any, tmp_path: Path) -> Iterator[LookUp]:
    """Looks up a name for which getaddrinfo has this."""
    answers: list[Found | Exception] = []

    def getaddrinfo(host: bytes, port: None, family: int, kind: int) -> Found:
        assert (host, port, family, kind) == (b"a.example", None, socket.AF_UNSPEC, socket.SOCK_STREAM)
        answer = answers.pop()
        if isinstance(answer, Exception):
            raise answer
        return answer

    hosts = HostsFile(str(tmp_path / "none"))
    names = SystemNames(running_reactor, ttl=60, negative_ttl=5, threads=1, getaddrinfo=getaddrinfo, hosts_file=hosts)
    assert repr(names) == "<SystemNames <LookupThreads resolver busy=0/1 waiting=0>>"

    def begin(answer: Found | Exception) -> Deferred[Answer]:
        answers.append(answer)
        over: Deferred[Answer] = Deferred()

        def done(said: Answer, is_all: bool) -> None:
            assert is_all
            over.callback(said)

        names.begin("a.example", "client", done)
        return over

    yield begin
    names.close()


@pytest_twisted.ensureDeferred
async def test_addresses_hold_for_a_fixed_time(look_up: LookUp) -> None:
    answer = await look_up(found("10.0.0.1", "2001:db8::1"))
    assert answer.addresses == (four("10.0.0.1"), ResolvedAddress("2001:db8::1", socket.AF_INET6))
    assert answer.ttl == 60
    scoped = await look_up([(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 0, 0, 3))])
    assert scoped.addresses == (ResolvedAddress("fe80::1", socket.AF_INET6, 3),)


@pytest.mark.parametrize(
    ("problem", "error", "ttl", "detail"),
    [
        (
            socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            "NameNotFound",
            5,
            "Name or service not known",
        ),
        ([], "NameNotFound", 5, "no address"),
        ([(socket.AF_UNIX, socket.SOCK_STREAM, 0, "", "/run/x")], "NameNotFound", 5, "no address"),
        # Trouble of our own says nothing about the name.
        (OSError(errno.EMFILE, "Too many open files"), "OutOfDescriptors", 0, "Too many open files"),
        (OSError(errno.EIO, "Input/output error"), "UpstreamError", 0, "Input/output error"),
        (MemoryError("no room"), "UpstreamError", 0, "no room"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_comes_to_nothing(look_up: LookUp, problem: Any, error: str, ttl: float, detail: str) -> None:
    answer = await look_up(problem)
    assert (answer.addresses, answer.error, answer.ttl) == ((), getattr(errors, error), ttl)
    assert answer.detail == f"a.example: {detail}"


@pytest_twisted.ensureDeferred
async def test_the_systems_own_getaddrinfo_knows_localhost(running_reactor: Any) -> None:
    names = SystemNames(running_reactor, ttl=1, negative_ttl=1, threads=1)
    over: Deferred[Answer] = Deferred()
    names.begin("localhost", "", lambda answer, _: over.callback(answer))
    assert {address.address for address in (await over).addresses} <= {"127.0.0.1", "::1"}
    names.close()

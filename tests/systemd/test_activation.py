"""Sockets that were handed in: what they are, which endpoint gets which, and what is no such socket."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from twistedproxy.settings.problems import Unfit
from twistedproxy.systemd import activation
from twistedproxy.systemd.activation import (
    ActivationError,
    InheritedSocket,
    InheritedSockets,
    activated,
    starting_environment,
)

PID = 4711


@pytest.fixture
def opened() -> Iterator[Callable[..., socket.socket]]:
    """Opens sockets, and closes them at the end."""
    made: list[socket.socket] = []

    def listen(address: Any, family: int = socket.AF_INET) -> socket.socket:
        one = socket.socket(family, socket.SOCK_STREAM)
        made.append(one)
        one.bind(address)
        one.listen()
        return one

    yield listen
    for one in made:
        one.close()


def inherited(
    address: tuple[str, int] | str, descriptor: int = 3, name: str = "", index: int | None = None, **more: Any
) -> InheritedSocket:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    return InheritedSocket(descriptor, family, address, name, index, **more)


def test_sockets_say_what_they_are(opened: Callable[..., socket.socket], tmp_path: Path) -> None:
    path = str(tmp_path / "proxy.sock")
    four, six, unix = (
        opened(("127.0.0.1", 0)),
        opened(("::1", 0), socket.AF_INET6),
        opened(path, socket.AF_UNIX),
    )
    for one in (four, six, unix):
        one.set_inheritable(True)
        assert one.getblocking()
    found = [InheritedSocket.of(one.fileno(), name="web") for one in (four, six, unix)]
    ports = [four.getsockname()[1], six.getsockname()[1]]
    assert [one.address for one in found] == [("127.0.0.1", ports[0]), ("::1", ports[1]), path]
    assert [one.family for one in found] == [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX]
    assert [one.place for one in found] == [f"127.0.0.1:{ports[0]}", f"[::1]:{ports[1]}", path]
    assert str(found[0]) == f"127.0.0.1:{ports[0]} (descriptor {four.fileno()}, web)"
    assert not any(one.get_inheritable() for one in (four, six, unix))
    # systemd.service(5): NonBlocking= is off by default.
    assert not any(os.get_blocking(one.fileno()) for one in (four, six, unix))
    # They are open still.
    assert four.getsockname()


def test_abstract_socket(opened: Callable[..., socket.socket]) -> None:
    name = f"\0twistedproxy-test-{os.getpid()}"
    one = InheritedSocket.of(opened(name, socket.AF_UNIX).fileno())
    assert one.address == name
    assert one.place == "@" + name[1:]
    assert InheritedSockets([one]).take("unix:" + name[1:]) is None


def test_what_does_not_listen_is_refused(tmp_path: Path) -> None:
    with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        with pytest.raises(ActivationError) as raised:
            InheritedSocket.of(tcp.fileno(), name="web")
        what = f"descriptor {tcp.fileno()} (web)"
        assert str(raised.value) == f"{what} was handed in, but does not listen: a socket unit needs Accept=no"
        with pytest.raises(ActivationError, match="is no stream socket of IP or Unix"):
            InheritedSocket.of(udp.fileno())
        gone = os.dup(tcp.fileno())
    os.close(gone)
    with pytest.raises(ActivationError, match=f"^descriptor {gone} was handed in, but cannot be used: Bad file desc"):
        InheritedSocket.of(gone)
    with (tmp_path / "file").open("w") as file, pytest.raises(ActivationError, match="Socket operation on non-socket"):
        InheritedSocket.of(file.fileno())


# ---------------------------------------------------------------- systemd's variables


def test_activated(opened: Callable[..., socket.socket]) -> None:
    """In a process of its own, whose descriptors begin where systemd's do."""
    first, second = opened(("127.0.0.1", 0)), opened(("127.0.0.2", 0))
    code = (
        "import os, sys\n"
        "high = [os.dup(int(word)) for word in sys.argv[1:]]\n"
        "high = [os.dup2(one, 100 + number) for number, one in enumerate(high)]\n"
        "[os.dup2(one, 3 + number) for number, one in enumerate(high)]\n"
        "from twistedproxy.systemd.activation import activated\n"
        "for names in ({}, {'LISTEN_FDNAMES': 'web:'}):\n"
        "    environment = {'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': '2', **names}\n"
        "    for one in activated(environment, os.getpid()):\n"
        "        print(one.descriptor, one.place, one.name or '-', one.index, os.get_inheritable(one.descriptor))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(first.fileno()), str(second.fileno())],
        pass_fds=(first.fileno(), second.fileno()),
        capture_output=True,
        text=True,
        check=True,
    )
    places = [f"127.0.0.1:{first.getsockname()[1]}", f"127.0.0.2:{second.getsockname()[1]}"]
    assert done.stdout.splitlines() == [
        f"3 {places[0]} - 0 False",
        f"4 {places[1]} - 1 False",
        f"3 {places[0]} web 0 False",
        f"4 {places[1]} - 1 False",
    ]


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_PID": "1", "LISTEN_FDS": "1"},
        {"LISTEN_PID": "", "LISTEN_FDS": "1"},
        {"LISTEN_PID": str(PID), "LISTEN_FDS": "0"},
    ],
)
def test_not_activated(environment: dict[str, str]) -> None:
    assert activated(environment, PID) == []


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "LISTEN_FDS is '', which is no number of sockets"),
        ({"LISTEN_FDS": "two"}, "LISTEN_FDS is 'two', which is no number of sockets"),
        ({"LISTEN_FDS": "-1"}, "LISTEN_FDS is '-1', which is no number of sockets"),
        ({"LISTEN_FDS": "99999999"}, "LISTEN_FDS is '99999999', which is no number of sockets"),
        ({"LISTEN_FDS": "2", "LISTEN_FDNAMES": "a"}, "LISTEN_FDS announces 2 sockets, but LISTEN_FDNAMES names 1"),
    ],
)
def test_variables_that_contradict_themselves(variables: dict[str, str], message: str) -> None:
    with pytest.raises(ActivationError) as raised:
        activated({"LISTEN_PID": str(PID), **variables}, PID)
    assert str(raised.value) == message


def test_starting_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Twisted takes the variables out of ``os.environ``; they are still known."""
    code = (
        "import os; from twistedproxy.systemd.activation import starting_environment\n"
        "os.environ['LISTEN_PID'] = str(os.getpid()); import twisted.internet.endpoints\n"
        "print('LISTEN_FDS' in os.environ, starting_environment(os.environ)['LISTEN_FDS'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "LISTEN_FDS": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False", "0"]
    monkeypatch.setattr(activation, "_STARTING_ENVIRONMENT", tmp_path / "none")
    assert starting_environment({"A": "b"}) == {"A": "b"}


# ---------------------------------------------------------------- which endpoint gets which

FOUR = ("0.0.0.0", 8080)
LOOPBACK = ("127.0.0.1", 8080)
SIX = ("::", 8080)


@pytest.mark.parametrize(
    ("description", "address"),
    [
        ("tcp:8080", FOUR),
        ("tcp:8080:interface=0.0.0.0", FOUR),
        ("tcp:8080:backlog=5", FOUR),
        ("haproxy:tcp:8080", FOUR),
        ("ssl:8080:privateKey=key.pem", FOUR),
        ("tcp:8080:interface=127.0.0.1", LOOPBACK),
        ("tcp:8080:interface=localhost", LOOPBACK),
        ("tcp6:8080", SIX),
        (r"tcp:8080:interface=\:\:", SIX),
        (r"tcp6:8080:interface=\:\:1", ("::1", 8080)),
        (r"tcp6:8080:interface=0\:0\:0\:0\:0\:0\:0\:1", ("::1", 8080)),
        (r"tcp6:8080:interface=fe80\:\:1%1", ("fe80::1%1", 8080)),
        (r"tcp6:8080:interface=fe80\:\:1%lo", ("fe80::1%1", 8080)),
        ("tls:/etc/keys", ("::", 443)),
        ("tls:/etc/keys:port=8080", SIX),
        ("unix:/run/twistedproxy/proxy.sock:mode=660", "/run/twistedproxy/proxy.sock"),
        ("unix:/run/../run/twistedproxy/proxy.sock", "/run/twistedproxy/proxy.sock"),
    ],
)
def test_by_address(description: str, address: tuple[str, int] | str) -> None:
    one = inherited(address)
    others = [inherited(("192.0.2.1", 8080)), inherited(("127.0.0.1", 1)), inherited("/run/other.sock")]
    sockets = InheritedSockets([*others, one])
    assert sockets.take(description) is one
    assert sockets.take(description) is None
    assert sockets.unused() == others


@pytest.mark.parametrize(
    ("description", "address"),
    [
        ("tcp:8080", LOOPBACK),
        ("tcp:8080", SIX),
        ("tcp:8081", FOUR),
        ("tcp:8080:interface=127.0.0.1", FOUR),
        ("tcp:8080:interface=127.0.0.1", ("::ffff:127.0.0.1", 8080)),
        ("tcp:8080:interface=no.such.host.invalid", FOUR),
        ("tcp6:8080", FOUR),
        ("tcp6:8080", ("::1", 8080)),
        (r"tcp6:8080:interface=fe80\:\:1%2", ("fe80::1%1", 8080)),
        (r"tcp6:8080:interface=fe80\:\:1%nothing0", ("fe80::1%1", 8080)),
        ("tcp:0", ("0.0.0.0", 45001)),
        ("unix:/run/proxy.sock", "/run/other.sock"),
        ("unix:/run/proxy.sock", FOUR),
        ("unix:/run/proxy.sock", ""),
        ("onion:8080", FOUR),
        ("systemd:domain=INET:name=proxy", FOUR),
        ("systemd:domain=INET:index=0", FOUR),
    ],
)
def test_another_address(description: str, address: tuple[str, int] | str) -> None:
    one = inherited(address)
    sockets = InheritedSockets([one])
    assert sockets.take(description) is None
    assert sockets.unused() == [one]


def test_by_systemds_name_and_index() -> None:
    """A socket unit gives one name to all of its sockets."""
    web, web_six = inherited(FOUR, 3, "web", 0), inherited(SIX, 4, "web", 1)
    again, unix = inherited(("127.0.0.1", 9), 5, "web", 2), inherited("/run/proxy.sock", 6, "local", 3)
    sockets = InheritedSockets([web, web_six, again, unix])
    assert sockets.take("systemd:domain=INET6:name=web") is web_six
    assert sockets.take("systemd:domain=INET:index=2") is again
    assert sockets.take("systemd:domain=INET:name=web") is web
    assert sockets.take("systemd:domain=INET:name=web") is None
    assert sockets.take("systemd:INET:index=2") is None
    assert sockets.take("systemd:UNIX:name=local") is unix
    assert repr(sockets) == "<InheritedSockets taken=4 left=[]>"


def test_domain_that_is_another() -> None:
    """``ListenStream=8080`` is one socket for both families, and of the domain INET6."""
    sockets = InheritedSockets([inherited(SIX, name="web", index=0)])
    for which in ("name=web", "index=0"):
        with pytest.raises(ActivationError) as raised:
            sockets.take(f"systemd:domain=INET:{which}")
        assert str(raised.value) == "systemd's socket [::]:8080 is one of the domain INET6, not INET"
    assert len(sockets.unused()) == 1


def test_exact_description_goes_first() -> None:
    """From an earlier version of the daemon: also where the address does not tell, as for port 0."""
    other = inherited(LOOPBACK, 3)
    same = inherited(LOOPBACK, 4, description="tcp:8080:interface=127.0.0.1")
    any_port = inherited(("0.0.0.0", 45001), 5, description="tcp:0")
    plugin = inherited(("127.0.0.1", 9), 6, description="onion:80")
    sockets = InheritedSockets([other, same, any_port, plugin])
    assert sockets.take("tcp:8080:interface=127.0.0.1") is same
    assert sockets.take("tcp:0") is any_port
    assert sockets.take("tcp:0") is None
    assert sockets.take("onion:80") is plugin
    # By its address, in another notation.
    assert sockets.take("tcp:8080:127.0.0.1") is other


def test_what_is_given_up() -> None:
    taken, left = inherited(LOOPBACK, 3), inherited(FOUR, 4)
    sockets = InheritedSockets([taken, left])
    assert sockets.take("tcp:8080:interface=127.0.0.1") is taken
    assert sockets.give_up() == [left]
    assert sockets.take("tcp:8080") is None
    assert sockets.unused() == sockets.give_up() == []


def test_what_is_no_description() -> None:
    with pytest.raises(Unfit):
        InheritedSockets().take("8080")
    assert InheritedSockets().unused() == []

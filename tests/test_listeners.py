"""Listening ports: opened all or none, kept, replaced and closed."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock

from twistedproxy.listeners import BACKLOG, CannotListen, Listeners, address_text

LOOPBACK = "tcp:0:interface=127.0.0.1"
FACTORY = Factory.forProtocol(Protocol)


def ports(listeners: Listeners) -> list[int]:
    return [address.port for address in listeners.addresses()]


def accepts(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def listeners(running_reactor: Any) -> Iterator[Listeners]:
    """Listeners of the real reactor, closed at the end."""
    made = Listeners(running_reactor)
    yield made
    pytest_twisted.blockon(made.close())


@pytest_twisted.ensureDeferred
async def test_listens_and_closes(listeners: Listeners) -> None:
    listeners.open([LOOPBACK, r"tcp6:0:interface=\:\:1"], FACTORY)
    first, second = ports(listeners)
    assert repr(listeners) == f"<Listeners 127.0.0.1:{first}, [::1]:{second}>"
    assert accepts(first)
    await listeners.close()
    assert listeners.addresses() == []
    assert not accepts(first)


def test_what_stays_is_not_touched(listeners: Listeners) -> None:
    other = "tcp:0:interface=127.0.0.2"
    listeners.open([LOOPBACK, other], FACTORY)
    first, second = listeners.ports
    listeners.open([other, LOOPBACK], FACTORY)
    assert listeners.ports == [second, first]
    listeners.close_gone()
    assert first.connected
    assert second.connected


@pytest_twisted.ensureDeferred
async def test_what_goes_listens_until_it_is_closed(listeners: Listeners, running_reactor: Any) -> None:
    listeners.open([LOOPBACK], FACTORY)
    old = ports(listeners)[0]
    listeners.open(["tcp:0:interface=127.0.0.2"], FACTORY)
    assert accepts(old)
    gone: Any = listeners._gone[LOOPBACK]
    listeners.close_gone()
    await gone.deferred
    assert not accepts(old)
    assert repr(listeners) == f"<Listeners 127.0.0.2:{ports(listeners)[0]}>"


@pytest.mark.parametrize("order", [1, -1])
def test_all_or_none(listeners: Listeners, order: int) -> None:
    comes = f"tcp:{free_port()}:interface=127.0.0.1"
    listeners.open([LOOPBACK], FACTORY)
    before = listeners.ports
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"tcp:{other.getsockname()[1]}:interface=127.0.0.1"
        with pytest.raises(CannotListen) as raised:
            listeners.open([comes, taken][::order], FACTORY)
    assert str(raised.value) == f"cannot listen on {taken}: Address already in use"
    assert listeners.ports == before
    assert not accepts(int(comes.split(":")[1]))
    assert accepts(ports(listeners)[0])


def test_another_listener_at_the_same_port(listeners: Listeners) -> None:
    port = free_port()
    listeners.open([f"tcp:{port}:interface=127.0.0.1"], FACTORY)
    listeners.open([f"tcp:{port}"], FACTORY)
    assert repr(listeners) == f"<Listeners 0.0.0.0:{port}>"
    assert accepts(port)
    listeners.close_gone()
    listeners.open([f"tcp:port={port}:interface=127.0.0.1:backlog=5"], FACTORY)
    assert repr(listeners) == f"<Listeners 127.0.0.1:{port}>"


def test_displaced_listener_comes_back(listeners: Listeners) -> None:
    """Its place is taken over, and then another one cannot be had."""
    port = free_port()
    old = f"tcp:{port}:interface=127.0.0.1"
    listeners.open([LOOPBACK, old], FACTORY)
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"tcp:{other.getsockname()[1]}:interface=127.0.0.1"
        with pytest.raises(CannotListen):
            listeners.open([f"tcp:{port}", taken], FACTORY)
    assert port in ports(listeners)
    assert accepts(port)
    listeners.open([LOOPBACK, old], FACTORY)
    assert ports(listeners)[1] == port


@pytest_twisted.ensureDeferred
async def test_unix_socket(listeners: Listeners, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    listeners.open(["unix:proxy.sock:mode=600"], FACTORY)
    assert repr(listeners) == "<Listeners proxy.sock>"
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("proxy.sock")
    # Another one at the same path takes its place, and an argument may be given by its name.
    listeners.open(["unix:address=proxy.sock:mode=660"], FACTORY)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("proxy.sock")
    await listeners.close()
    assert os.listdir(tmp_path) == []


@pytest_twisted.ensureDeferred
async def test_lock_of_a_unix_socket_is_the_daemons(
    listeners: Listeners, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What opened it has forked, and is gone."""
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as parent:
        parent.setattr(os, "getpid", lambda: 1)
        listeners.open([LOOPBACK, "unix:proxy.sock", "unix:open.sock:lockfile=0"], FACTORY)
    assert os.readlink("proxy.sock.lock") == "1"
    listeners.own_locks()
    assert os.readlink("proxy.sock.lock") == str(os.getpid())
    assert sorted(os.listdir()) == ["open.sock", "proxy.sock", "proxy.sock.lock"]
    await listeners.close()
    assert os.listdir() == []


@pytest_twisted.ensureDeferred
async def test_listener_that_cannot_be_closed_is_told_of(listeners: Listeners, logged_errors: Any) -> None:
    listeners.open([LOOPBACK], FACTORY)
    port = listeners.ports[0]
    stop: Callable[[], Any] = port.stopListening

    def fail() -> None:
        raise ZeroDivisionError

    port.stopListening = fail
    await listeners.close()
    assert len(logged_errors.flush(ZeroDivisionError)) == 1
    await stop()


# ---------------------------------------------------------------- what is asked of the reactor


@pytest.mark.parametrize(
    ("description", "backlog"),
    [
        ("tcp:8080", BACKLOG),
        ("tcp:8080:interface=127.0.0.1", BACKLOG),
        ("tcp:8080:backlog=7", 7),
        ("tcp:8080:127.0.0.1:7", 7),
        (r"tcp6:8080:interface=\:\:1", BACKLOG),
        ("haproxy:tcp:8080", BACKLOG),
    ],
)
def test_backlog(description: str, backlog: int) -> None:
    reactor = MemoryReactorClock()
    Listeners(reactor).open([description], FACTORY)
    port, _, asked, _ = reactor.tcpServers[0]
    assert (port, asked) == (8080, backlog)


@pytest.mark.parametrize(
    ("description", "why"),
    [
        ("ssl:0:privateKey=nowhere.pem:certKey=nowhere.pem", "No such file or directory"),
        ("nosuchkind:8080", "nosuchkind"),
        ("ssl:0:$CREDENTIALS_DIRECTORY/key.pem", "expected the variable CREDENTIALS_DIRECTORY to be set"),
    ],
)
def test_endpoint_that_cannot_be_made(listeners: Listeners, description: str, why: str) -> None:
    with pytest.raises(CannotListen, match=why) as raised:
        listeners.open([description], FACTORY)
    assert str(raised.value).startswith(f"cannot listen on {description}: ")
    assert listeners.addresses() == []


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (IPv4Address("TCP", "127.0.0.1", 8080), "127.0.0.1:8080"),
        (IPv6Address("TCP", "::1", 8080), "[::1]:8080"),
        (UNIXAddress("/run/proxy.sock"), "/run/proxy.sock"),
        (HostnameAddress(b"example.org", 8080), "HostnameAddress(hostname=b'example.org', port=8080)"),
    ],
)
def test_address_text(address: Any, text: str) -> None:
    assert address_text(address) == text

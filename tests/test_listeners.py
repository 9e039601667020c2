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
from twisted.internet.task import deferLater
from twisted.internet.testing import MemoryReactorClock

from tests.ports import free_port
from twistedproxy.listeners import BACKLOG, CannotListen, Listeners, address_text
from twistedproxy.systemd.activation import InheritedSocket, InheritedSockets

LOOPBACK = "tcp:0:interface=127.0.0.1"


def factory_at(_: str) -> Factory:
    return Factory.forProtocol(Protocol)


def ports(listeners: Listeners) -> list[int]:
    return [address.port for address in listeners.addresses()]


def accepts(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def listeners(running_reactor: Any) -> Iterator[Listeners]:
    """Listeners of the real reactor, closed at the end."""
    made = Listeners(running_reactor)
    yield made
    pytest_twisted.blockon(made.close())


@pytest_twisted.ensureDeferred
async def test_listens_and_closes(listeners: Listeners) -> None:
    listeners.open([LOOPBACK, r"tcp6:0:interface=\:\:1"], factory_at)
    first, second = ports(listeners)
    assert repr(listeners) == f"<Listeners 127.0.0.1:{first}, [::1]:{second}>"
    assert accepts(first)
    await listeners.close()
    assert listeners.addresses() == []
    assert not accepts(first)


def test_each_has_the_factory_that_there_is_for_it(listeners: Listeners) -> None:
    """By the description, also for a socket that was there before, and only when it is opened."""
    asked: list[str] = []

    def note(description: str) -> Factory:
        asked.append(description)
        return factory_at(description)

    with socket.create_server(("127.0.0.1", 0)) as there:
        taken = f"tcp:{there.getsockname()[1]}:interface=127.0.0.1"
        listeners.inherited.add(InheritedSocket.of(os.dup(there.fileno()), description=taken))
    listeners.open([LOOPBACK, taken], note)
    assert asked == [LOOPBACK, taken]
    listeners.open([LOOPBACK, taken], note)
    assert asked == [LOOPBACK, taken]


def test_what_stays_is_not_touched(listeners: Listeners) -> None:
    other = "tcp:0:interface=127.0.0.2"
    listeners.open([LOOPBACK, other], factory_at)
    first, second = listeners.ports
    listeners.open([other, LOOPBACK], factory_at)
    assert listeners.ports == [second, first]
    listeners.close_gone()
    assert first.connected
    assert second.connected


@pytest_twisted.ensureDeferred
async def test_what_goes_listens_until_it_is_closed(listeners: Listeners, running_reactor: Any) -> None:
    listeners.open([LOOPBACK], factory_at)
    old = ports(listeners)[0]
    listeners.open(["tcp:0:interface=127.0.0.2"], factory_at)
    assert accepts(old)
    gone: Any = listeners._gone[LOOPBACK]
    listeners.close_gone()
    await gone.deferred
    assert not accepts(old)
    assert repr(listeners) == f"<Listeners 127.0.0.2:{ports(listeners)[0]}>"


@pytest.mark.parametrize("order", [1, -1])
def test_all_or_none(listeners: Listeners, order: int) -> None:
    comes = f"tcp:{free_port()}:interface=127.0.0.1"
    listeners.open([LOOPBACK], factory_at)
    before = listeners.ports
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"tcp:{other.getsockname()[1]}:interface=127.0.0.1"
        with pytest.raises(CannotListen) as raised:
            listeners.open([comes, taken][::order], factory_at)
    assert str(raised.value) == f"cannot listen on {taken}: Address already in use"
    assert listeners.ports == before
    assert not accepts(int(comes.split(":")[1]))
    assert accepts(ports(listeners)[0])


def test_another_listener_at_the_same_port(listeners: Listeners) -> None:
    port = free_port()
    listeners.open([f"tcp:{port}:interface=127.0.0.1"], factory_at)
    listeners.open([f"tcp:{port}"], factory_at)
    assert repr(listeners) == f"<Listeners 0.0.0.0:{port}>"
    assert accepts(port)
    listeners.close_gone()
    listeners.open([f"tcp:port={port}:interface=127.0.0.1:backlog=5"], factory_at)
    assert repr(listeners) == f"<Listeners 127.0.0.1:{port}>"


def test_displaced_listener_comes_back(listeners: Listeners) -> None:
    """Its place is taken over, and then another one cannot be had."""
    port = free_port()
    old = f"tcp:{port}:interface=127.0.0.1"
    listeners.open([LOOPBACK, old], factory_at)
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"tcp:{other.getsockname()[1]}:interface=127.0.0.1"
        with pytest.raises(CannotListen):
            listeners.open([f"tcp:{port}", taken], factory_at)
    assert port in ports(listeners)
    assert accepts(port)
    listeners.open([LOOPBACK, old], factory_at)
    assert ports(listeners)[1] == port


@pytest_twisted.ensureDeferred
async def test_unix_socket(listeners: Listeners, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    listeners.open(["unix:proxy.sock:mode=600"], factory_at)
    assert repr(listeners) == "<Listeners proxy.sock>"
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("proxy.sock")
    # Another one at the same path takes its place, and an argument may be given by its name.
    listeners.open(["unix:address=proxy.sock:mode=660"], factory_at)
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
        listeners.open([LOOPBACK, "unix:proxy.sock", "unix:open.sock:lockfile=0"], factory_at)
    assert os.readlink("proxy.sock.lock") == "1"
    listeners.own_locks()
    assert os.readlink("proxy.sock.lock") == str(os.getpid())
    assert sorted(os.listdir()) == ["open.sock", "proxy.sock", "proxy.sock.lock"]
    await listeners.close()
    assert os.listdir() == []


def test_inherited_sockets_that_nobody_wants(running_reactor: Any, tmp_path: Path) -> None:
    """They are closed, and what is ours leaves the file system."""
    paths = [tmp_path / "ours.sock", tmp_path / "theirs.sock"]
    given: list[InheritedSocket] = []
    for path in paths:
        opened = socket.socket(socket.AF_UNIX)
        opened.bind(str(path))
        opened.listen()
        given.append(InheritedSocket.of(opened.detach(), owned=path.stem == "ours"))
    lock = tmp_path / "ours.sock.lock"
    lock.symlink_to("1")
    listeners = Listeners(running_reactor, InheritedSockets(given))
    listeners.close_unused()
    assert [path.exists() for path in paths] == [False, True]
    assert not lock.is_symlink()
    for one in given:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(one.descriptor)
    assert listeners.inherited.unused() == []


@pytest_twisted.ensureDeferred
async def test_listener_that_cannot_be_closed_is_told_of(listeners: Listeners, logged_errors: Any) -> None:
    listeners.open([LOOPBACK], factory_at)
    port = listeners.ports[0]
    stop: Callable[[], Any] = port.stopListening

    def fail() -> None:
        raise ZeroDivisionError

    port.stopListening = fail
    await listeners.close()
    assert len(logged_errors.flush(ZeroDivisionError)) == 1
    await stop()


# ---------------------------------------------------------------- there and back again


@pytest_twisted.ensureDeferred
async def test_what_goes_can_be_had_back(listeners: Listeners) -> None:
    """A reload that fails for another reason goes back to where it came from."""
    old, new = f"tcp:{free_port()}:interface=127.0.0.1", LOOPBACK
    listeners.open([old], factory_at)
    port = listeners.ports[0]
    listeners.open([new], factory_at)
    unwanted: Any = listeners.ports[0]
    listeners.open([old], factory_at)
    assert listeners.ports == [port]
    listeners.close_gone()
    await unwanted.deferred
    assert accepts(ports(listeners)[0])


def test_what_goes_makes_room_too(listeners: Listeners) -> None:
    port = free_port()
    listeners.open([f"tcp:{port}:interface=127.0.0.1"], factory_at)
    listeners.open([LOOPBACK], factory_at)
    listeners.open([f"tcp:{port}"], factory_at)
    assert repr(listeners) == f"<Listeners 0.0.0.0:{port}>"
    assert accepts(port)
    assert list(listeners._gone) == [LOOPBACK]


def test_displaced_listeners_come_back_one_by_one(
    listeners: Listeners, logged_errors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that cannot be had again keeps no other from coming back, nor does it hide what went wrong first."""
    first, second = free_port(), free_port()
    old = [f"tcp:{first}:interface=127.0.0.1", f"tcp:{second}:interface=127.0.0.1"]
    listeners.open(old, factory_at)
    listen = listeners._listen_at

    def lose(description: str, *rest: Any) -> Any:
        if description == old[0]:
            raise CannotListen(f"cannot listen on {description}: Address already in use")
        return listen(description, *rest)

    monkeypatch.setattr(listeners, "_listen_at", lose)
    with pytest.raises(CannotListen, match=r"^cannot listen on nosuchkind:1"):
        listeners.open([f"tcp:{first}", f"tcp:{second}", "nosuchkind:1"], factory_at)
    assert ports(listeners) == [second]
    assert accepts(second)
    assert logged_errors.flush_messages() == [
        f"a listener that had made room is lost: cannot listen on {old[0]}: Address already in use"
    ]


@pytest_twisted.ensureDeferred
async def test_close_closes_what_goes_as_well(listeners: Listeners) -> None:
    listeners.open([LOOPBACK], factory_at)
    port = ports(listeners)[0]
    listeners.open(["tcp:0:interface=127.0.0.2"], factory_at)
    await listeners.close()
    assert not accepts(port)


# ---------------------------------------------------------------- sockets that are handed in


class Given:
    """A listening socket that somebody else has, and this process gets a duplicate of."""

    def __init__(self, place: str = "", backlog: int = 128) -> None:
        self.socket = socket.socket(socket.AF_UNIX if place else socket.AF_INET)
        self.socket.bind(place or ("127.0.0.1", 0))
        self.socket.listen(backlog)
        self.socket.setblocking(False)

    @property
    def port(self) -> int:
        return int(self.socket.getsockname()[1])

    @property
    def inode(self) -> int:
        return os.fstat(self.socket.fileno()).st_ino

    def inherited(self, **of: Any) -> InheritedSocket:
        return InheritedSocket.of(os.dup(self.socket.fileno()), **of)

    def still_listens(self) -> bool:
        with socket.socket(self.socket.family) as client:
            client.connect(self.socket.getsockname())
            self.socket.accept()[0].close()
        return True


@pytest.fixture
def given(request: pytest.FixtureRequest) -> Iterator[Callable[..., Given]]:
    """Makes sockets for handing in."""
    made: list[Given] = []

    def give(place: str = "", backlog: int = 128) -> Given:
        made.append(Given(place, backlog))
        return made[-1]

    yield give
    for one in made:
        one.socket.close()


Give = Callable[..., Given]


@pytest.fixture
def inheriting(running_reactor: Any) -> Iterator[Callable[..., Listeners]]:
    """Makes listeners that sockets are handed in to."""
    made: list[Listeners] = []

    def make(*sockets: InheritedSocket) -> Listeners:
        made.append(Listeners(running_reactor, InheritedSockets(sockets)))
        return made[-1]

    yield make
    for one in made:
        pytest_twisted.blockon(one.close())
        for unused in one.inherited.unused():
            os.close(unused.descriptor)


Make = Callable[..., Listeners]


def inodes(listeners: Listeners) -> list[int]:
    return [os.fstat(descriptor).st_ino for descriptor in listeners.sockets().values()]


@pytest.mark.parametrize("front", ["", "haproxy:"])
@pytest_twisted.ensureDeferred
async def test_socket_of_an_address_is_used(given: Give, inheriting: Make, front: str) -> None:
    there = given()
    handed_in = there.inherited()
    description = f"{front}tcp:{there.port}:interface=127.0.0.1"
    listeners = inheriting(handed_in)
    listeners.open([description], factory_at)
    assert (ports(listeners), inodes(listeners)) == ([there.port], [there.inode])
    # The port has a duplicate, and what was handed in is closed.
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(handed_in.descriptor)
    await listeners.close()
    assert there.still_listens()


@pytest.mark.parametrize("front", ["", "haproxy:"])
def test_socket_of_systemd(given: Give, inheriting: Make, front: str) -> None:
    there = given()
    listeners = inheriting(there.inherited(name="proxy", index=0))
    listeners.open([f"{front}systemd:domain=INET:name=proxy"], factory_at)
    assert (ports(listeners), inodes(listeners)) == ([there.port], [there.inode])
    assert listeners.inherited.unused() == []


@pytest.mark.parametrize(
    ("description", "why"),
    [
        ("systemd:domain=INET:name=other", "systemd has passed on no such socket"),
        ("systemd:domain=INET6:name=proxy", "systemd's socket 127.0.0.1:{port} is one of the domain INET, not INET6"),
    ],
)
def test_socket_that_systemd_has_not(given: Give, inheriting: Make, description: str, why: str) -> None:
    there = given()
    listeners = inheriting(there.inherited(name="proxy", index=0))
    with pytest.raises(CannotListen) as raised:
        listeners.open([LOOPBACK, description], factory_at)
    assert str(raised.value) == f"cannot listen on {description}: {why.format(port=there.port)}"
    assert listeners.addresses() == []


def test_socket_is_not_lost_with_an_endpoint_that_cannot_be_made(given: Give, inheriting: Make) -> None:
    """Its certificate is wrong, and right with the next reload: only then somebody accepts."""
    there = given()
    listeners = inheriting(there.inherited())
    with pytest.raises(CannotListen, match="No such file"):
        listeners.open([f"ssl:{there.port}:interface=127.0.0.1:privateKey=none.pem:certKey=none.pem"], factory_at)
    listeners.open([f"tcp:{there.port}:interface=127.0.0.1"], factory_at)
    assert inodes(listeners) == [there.inode]


def test_socket_of_systemd_comes_back_after_an_attempt(given: Give, inheriting: Make) -> None:
    there = given()
    listeners = inheriting(there.inherited(name="proxy", index=0))
    wanted = "systemd:domain=INET:name=proxy"
    with pytest.raises(CannotListen):
        listeners.open([wanted, "nosuchkind:1"], factory_at)
    listeners.open([wanted], factory_at)
    assert inodes(listeners) == [there.inode]


@pytest_twisted.ensureDeferred
async def test_socket_of_systemd_can_be_left_out_for_a_time(given: Give, inheriting: Make) -> None:
    there = given()
    listeners = inheriting(there.inherited(name="proxy", index=0))
    wanted = "systemd:domain=INET:name=proxy"
    listeners.open([wanted], factory_at)
    listeners.open([LOOPBACK], factory_at)
    gone: Any = listeners._gone[wanted]
    listeners.close_gone()
    await gone.deferred
    listeners.open([wanted], factory_at)
    assert inodes(listeners) == [there.inode]


def test_another_socket_for_the_same_description(given: Give, inheriting: Make) -> None:
    """A parent whose listener had to make room for a moment has another socket; its workers go on with that."""
    first, second = given(), given()
    listeners = inheriting(first.inherited(description=LOOPBACK))
    listeners.open([LOOPBACK], factory_at)
    assert inodes(listeners) == [first.inode]
    listeners.inherited.add(second.inherited(description=LOOPBACK))
    listeners.open([LOOPBACK], factory_at)
    assert inodes(listeners) == [second.inode]
    assert first.still_listens()


def test_queue_of_a_socket_is_not_made_shorter(given: Give, inheriting: Make) -> None:
    """A second listen(2) would set it; so many as found room before still do."""
    there = given(backlog=40)
    listeners = inheriting(there.inherited())
    listeners.open([f"tcp:{there.port}:interface=127.0.0.1:backlog=1"], factory_at)
    listeners.rest()
    clients = [socket.socket() for _ in range(40)]
    for client in clients:
        client.setblocking(False)
        client.connect_ex(there.socket.getsockname())
    connected = [client.getpeername()[1] for client in clients]
    assert connected == [there.port] * 40
    for client in clients:
        client.close()


@pytest.mark.parametrize("owned", [True, False])
@pytest_twisted.ensureDeferred
async def test_file_of_a_unix_socket_goes_with_its_owner(
    given: Give, inheriting: Make, tmp_path: Path, owned: bool
) -> None:
    path = tmp_path / "proxy.sock"
    there = given(str(path))
    path.chmod(0o640)
    description = f"unix:{path}:mode=666"
    listeners = inheriting(there.inherited(description=description, owned=owned))
    listeners.open([description], factory_at)
    assert path.stat().st_mode & 0o777 == 0o640
    assert listeners.handed_on() == {description: (listeners.ports[0].fileno(), owned)}
    listeners.own_locks()
    assert [one.name for one in tmp_path.iterdir() if one.name.endswith(".lock")] == ["proxy.sock.lock"] * owned
    await listeners.close()
    assert list(tmp_path.iterdir()) == [path] * (not owned)


def test_no_lock_where_none_is_wanted(given: Give, inheriting: Make, tmp_path: Path) -> None:
    description = f"unix:{tmp_path / 'proxy.sock'}:lockfile=0"
    listeners = inheriting(given(str(tmp_path / "proxy.sock")).inherited(description=description, owned=True))
    listeners.open([description], factory_at)
    listeners.own_locks()
    assert os.listdir(tmp_path) == ["proxy.sock"]


def test_lock_that_cannot_be_made(listeners: Listeners, tmp_path: Path) -> None:
    description = f"unix:{tmp_path / 'proxy.sock'}"
    listeners.open([description], factory_at)
    port = listeners.ports[0]
    lock, port.lockFile.name = port.lockFile.name, str(tmp_path / "none" / "proxy.sock.lock")
    listeners.own_locks()
    assert os.path.lexists(lock)
    port.lockFile.name = lock


def test_abstract_unix_socket(given: Give, inheriting: Make) -> None:
    there = given(f"\0twistedproxy-test-{os.getpid()}")
    description = "unix:abstract"
    listeners = inheriting(there.inherited(description=description, owned=True))
    listeners.open([description], factory_at)
    assert inodes(listeners) == [there.inode]


# ---------------------------------------------------------------- sockets that others go on with


def test_what_it_hands_on(listeners: Listeners, tmp_path: Path) -> None:
    path = f"unix:{tmp_path / 'proxy.sock'}"
    listeners.open([LOOPBACK, path], factory_at)
    tcp, unix = listeners.ports
    assert listeners.sockets() == {LOOPBACK: tcp.fileno(), path: unix.fileno()}
    assert listeners.handed_on() == {LOOPBACK: (tcp.fileno(), False), path: (unix.fileno(), True)}


def test_rests(listeners: Listeners, running_reactor: Any) -> None:
    listeners.open([LOOPBACK, "tcp:0:interface=127.0.0.2"], factory_at)
    assert set(listeners.ports) <= set(running_reactor.getReaders())
    listeners.rest()
    assert not set(listeners.ports) & set(running_reactor.getReaders())
    assert accepts(ports(listeners)[0])


def test_leaving_disturbs_nobody(listeners: Listeners, tmp_path: Path) -> None:
    """Twisted would shut the sockets down, and remove the file of a Unix socket."""
    path = f"unix:{tmp_path / 'proxy.sock'}"
    goes = "tcp:0:interface=127.0.0.2"
    listeners.open([goes], factory_at)
    gone = listeners.ports[0]
    listeners.open([LOOPBACK, path], factory_at)
    ports_left = [*listeners.ports, gone]
    others = [socket.socket(fileno=os.dup(port.fileno())) for port in ports_left]
    listeners.leave()
    assert (listeners.ports, [port.connected for port in ports_left]) == ([], [False] * 3)
    for other in others:
        with socket.socket(other.family) as client:
            client.connect(other.getsockname())
            other.accept()[0].close()
        other.close()
    assert sorted(os.listdir(tmp_path)) == ["proxy.sock", "proxy.sock.lock"]


@pytest_twisted.ensureDeferred
async def test_socket_that_is_shut_down_by_another(given: Give, inheriting: Make, running_reactor: Any) -> None:
    """The reactor closes the port then, and there is nothing left to leave, or to close."""
    there = given()
    listeners = inheriting(there.inherited(description=LOOPBACK))
    listeners.open([LOOPBACK], factory_at)
    (port,) = listeners.ports
    there.socket.shutdown(socket.SHUT_RDWR)
    while port.connected:
        await deferLater(running_reactor, 0)
    listeners.leave()
    assert listeners.ports == []


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
    Listeners(reactor).open([description], factory_at)
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
        listeners.open([description], factory_at)
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

"""Several workers on one port: who serves, who comes back, and what is lost when one goes."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.crew import await_gone, children, descriptors, state, workers
from tests.live.daemon import ANY_PORT, Daemon, awaited
from tests.live.fetch import Connection, connected, fetch, request_for, tunnel
from tests.live.load import Load
from tests.live.origin import LINE, Origin

MakeDaemon = Callable[..., Daemon]

KILLS = 3

TUNNELS = 24


@pytest.fixture
def crew(make_daemon: MakeDaemon) -> Daemon:
    """A proxy with two workers."""
    return make_daemon(settings={"service.workers": "2", "access.connect_ports": "all"}).start()


def file(count: int | str, more: str = "", *listen: str) -> str:
    """The text of a settings file for ``count`` workers, which ``listen`` there beside loopback."""
    return (
        f"[downstream]\nlisten = {[ANY_PORT, *listen]}\n"
        '[access]\nconnect_ports = ["all"]\n'
        f"[service]\nworkers = {count!r}\n".replace("'", '"')
        + more
    )


def open_by(pid: int) -> int:
    """How many descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_all_of_them_serve(crew: Daemon, origin: Origin) -> None:
    pair = workers(crew, 2)
    served: set[int] = set()

    def served_by() -> bool:
        assert fetch(crew, origin.url("http")).content == LINE
        served.update(pid for pid in pair if any(name.endswith("access.log") for name in descriptors(pid)))
        return served == set(pair)

    awaited(served_by, "a request for each worker")
    assert len({line.split()[2] for line in crew.access_lines(1)}) == 1


def test_lines_of_all_are_whole(crew: Daemon, origin: Origin) -> None:
    """The workers write one file; each line is there once, and none is torn."""
    workers(crew, 2)
    count = 400

    def ask(number: int) -> None:
        connection = connected(crew)
        for one in range(count // 8):
            connection.send(request_for(origin.url("http", f"/hello?{number}-{one}-{'x' * 700}")))
            assert connection.read_response().status == 200
        connection.close()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = crew.access_lines(count)
    assert len(lines) == count
    asked = [re.fullmatch(r".* GET http://\S+/hello\?([0-9]-[0-9]+)-x{700} .*", line) for line in lines]
    assert len({found[1] for found in asked if found}) == count


def test_killed_worker_loses_its_own_connections_only(crew: Daemon, origin: Origin) -> None:
    """Whatever the others carry goes on, nobody who comes is turned away, and another takes its place."""
    pair = workers(crew, 2)
    open_before = [open_by(pid) for pid in pair]
    tunnels = []

    def both_carry_some() -> bool:
        tunnels.append(tunnel(crew, origin.port("http")))
        return all(open_by(pid) >= before + 4 for pid, before in zip(pair, open_before, strict=True))

    awaited(both_carry_some, "tunnels through both")
    with Load(crew.address, origin.url("http")) as load:
        os.kill(pair[0], signal.SIGKILL)
        crew.await_log(rf"error worker . \(process {pair[0]}\) was ended by signal 9 .*; another starts now")
        workers(crew, 2)
    # Those that were on their way through the one that was killed are its own to lose.
    assert set(load.statuses) == {200}
    assert len(load.errors) <= 2
    alive = 0
    for one in tunnels:
        one.send(b"GET /hello HTTP/1.1\r\nHost: origin\r\n\r\n")
        try:
            alive += one.read_response().content == LINE
        except (AssertionError, OSError):
            continue
        finally:
            one.close()
    assert 0 < alive < len(tunnels)


def held(count: int, proxy: Daemon, origin: Origin) -> list[Connection]:
    """Connections that have been served once and stay open."""
    connections = [connected(proxy) for _ in range(count)]
    for connection in connections:
        connection.send(request_for(origin.url("http")))
    for connection in connections:
        assert connection.read_response().status == 200
    return connections


def sockets(pid: int) -> int:
    """How many sockets a process has open."""
    return sum(
        os.readlink(f"/proc/{pid}/fd/{number}").startswith("socket:") for number in os.listdir(f"/proc/{pid}/fd")
    )


def test_connections_are_shared(crew: Daemon, origin: Origin) -> None:
    """Both have about as many. Each tunnel is two sockets of the worker that has it."""
    pair = workers(crew, 2)
    before = [sockets(pid) for pid in pair]
    tunnels = [tunnel(crew, origin.port("http")) for _ in range(TUNNELS)]
    ends = [sockets(pid) - one for pid, one in zip(pair, before, strict=True)]
    assert sum(ends) == 2 * TUNNELS
    assert min(ends) >= TUNNELS // 2
    for one in tunnels:
        one.close()


def test_nobody_waits_for_a_worker_that_hangs(make_daemon: MakeDaemon, origin: Origin) -> None:
    """It has fewer connections than the other, and would be let go first: once, for a moment."""
    proxy = make_daemon(settings={"service.workers": "2", "service.lag_limit": "10m"}).start()
    hung, _ = workers(proxy, 2)
    os.kill(hung, signal.SIGSTOP)
    awaited(lambda: state(hung) == "T", "the stop")
    connections = held(40, proxy, origin)
    os.kill(hung, signal.SIGCONT)
    before = sockets(hung)

    def takes_some() -> bool:
        connections.extend(held(2, proxy, origin))
        return sockets(hung) > before

    # Awake again, it is asked for as soon as it has shown so by taking one.
    awaited(takes_some, "a connection for the one that hung")
    for connection in connections:
        connection.close()


def test_killed_in_a_loop(crew: Daemon, origin: Origin) -> None:
    """It always comes back, later each time, and nothing is left of those before."""
    workers(crew, 2)
    before = descriptors(crew.pid)
    open_before = crew.descriptors()
    for _ in range(KILLS):
        victim = workers(crew, 2)[0]
        os.kill(victim, signal.SIGKILL)
        await_gone(victim)
    crew.await_log("another starts in 1 s")
    assert len(workers(crew, 2)) == 2
    assert fetch(crew, origin.url("http")).status == 200
    assert descriptors(crew.pid) == before
    assert crew.descriptors() == open_before
    assert len(children(crew.pid)) == 2


def test_terminated_worker_ends_what_it_carries(crew: Daemon, origin: Origin) -> None:
    first, second = workers(crew, 2)
    streams = [connected(crew, request_for(origin.url("http", f"/events/gentle-{number}"))) for number in range(6)]
    for stream in streams:
        assert stream.read_through(b"data: first\n\n")
    os.kill(first, signal.SIGTERM)
    for number, stream in enumerate(streams):
        origin.open(f"gentle-{number}")
        assert stream.read_through(b"0\r\n\r\n").endswith(b"data: second\n\n\r\n0\r\n\r\n")
        stream.close()
    await_gone(first)
    crew.await_log(rf"worker . \(process {first}\) ended after")
    assert second in workers(crew, 2)


def test_hung_worker_is_replaced(make_daemon: MakeDaemon, origin: Origin) -> None:
    proxy = make_daemon(settings={"service.workers": "2", "service.lag_limit": "1s"}).start()
    hung, _ = workers(proxy, 2)
    os.kill(hung, signal.SIGSTOP)
    proxy.await_log(rf"worker . \(process {hung}\) was killed, because its reactor did not answer for [12]\.[0-9] s")
    await_gone(hung)
    assert hung not in workers(proxy, 2)
    assert fetch(proxy, origin.url("http")).status == 200


def test_workers_stop_when_the_parent_is_gone(make_daemon: MakeDaemon, origin: Origin) -> None:
    proxy = make_daemon(settings={"service.workers": "2", "access.connect_ports": "all"}, daemonized=True).start()
    pair = workers(proxy, 2)
    port = proxy.port
    stream = connected(proxy, request_for(origin.url("http", "/events/orphan")))
    assert stream.read_through(b"data: first\n\n")
    os.kill(proxy.pid, signal.SIGKILL)
    proxy.await_end()
    proxy.await_log("worker [01]: the daemon that this worker belongs to is gone: it stops", 2)
    # The port is free for the next start at once, and what was under way comes to its end.
    (proxy.directory / "twistd.pid").unlink()
    following = make_daemon(listen=(f"tcp:{port}:interface=127.0.0.1",)).start()
    origin.open("orphan")
    assert stream.read_through(b"0\r\n\r\n").endswith(b"0\r\n\r\n")
    stream.close()
    for pid in pair:
        await_gone(pid)
    assert fetch(following, origin.url("http")).status == 200


def test_terminated_daemon_takes_them_along(crew: Daemon, origin: Origin) -> None:
    pair = workers(crew, 2)
    stream = connected(crew, request_for(origin.url("http", "/events/last")))
    assert stream.read_through(b"data: first\n\n")
    crew.signal(signal.SIGTERM)
    crew.await_log("worker [01]: draining 1 connections, for 30 s at most")
    origin.open("last")
    assert stream.read_through(b"0\r\n\r\n")
    stream.close()
    crew.await_end()
    assert crew.status == 0
    assert [state(pid) for pid in pair] == ["", ""]


def test_second_wish_to_stop_is_for_all_of_them(crew: Daemon, origin: Origin) -> None:
    workers(crew, 2)
    stream = connected(crew, request_for(origin.url("http", "/events/never")))
    assert stream.read_through(b"data: first\n\n")
    crew.signal(signal.SIGTERM)
    crew.await_log("draining 1 connections")
    crew.signal(signal.SIGTERM)
    crew.await_end()
    assert crew.status == 0
    stream.close()


def test_rotation_reaches_all_of_them(crew: Daemon, origin: Origin) -> None:
    pair = workers(crew, 2)
    assert fetch(crew, origin.url("http")).status == 200
    crew.access_lines(1)
    moved = crew.access_log.rename(crew.directory / "access.log.1")
    crew.signal(signal.SIGUSR1)
    awaited(lambda: all(str(crew.access_log) in descriptors(pid) for pid in pair), "the new log open in all of them")
    assert fetch(crew, origin.url("http")).status == 200
    assert len(crew.access_lines(1)) == 1
    assert len(Path(moved).read_text().splitlines()) == 1


def test_reload_reaches_all_of_them(make_daemon: MakeDaemon, origin: Origin) -> None:
    proxy = make_daemon(listen=(), file=file(2, "[log]\naccess = 'off'\n")).start()
    pair = workers(proxy, 2)
    proxy.reload(file(2, "[log]\naccess = 'off'\n[forwarding]\nvia = 'changed'\n"))
    assert {fetch(proxy, origin.url("http")).fields["Via"] for _ in range(20)} == {"1.1 changed"}
    assert workers(proxy, 2) == pair


@pytest.mark.parametrize("counts", [(1, 2, 3, 1, 2), (2, 1, "auto", 1)])
def test_their_number_changes_under_load(
    make_daemon: MakeDaemon, origin: Origin, counts: tuple[int | str, ...]
) -> None:
    """Not one request fails, and what an old worker carries comes to its end."""
    proxy = make_daemon(listen=(), file=file(counts[0], "[log]\naccess = 'off'\n")).start()
    address = proxy.address
    streams = []
    with Load(address, origin.url("http")) as load:
        for number, count in enumerate(counts[1:]):
            gate = f"resize-{counts[0]}-{number}"
            stream = connected(proxy, request_for(origin.url("http", f"/events/{gate}")))
            assert stream.read_through(b"data: first\n\n")
            streams.append((gate, stream))
            proxy.reload(file(count, "[log]\naccess = 'off'\n"))
            assert proxy.address == address
            so_far = len(load.statuses)
            awaited(lambda so_far=so_far: len(load.statuses) > so_far + 20, "requests after the change")
    load.assert_no_failure()
    for gate, stream in streams:
        origin.open(gate)
        assert stream.read_through(b"0\r\n\r\n").endswith(b"data: second\n\n\r\n0\r\n\r\n")
        stream.close()
    last = counts[-1]
    assert isinstance(last, int)
    awaited(lambda: len(children(proxy.pid)) == (last if last > 1 else 0), "only the processes that are asked for")


def test_worker_that_drains_answers_what_was_asked_before(make_daemon: MakeDaemon, origin: Origin) -> None:
    """A request that the system has already, and the worker has not read when it is told to drain."""
    # They must not be taken for stuck ones.
    more = "lag_limit = '1m'\n[log]\naccess = 'off'\n"
    proxy = make_daemon(listen=(), file=file(2, more)).start()
    pair = workers(proxy, 2)
    fresh = [connected(proxy) for _ in range(TUNNELS)]
    with_keep_alive = [connected(proxy, request_for(origin.url("http"))) for _ in range(TUNNELS)]
    for connection in with_keep_alive:
        assert connection.read_response().content == LINE
    for pid in pair:
        os.kill(pid, signal.SIGSTOP)
    proxy.reload(file(1, more))
    for connection in (*fresh, *with_keep_alive):
        connection.send(request_for(origin.url("http")))
    for pid in pair:
        os.kill(pid, signal.SIGCONT)
    for connection in (*fresh, *with_keep_alive):
        # It says close, unless the request and the order to drain came in the same moment; and then it closes.
        assert connection.read_response().content == LINE
        assert connection.read_to_end() == b""
        connection.close()
    for pid in pair:
        await_gone(pid)


def test_listener_goes_together_with_the_workers(make_daemon: MakeDaemon, origin: Origin) -> None:
    """Those who served it end all the same, and in good order."""
    quiet = "[log]\naccess = 'off'\n"
    proxy = make_daemon(listen=(), file=file(2, quiet, "tcp:0:interface=127.0.0.2")).start()
    pair = workers(proxy, 2)
    proxy.reload(file(1, quiet))
    for pid in pair:
        await_gone(pid)
    assert fetch(proxy, origin.url("http")).content == LINE
    assert "critical" not in proxy.log


def test_a_taken_port_is_one_line(make_daemon: MakeDaemon, crew: Daemon) -> None:
    other = make_daemon(listen=(f"tcp:{crew.port}:interface=127.0.0.1",), settings={"service.workers": "2"})
    status, said = other.attempt()
    assert status == 1
    assert said == f"pyproxy: cannot listen on tcp:{crew.port}:interface=127.0.0.1: Address already in use\n"


def test_limit_for_one_client_holds_across_them(make_daemon: MakeDaemon, origin: Origin) -> None:
    limit = 12
    settings = {
        "service.workers": "2",
        "downstream.max_connections_per_client": str(limit),
        "access.connect_ports": "all",
    }
    proxy = make_daemon(settings=settings).start()
    workers(proxy, 2)
    held = [tunnel(proxy, origin.port("http")) for _ in range(limit)]

    def refused() -> bool:
        connection = connected(proxy, request_for(origin.url("http")))
        status = connection.read_response().status
        connection.close()
        return status == 429

    # Each learns within a second or two what the other has.
    awaited(refused, "one connection too many")
    for one in held:
        one.close()
    awaited(lambda: not refused(), "room again")

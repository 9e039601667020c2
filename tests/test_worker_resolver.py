"""How a worker's names are looked up when its settings change, and when it ends: with name servers on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from tests.test_worker import Alone
from tests.upstream.dns.scripted import ScriptedServer, a, reply, replying, silence


@pytest_twisted.async_yield_fixture
async def alone(running_reactor: Any, tmp_path: Path) -> Any:
    made = Alone(running_reactor, tmp_path)
    made.use()
    yield made
    await made.end()


@pytest.fixture
def make_server(running_reactor: Any) -> Iterator[Callable[..., ScriptedServer]]:
    made: list[ScriptedServer] = []

    def make() -> ScriptedServer:
        made.append(ScriptedServer(running_reactor))
        return made[-1]

    yield make
    for server in made:
        pytest_twisted.blockon(server.stop())


@pytest_twisted.ensureDeferred
async def test_a_reload_lets_look_ups_under_way_end(alone: Alone, make_server: Callable[..., ScriptedServer]) -> None:
    """Those who wait get what the servers of before say, and nothing of them is left."""
    before, after = make_server(), make_server()
    held: list[bytes] = []
    before.otherwise = held.append
    after.otherwise = replying(a("www.example", "192.0.2.2"))
    worker = alone.worker
    alone.use(resolver__servers=f'["{before.address}"]', resolver__hosts_file="false")
    found: list[object] = []
    worker.plane.dialer.resolver.resolve("www.example").addBoth(found.append)
    await before.awaited(2)
    alone.use(resolver__servers=f'["{after.address}"]', resolver__hosts_file="false")
    assert found == []
    assert worker.statistics(complete=False).lookups == 1
    assert [one.address for one in await worker.plane.dialer.resolver.resolve("www.example")] == ["192.0.2.2"]
    for query in held:
        for source in set(before.sources):
            before.transport.write(reply(query, a("www.example", "192.0.2.1")), source)  # type: ignore[union-attr]  # as above
    await alone.until(lambda: bool(found))
    (addresses,) = found
    assert isinstance(addresses, tuple)
    assert [one.address for one in addresses] == ["192.0.2.1"]
    statistics = worker.statistics(complete=False)
    assert (statistics.lookups, statistics.lookups_made, statistics.names_kept) == (0, 2, 1)


@pytest_twisted.ensureDeferred
async def test_the_end_gives_up_look_ups_of_before_too(
    alone: Alone, make_server: Callable[..., ScriptedServer]
) -> None:
    server = make_server()
    server.otherwise = silence
    alone.use(resolver__servers=f'["{server.address}"]')
    found: list[Any] = []
    alone.worker.plane.dialer.resolver.resolve("www.example").addBoth(found.append)
    await server.awaited(2)
    alone.use()
    ended = alone.worker.drain(0.0)
    await alone.until(lambda: ended.called)
    assert found[0].value.detail == "this proxy is stopping"


@pytest_twisted.ensureDeferred
async def test_other_authorities_matter_to_name_servers_with_tls_only(alone: Alone) -> None:
    for server, is_renewed in (("192.0.2.53", False), ("tls://192.0.2.53#dns.example", True)):
        alone.use(resolver__servers=f'["{server}"]')
        before = alone.worker.plane.dialer.resolver
        alone.use(resolver__servers=f'["{server}"]', upstream_tls__max_intermediates="3")
        assert (alone.worker.plane.dialer.resolver is not before) == is_renewed

"""The resolver that the settings want: who is asked for what, in words and in deed, by TLS too."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from tests.tls.certificates import pem_of
from tests.tls.zoo import authorities
from tests.upstream.dns.scripted import ScriptedServer, ServedStream, a, replying
from twistedproxy import errors
from twistedproxy.deadlines import Deadlines
from twistedproxy.record.statistics import LookupTally
from twistedproxy.settings.resolver import ResolverDomain, ResolverSettings
from twistedproxy.settings.upstream_tls import UpstreamTLSSettings
from twistedproxy.tls.trust import Trust
from twistedproxy.upstream.dns.messages import A
from twistedproxy.upstream.resolver import Resolver
from twistedproxy.upstream.resolving import resolver_for, told, uses_tls

SPLIT = ResolverSettings(
    servers=("192.0.2.53", "tls://192.0.2.9#dns.example"),
    domains=(
        ResolverDomain(names=("Corp.example", "lab.example"), servers=("10.0.0.53",)),
        ResolverDomain(names=("lab.example",), servers=("10.0.0.54:5353",)),
    ),
    hosts_file=False,
)


@pytest.mark.parametrize(
    ("name", "who"),
    [
        ("www.example", "192.0.2.53, tls://192.0.2.9#dns.example"),
        ("single", "192.0.2.53, tls://192.0.2.9#dns.example"),
        ("a.corp.example", "10.0.0.53, for corp.example"),
        ("lab.example.", "10.0.0.53, 10.0.0.54:5353, for lab.example"),
        ("localhost", "nobody is asked"),
        ("a.onion", "nobody is asked"),
        ("a.local", "nobody is asked"),
    ],
)
def test_who_is_asked(name: str, who: str) -> None:
    assert told(SPLIT, name) == who


def test_who_is_asked_where_no_server_is_named() -> None:
    assert told(ResolverSettings(), "www.example") == "the system's resolver"
    assert told(ResolverSettings(), "a.local") == "the system's resolver"
    some = ResolverSettings(domains=SPLIT.domains, hosts_file=False)
    assert told(some, "www.example") == "the system's resolver"
    assert told(some, "a.local") == "the system's resolver"
    assert told(some, "corp.example") == "10.0.0.53, for corp.example"


def test_the_hosts_file_goes_before_servers() -> None:
    """The system's own has this machine's name, or that of loopback at least."""
    names = [line.partition("#")[0].split()[1:] for line in Path("/etc/hosts").read_text().lower().splitlines()]
    name = next(one for line in names for one in line)
    wanted = ResolverSettings(servers=("192.0.2.53",))
    assert told(wanted, name) == ("nobody is asked" if name == "localhost" else "the hosts file")


def test_whether_tls_is_spoken() -> None:
    assert uses_tls(SPLIT)
    assert not uses_tls(ResolverSettings(servers=("192.0.2.53",), domains=SPLIT.domains))
    domain = ResolverDomain(names=("a.example",), servers=("tls://192.0.2.9#dns.example",))
    assert uses_tls(ResolverSettings(domains=(domain,)))
    assert not uses_tls(ResolverSettings())


def no_trust() -> Trust:
    raise AssertionError("nothing has to be trusted")


@pytest.mark.parametrize(
    ("wanted", "source"),
    [
        (ResolverSettings(), "<SystemNames <LookupThreads resolver busy=0/7 waiting=0>>"),
        (ResolverSettings(servers=("192.0.2.53",)), "<NamedServers <Servers 1 domains=1> busy=0/7 waiting=0>"),
        (ResolverSettings(domains=SPLIT.domains), "<NamedServers <Servers 2 domains=2> busy=0/7 waiting=0>"),
    ],
)
def test_what_is_made(running_reactor: Any, wanted: ResolverSettings, source: str) -> None:
    tally = LookupTally()
    made = resolver_for(running_reactor, wanted, Deadlines(Clock()), no_trust, threads=7, tally=tally)
    assert repr(made) == f"<Resolver cached=0 under way=0 {source}>"
    assert made.tally is tally
    assert made.timeout == 10.0
    made.close()


@pytest_twisted.ensureDeferred
async def test_names_are_looked_up_as_the_settings_say(running_reactor: Any) -> None:
    server = ScriptedServer(running_reactor)
    server.on("www.example", A, replying(a("www.example", "192.0.2.1", 0)))
    wanted = ResolverSettings(servers=(str(server.address),), min_ttl=5.0, hosts_file=False)
    clock = Clock()
    made = resolver_for(running_reactor, wanted, Deadlines(clock), no_trust, threads=4)
    try:
        assert [one.address for one in await made.resolve("www.example")] == ["192.0.2.1"]
        clock.advance(4.9)
        assert made.cached("www.example") is not None
        clock.advance(0.1)
        assert made.cached("www.example") is None
    finally:
        made.close()
        await server.stop()


@pytest_twisted.ensureDeferred
async def test_nothing_is_kept_where_there_is_no_cache(running_reactor: Any) -> None:
    server = ScriptedServer(running_reactor)
    server.on("www.example", A, replying(a("www.example", "192.0.2.1")))
    wanted = ResolverSettings(servers=(str(server.address),))
    made = resolver_for(running_reactor, wanted, Deadlines(Clock()), no_trust, threads=1, cache_size=0)
    try:
        await made.resolve("www.example")
        assert made.cached("www.example") is None
    finally:
        made.close()
        await server.stop()


# ------------------------------------------------------------ TLS (RFC 7858)


@implementer(IOpenSSLServerConnectionCreator)
class ServerCreator:
    """Shows a certificate of the test authority's for ``localhost``."""

    def __init__(self) -> None:
        case = authorities().case()
        self.context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self.context.use_certificate(case.leaf.certificate)
        self.context.use_privatekey(case.leaf.key)
        for one in case.sent:
            self.context.add_extra_chain_cert(one.certificate)

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        return SSL.Connection(self.context, None)


class Secure:
    """A scripted server that is also reached by TLS, at ``port``."""

    def __init__(self, reactor: Any) -> None:
        self.server = ScriptedServer(reactor)
        inner = Factory.forProtocol(ServedStream)
        inner.noisy = False
        inner.server = self.server  # type: ignore[attr-defined]  # what protocols find there
        factory = TLSMemoryBIOFactory(ServerCreator(), False, inner)
        factory.noisy = False
        self._port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.port = self._port.getHost().port

    async def stop(self) -> None:
        await self.server.stop()
        await self._port.stopListening()


@pytest.fixture
def secure(running_reactor: Any) -> Iterator[Secure]:
    made = Secure(running_reactor)
    made.server.on("www.example", A, replying(a("www.example", "192.0.2.1")), by="tcp")
    yield made
    pytest_twisted.blockon(Deferred.fromCoroutine(made.stop()))


def trusting(directory: Path) -> Trust:
    path = directory / "root.pem"
    path.write_bytes(pem_of(authorities().root.certificate))
    return Trust.of(UpstreamTLSSettings(system_anchors=False, anchors=(str(path),)))


def resolver_by_tls(reactor: Any, secure: Secure, name: str, trust: Trust) -> Resolver:
    wanted = ResolverSettings(servers=(f"tls://127.0.0.1:{secure.port}#{name}",), attempts=1)
    return resolver_for(reactor, wanted, Deadlines(reactor), lambda: trust, threads=4)


@pytest_twisted.ensureDeferred
async def test_by_tls(running_reactor: Any, secure: Secure, tmp_path: Path) -> None:
    made = resolver_by_tls(running_reactor, secure, "localhost", trusting(tmp_path))
    try:
        (address,) = await made.resolve("www.example")
        assert address.address == "192.0.2.1"
        assert address.family == socket.AF_INET
        with pytest.raises(errors.NameNotFound):
            await made.resolve("no.example")
        # All of it on one connection, and nothing beside it.
        assert len(secure.server.connections) == 1
        assert {by for _, _, by in secure.server.asked} == {"tcp"}
    finally:
        made.close()


@pytest.mark.parametrize("wrong", ["name", "authority"])
@pytest_twisted.ensureDeferred
async def test_a_server_that_is_somebody_else(running_reactor: Any, secure: Secure, tmp_path: Path, wrong: str) -> None:
    trust = trusting(tmp_path) if wrong == "name" else Trust.of(UpstreamTLSSettings(system_anchors=False))
    name = "dns.example" if wrong == "name" else "localhost"
    made = resolver_by_tls(running_reactor, secure, name, trust)
    try:
        with pytest.raises(errors.NameServersFailed) as caught:
            await made.resolve("www.example")
        assert caught.value.detail.startswith(f"www.example: tls://127.0.0.1:{secure.port}#{name}: ")
        # Not a byte of the question has been said to it.
        assert secure.server.asked == []
    finally:
        made.close()

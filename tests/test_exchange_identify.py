"""Whose request it is: asked before anything is done for it, on every request, and never again inside a tunnel."""

from __future__ import annotations

import pytest
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from zope.interface import implementer

from tests.accounts.samples import GuardedWire, basic, client_certificate, static
from tests.http2_client import GET, HTTP2Client
from tests.inner import ESTABLISHED, Inner
from tests.memory import VIA, MemoryTransport, Wire
from twistedproxy.accounts.certificates import IVerifiedCertificate, VerifiedCertificate
from twistedproxy.errors import CredentialsWanted
from twistedproxy.http.forwarding import forwarded_trailer_lines
from twistedproxy.http.message import Fields

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: d\r\n\r\nhi"
RIGHT, WRONG = basic(b"ann", b"secret"), basic(b"ann", b"guess")
OPEN = (("intercept.mode", "all-but"), ("intercept.ports", "all"))
CHALLENGE = b'\r\nProxy-Authenticate: Basic realm="proxy", charset="UTF-8"\r\n'


@pytest.fixture
def wire() -> GuardedWire:
    return GuardedWire()


def request(value: bytes = b"", method: bytes = b"GET", fields: bytes = b"", content: bytes = b"") -> bytes:
    """A request with ``value`` for credentials."""
    proof = b"Proxy-Authorization: " + value + b"\r\n" if value else b""
    target = b"origin.test:443" if method == b"CONNECT" else b"http://origin.test/"
    return b"%b %b HTTP/1.1\r\nHost: origin.test\r\n%b%b\r\n%b" % (method, target, proof, fields, content)


def ask(wire: GuardedWire, said: bytes, client: MemoryTransport | None = None) -> MemoryTransport:
    """A client that has said so, once its credentials are checked."""
    client = client or wire.client()
    client.receive(said)
    wire.threads.turn()
    return client


# ---------------------------------------------------------------- 407


def test_without_credentials_they_are_asked_for(wire: GuardedWire) -> None:
    """RFC 9110 sections 15.5.8 and 11.7.1."""
    client = ask(wire, request())
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 407 Proxy Authentication Required\r\n")
    assert CHALLENGE in answer
    assert b"\r\nConnection: close" not in answer
    assert wire.records.reasons == ["credentials_wanted"]
    assert (wire.users, wire.records.all[0].kind, wire.dialer.dials) == ([b""], "answer", [])


def test_the_connection_stays_usable(wire: GuardedWire) -> None:
    client = wire.client()
    for said in (request(), request(WRONG), request(RIGHT)):
        ask(wire, said, client)
        wire.pass_time(1)
        wire.threads.turn()
    assert client.take().count(b"HTTP/1.1 407 ") == 2
    wire.origins[0].receive(OK)
    assert client.take().startswith(b"HTTP/1.1 200 OK\r\n")
    assert wire.records.reasons == ["credentials_wanted", "credentials_refused", ""]
    assert wire.users == [b"", b"ann", b"ann"]


@pytest.mark.parametrize("said", [request(method=b"CONNECT"), request(WRONG, b"CONNECT")])
def test_a_connect_is_asked_too_and_can_come_again(wire: GuardedWire, said: bytes) -> None:
    client = ask(wire, said)
    assert CHALLENGE in client.take()
    assert wire.dialer.dials == []
    ask(wire, request(RIGHT, b"CONNECT"), client)
    wire.pass_time(1)
    wire.threads.turn()
    assert client.take() == ESTABLISHED


def test_content_that_nobody_takes_ends_the_connection(wire: GuardedWire) -> None:
    """RFC 9112 section 9.3: it is read to its end, or the connection closed."""
    client = ask(wire, request(method=b"POST", fields=b"Content-Length: 100\r\n", content=b"x"))
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 407 ")
    assert b"\r\nConnection: close\r\n" in answer


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        (b"Bearer abc", b"this proxy does not know the scheme of its Proxy-Authorization field"),
        (b"Basic !", b"what follows Basic in its Proxy-Authorization field is not base64"),
        (RIGHT + b"\r\nProxy-Authorization: " + RIGHT, b"it has more than one Proxy-Authorization field"),
    ],
)
def test_what_cannot_be_read_is_refused(wire: GuardedWire, value: bytes, detail: bytes) -> None:
    answer = ask(wire, request(value)).take()
    assert CHALLENGE in answer
    assert detail in answer
    assert wire.records.reasons == ["credentials_refused"]


def test_credentials_are_on_no_page(wire: GuardedWire) -> None:
    answer = ask(wire, request(WRONG)).take()
    assert answer.startswith(b"HTTP/1.1 407 ")
    assert WRONG not in answer
    assert b"guess" not in answer


# ---------------------------------------------------------------- who passes


def test_each_request_is_looked_at(wire: GuardedWire) -> None:
    """RFC 9110 section 3.3: one connection is not one user."""
    client = ask(wire, request(RIGHT))
    wire.origins[0].receive(OK)
    client.take()
    ask(wire, request(), client)
    assert client.take().startswith(b"HTTP/1.1 407 ")
    assert wire.users == [b"ann", b""]


def test_credentials_go_no_further(wire: GuardedWire) -> None:
    """RFC 9110 section 11.7.2."""
    ask(wire, request(RIGHT))
    assert wire.origins[0].take() == b"GET / HTTP/1.1\r\nHost: origin.test\r\nVia: " + VIA + b"\r\n\r\n"
    trailers = Fields([(b"Proxy-Authorization", RIGHT), (b"X-Sum", b"1")])
    assert forwarded_trailer_lines(trailers, frozenset()) == [(b"X-Sum", b"1")]


def test_a_trace_does_not_tell(wire: GuardedWire) -> None:
    """RFC 9110 section 9.3.8."""
    answer = ask(wire, request(RIGHT, b"TRACE", b"Max-Forwards: 0\r\n")).take()
    assert answer.endswith(b"TRACE http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\nMax-Forwards: 0\r\n\r\n")


def test_the_exchange_knows_the_groups(wire: GuardedWire) -> None:
    client = ask(wire, request(RIGHT))
    exchange = wire.connection(client).exchange
    assert exchange is not None
    assert (exchange.user, exchange.groups) == (b"ann", frozenset(["staff"]))


def test_exempt_clients_need_none_but_may_have_one() -> None:
    wire = GuardedWire(("accounts.exempt_clients", "loopback"), ("access.clients", "all"))
    ask(wire, request())
    assert len(wire.origins) == 1
    ask(wire, request(RIGHT), wire.client(IPv4Address("TCP", "192.0.2.1", 1)))
    assert len(wire.origins) == 2
    other = wire.client(IPv4Address("TCP", "192.0.2.1", 1))
    assert ask(wire, request(), other).take().startswith(b"HTTP/1.1 407 ")
    assert ask(wire, request(WRONG)).take().startswith(b"HTTP/1.1 407 ")


def test_who_may_not_use_the_proxy_is_not_asked(wire: GuardedWire) -> None:
    client = wire.client(IPv4Address("TCP", "192.0.2.1", 1))
    assert ask(wire, request(), client).take().startswith(b"HTTP/1.1 403 ")


def test_the_page_for_clients_to_be_needs_no_account_and_the_one_through_the_proxy_does(wire: GuardedWire) -> None:
    """Who reads the former has not set up the proxy yet, and a browser would not know whom 407 is from."""
    client = wire.client()
    client.receive(b"GET / HTTP/1.1\r\nHost: pyproxy.internal\r\n\r\n")
    assert client.take().startswith(b"HTTP/1.1 200 ")
    client.receive(b"GET http://pyproxy.internal/ HTTP/1.1\r\nHost: pyproxy.internal\r\n\r\n")
    assert client.take().startswith(b"HTTP/1.1 407 ")
    client.receive(b"OPTIONS * HTTP/1.1\r\nHost: proxy\r\n\r\n")
    assert client.take().startswith(b"HTTP/1.1 407 ")


def test_without_accounts_credentials_are_nobodys_business() -> None:
    wire = Wire()
    client = wire.client()
    client.receive(request(b"Basic !"))
    assert b"Basic" not in wire.origins[0].take()
    wire.origins[0].receive(OK)
    assert client.take().startswith(b"HTTP/1.1 200 ")


def test_a_later_stage_may_ask() -> None:
    wire = Wire(("access.clients", "all"))
    client = wire.client()
    wire.dialer.open = False
    client.receive(request())
    wire.dialer.dials[0].fail(CredentialsWanted("the rule guests"))
    assert CHALLENGE in client.take()


# ---------------------------------------------------------------- while it is found out


def test_content_rests_and_then_goes_on(wire: GuardedWire) -> None:
    client = wire.client()
    client.receive(request(RIGHT, b"POST", b"Content-Length: 6\r\n", b"abc"))
    assert client.paused
    wire.pass_time(29)
    assert wire.records.all == [], "nobody is to blame but us"
    wire.threads.turn()
    assert not client.paused
    assert wire.origins[0].take().endswith(b"\r\n\r\nabc")
    client.receive(b"def")
    assert wire.origins[0].take() == b"def"


def test_content_rests_and_then_goes_on_through_a_connection_that_is_there(wire: GuardedWire) -> None:
    ask(wire, request(RIGHT))
    wire.origins[0].receive(OK)
    wire.origins[0].take()
    wire.pass_time(1)
    wire.plane.authenticator.use(wire.compile((("accounts.required", "true"), ("accounts.cache_ttl", "0"))).accounts)
    wire.plane.authenticator.use(wire.plane.snapshot.accounts)
    client = wire.client()
    client.receive(request(RIGHT, b"POST", b"Content-Length: 6\r\n", b"abc"))
    assert client.paused
    wire.threads.turn()
    assert not client.paused
    assert len(wire.origins) == 1
    assert wire.origins[0].take().endswith(b"\r\n\r\nabc")


def test_a_request_that_is_complete_waits_without_a_deadline(wire: GuardedWire) -> None:
    client = wire.client()
    client.receive(request(RIGHT))
    wire.pass_time(20)
    assert client.take() == b""
    wire.threads.turn()
    assert len(wire.origins) == 1


def test_a_client_that_leaves_is_forgotten(wire: GuardedWire) -> None:
    client = wire.client()
    client.receive(request(WRONG))
    second = wire.client()
    second.receive(request(RIGHT))
    assert len(wire.threads.waiting) == 1
    second.peer_resets()
    client.peer_resets()
    assert wire.records.reasons == ["client_left", "client_left"]
    assert wire.threads.turn() == 1, "what had not begun does not begin"
    assert wire.origins == []


def test_pipelined_requests_keep_their_order(wire: GuardedWire) -> None:
    client = wire.client()
    client.receive(request(WRONG) + request() + request(RIGHT))
    wire.threads.turn()
    wire.pass_time(1)
    wire.threads.turn()
    assert wire.records.reasons == ["credentials_refused", "credentials_wanted"]
    wire.origins[0].receive(OK)
    assert client.take().endswith(b"hi")


def test_a_drain_waits_for_it(wire: GuardedWire) -> None:
    client = wire.client()
    client.receive(request(RIGHT))
    drained = wire.factory.drain()
    assert not drained.called
    wire.threads.turn()
    wire.origins[0].receive(OK)
    assert b"\r\nConnection: close\r\n" in client.take()


def test_an_exchange_that_is_stopped_is_told_nothing(wire: GuardedWire) -> None:
    client = wire.client()
    client.receive(request(RIGHT))
    wire.factory.stop("stopped")
    wire.threads.turn()
    assert wire.records.reasons == ["stopped"]
    assert wire.origins == []


def test_what_fails_after_it_is_known_has_its_answer(wire: GuardedWire) -> None:
    wire.reload(("accounts.required", "true"), ("access.connect_ports", "80"), *_same_accounts(wire))
    client = ask(wire, request(RIGHT, b"CONNECT"))
    assert client.take().startswith(b"HTTP/1.1 403 ")
    assert (wire.records.reasons, wire.users) == (["port_denied"], [b"ann"])


def _same_accounts(wire: GuardedWire) -> list[tuple[str, str]]:
    account = wire.plane.snapshot.settings.accounts.static[0]
    return [("accounts.static", f'[{{ name = "{account.name}", hash = "{account.hash}" }}]')]


# ---------------------------------------------------------------- tunnels that are looked into


def test_what_comes_through_a_tunnel_is_its_openers() -> None:
    wire = GuardedWire(*OPEN)
    client = ask(wire, request(RIGHT, b"CONNECT"))
    assert client.take() == ESTABLISHED
    client.receive(b"GET /inner HTTP/1.1\r\nHost: origin.test:443\r\nProxy-Authorization: " + WRONG + b"\r\n\r\n")
    assert b"Proxy-Authorization" not in wire.origins[0].take()
    wire.origins[0].receive(OK)
    assert client.take().endswith(b"hi")
    assert wire.users == [b"ann", b"ann"]
    assert wire.threads.done == 1


def test_what_comes_through_tls_is_its_openers() -> None:
    wire = GuardedWire(*OPEN)
    client = ask(wire, request(RIGHT, b"CONNECT"))
    assert client.take() == ESTABLISHED
    inner = Inner(wire, client)
    inner.shake_hands()
    inner.ask(b"GET /inner HTTP/1.1\r\nHost: origin.test\r\n\r\n")
    [connection] = list(wire.factory)
    [exchange] = connection.exchanges
    assert (exchange.user, exchange.groups) == (b"ann", frozenset(["staff"]))


def test_what_comes_through_http2_is_its_openers() -> None:
    wire = GuardedWire(*OPEN)
    ask(wire, request(RIGHT, b"CONNECT"))
    wire.dialer.open = False
    client = HTTP2Client(wire, fields=b"Proxy-Authorization: " + RIGHT + b"\r\n")
    client.ask([*GET, (b"proxy-authorization", WRONG)])
    connection = max(wire.factory, key=lambda one: one.number)
    [exchange] = connection.exchanges
    assert (exchange.user, exchange.groups) == (b"ann", frozenset(["staff"]))
    assert wire.threads.done == 1


def test_a_tunnel_of_nobodys_stays_nobodys() -> None:
    wire = GuardedWire(*OPEN, ("accounts.exempt_clients", "loopback"))
    client = ask(wire, request(b"", b"CONNECT"))
    client.receive(b"GET /inner HTTP/1.1\r\nHost: origin.test:443\r\nProxy-Authorization: " + WRONG + b"\r\n\r\n")
    wire.origins[0].receive(OK)
    assert wire.users == [b"", b""]
    assert wire.threads.done == 0


# ---------------------------------------------------------------- certificates


def certified(wire: GuardedWire, name: str) -> MemoryTransport:
    """A client that has shown a certificate for ``name`` in its handshake."""
    client = wire.client()
    connection = wire.connection(client)
    connection._looked, connection._shown = True, VerifiedCertificate((client_certificate(name),))
    return client


@pytest.mark.parametrize("method", [b"GET", b"CONNECT"])
def test_a_certificate_is_enough(wire: GuardedWire, method: bytes) -> None:
    client = certified(wire, "ann")
    connection = wire.connection(client)
    wire.dialer.open = False
    ask(wire, request(method=method), client)
    assert len(wire.dialer.dials) == 1
    exchange = connection.exchange
    assert exchange is not None
    assert (exchange.user, exchange.groups) == (b"ann", frozenset(["staff"]))


def test_a_field_goes_before_a_certificate() -> None:
    """It was said for this very request."""
    bob = static("bob", b"secret")
    wire = GuardedWire(("accounts.static", f"[{static('ann', b'secret')}, {bob}]"))
    client = certified(wire, "bob")
    ask(wire, request(WRONG), client)
    assert client.take().startswith(b"HTTP/1.1 407 ")
    wire.pass_time(1)
    ask(wire, request(RIGHT), client)
    wire.origins[0].receive(OK)
    ask(wire, request(), client)
    wire.origins[0].receive(OK)
    assert client.take().count(b"HTTP/1.1 200 ") == 2
    assert wire.users == [b"ann", b"ann", b"bob"]


def test_a_certificate_of_nobody_is_as_good_as_none(wire: GuardedWire) -> None:
    client = certified(wire, "eve")
    ask(wire, request(), client)
    answer = client.take()
    assert CHALLENGE in answer
    assert b"the certificate of its client names no account" in answer
    assert (wire.records.reasons, wire.users) == (["credentials_wanted"], [b""])
    ask(wire, request(RIGHT), client)
    assert len(wire.dialer.dials) == 1
    free = GuardedWire(("accounts.required", "false"))
    ask(free, request(), certified(free, "eve"))
    assert len(free.dialer.dials) == 1


def test_an_account_that_a_reload_takes_away(wire: GuardedWire) -> None:
    """From the next request on, over the same connection."""
    client = certified(wire, "ann")
    ask(wire, request(), client)
    wire.origins[0].receive(OK)
    assert client.take().startswith(b"HTTP/1.1 200 ")
    wire.reload(("accounts.required", "true"), ("accounts.static", f"[{static('bob', b'secret')}]"))
    ask(wire, request(), client)
    assert client.take().startswith(b"HTTP/1.1 407 ")


@implementer(ICredentialsChecker)
class Later:
    """Says later whose a certificate is."""

    credentialInterfaces = (IVerifiedCertificate,)

    def __init__(self) -> None:
        self.asked: Deferred[bytes] = Deferred()

    def requestAvatarId(self, credentials: object) -> Deferred[bytes]:
        return self.asked


@pytest.mark.parametrize(("needed", "dials"), [("true", 0), ("false", 1)])
@pytest.mark.parametrize("method", [b"GET", b"CONNECT"])
def test_a_checker_may_say_later_that_it_is_nobodys(needed: str, dials: int, method: bytes) -> None:
    wire = GuardedWire(("accounts.required", needed))
    roster, later = wire.plane.snapshot.accounts, Later()
    assert roster is not None
    object.__setattr__(roster, "checkers", (later,))
    wire.plane.authenticator._go_by(roster)
    client = certified(wire, "eve")
    ask(wire, request(method=method), client)
    assert (client.take(), wire.dialer.dials) == (b"", [])
    later.asked.errback(UnauthorizedLogin())
    assert len(wire.dialer.dials) == dials
    assert client.take().startswith(b"" if dials else b"HTTP/1.1 407 ")


def test_a_client_may_leave_meanwhile(wire: GuardedWire) -> None:
    roster, later = wire.plane.snapshot.accounts, Later()
    assert roster is not None
    object.__setattr__(roster, "checkers", (later,))
    wire.plane.authenticator._go_by(roster)
    client = certified(wire, "eve")
    ask(wire, request(), client)
    client.abortConnection()
    wire.turn()
    later.asked.callback(b"eve")
    assert (wire.dialer.dials, wire.records.reasons) == ([], ["client_left"])

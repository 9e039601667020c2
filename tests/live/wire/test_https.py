"""Targets with the scheme https: TLS to the origin, its identity, and how its connections end (RFC 9112
sections 9.7, 9.8)."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import pytest
import trustme

from tests.live.wire.raw import Connection
from tests.live.wire.wire import Wire

GET = b"GET https://ORIGIN/a HTTP/1.1\r\nHost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def secure(wire: Wire, authority: trustme.CA) -> Callable[..., Connection]:
    """Accepts the next connection as a server whose certificate is for the names given."""

    def accept(*names: str, issuer: trustme.CA = authority) -> Connection:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        issuer.issue_cert(*names).configure_cert(context)
        plain = wire.origin.accept()
        connection = Connection(context.wrap_socket(plain.socket, server_side=True))
        wire.origin.accepted.append(connection)
        return connection

    return accept


@pytest.mark.parametrize(
    ("host", "name"), [(b"127.0.0.1", "127.0.0.1"), (b"localhost", "localhost"), (b"LOCALHOST", "localhost")]
)
def test_https(wire: Wire, secure: Callable[..., Connection], host: bytes, name: str) -> None:
    """RFC 9110 sections 4.2.2 and 4.3.4: over a secured hop, to an origin that proves its name or address."""
    authority = b"%b:%d" % (host, wire.origin.port)
    client = wire.client(GET.replace(b"ORIGIN", authority))
    upstream = secure(name)
    assert upstream.read_request().raw == b"GET /a HTTP/1.1\r\nHost: " + authority + b"\r\nVia: 1.1 wire\r\n\r\n"
    upstream.send(OK)
    assert client.read_response().content == b"ok"
    # It is kept, too, and not for http.
    client.send(wire.fill(GET.replace(b"ORIGIN", authority)))
    assert upstream.read_request().start == b"GET /a HTTP/1.1"
    upstream.send(OK)
    assert client.read_response().content == b"ok"
    client.send(wire.fill(GET.replace(b"https://ORIGIN", b"http://" + authority)))
    assert wire.origin.accept().read_request().start == b"GET /a HTTP/1.1"


def test_certificate_for_another_name(wire: Wire, secure: Callable[..., Connection]) -> None:
    """RFC 9110 section 4.3.4, RFC 9209 section 2.3.9: and a name is no proof for an address."""
    client = wire.client(GET)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        secure("localhost").read_request()
    response = client.read_response()
    assert response.status == 502
    assert response.values(b"proxy-status") == [b"wire; error=tls_certificate_error"]
    assert wire.why(client) == "certificate_wrong_address"


def test_certificate_of_a_stranger(wire: Wire, secure: Callable[..., Connection]) -> None:
    """RFC 9110 section 4.3.4."""
    client = wire.client(GET)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        secure("127.0.0.1", issuer=trustme.CA()).read_request()
    assert client.read_response().status == 502
    assert wire.why(client) == "certificate_chain_incomplete"


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00" * 16, b"\x15\x03\x01\x00\x02\x02\x28"])
def test_origin_without_tls(wire: Wire, said: bytes) -> None:
    """RFC 9110 section 4.2.2: nothing of the request is said in the clear."""
    client = wire.client(GET.replace(b"/a", b"/secret"))
    upstream = wire.origin.accept()
    hello = upstream.read(16)
    assert hello[:2] == b"\x16\x03"
    upstream.send(said)
    response = client.read_response()
    assert response.status == 502
    assert response.values(b"proxy-status") == [b"wire; error=tls_protocol_error"]
    assert wire.why(client) == "tls_failed"
    assert b"secret" not in upstream.buffer


def test_origin_that_closes_in_the_handshake(wire: Wire) -> None:
    """RFC 9110 section 15.6.3."""
    client = wire.client(GET)
    upstream = wire.origin.accept()
    upstream.read(16)
    upstream.close()
    assert client.read_response().status == 502
    assert wire.why(client) == "tls_failed"


def test_handshake_that_takes_too_long(hasty: Wire) -> None:
    """RFC 9110 section 15.6.5: upstream.tls_timeout."""
    client = hasty.client(GET)
    upstream = hasty.origin.accept()
    response = client.read_response()
    assert response.status == 504
    assert hasty.why(client) == "tls_timeout"
    upstream.read(16)


def test_content_until_close(wire: Wire, secure: Callable[..., Connection]) -> None:
    """RFC 9112 section 9.8: with the closure alert it is whole."""
    client = wire.client(GET)
    upstream = secure("127.0.0.1")
    upstream.read_request()
    upstream.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
    tls = upstream.socket
    assert isinstance(tls, ssl.SSLSocket)
    upstream.socket = tls.unwrap()
    response = client.read_response()
    assert (response.content, response.cut) == (b"hello", False)
    assert wire.why(client) is None
    upstream.close()


@pytest.mark.parametrize("minor", [1, 0])
def test_content_until_an_incomplete_close(wire: Wire, secure: Callable[..., Connection], minor: int) -> None:
    """RFC 9112 section 9.8: without the alert, content that ends with the connection may be cut, and looks so."""
    client = wire.client(GET.replace(b"1.1", b"1.%d" % minor))
    upstream = secure("127.0.0.1")
    upstream.read_request()
    upstream.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
    assert client.read_through(b"hello")
    upstream.close()
    try:
        rest = client.read_to_end()
    except ConnectionResetError:
        rest = b""
    assert b"0\r\n" not in rest
    assert wire.why(client) == "response_cut"


def test_incomplete_close_after_a_whole_response(wire: Wire, secure: Callable[..., Connection]) -> None:
    """RFC 9112 section 9.8: where the framing says that it is whole, the missing alert does not matter."""
    client = wire.client(GET)
    upstream = secure("127.0.0.1")
    upstream.read_request()
    upstream.send(OK)
    upstream.close()
    assert client.read_response().content == b"ok"
    assert wire.why(client) is None


@pytest.mark.parametrize("host", [b"127.0.0.1", b"0.0.0.0", b"[::ffff:169.254.169.254]"])
def test_destinations_are_judged(wire: Wire, host: bytes) -> None:
    """RFC 9110 section 7.6: with TLS as without."""
    client = wire.client(b"GET https://%b:%d/ HTTP/1.1\r\nHost: x\r\n\r\n" % (host, wire.proxy.port))
    assert client.read_response().status == 403
    assert wire.why(client) == "destination_denied"

"""Request targets: their forms, their hosts, and where the proxy does not go (RFC 9112 section 3.2, RFC 9110
section 4.2)."""

from __future__ import annotations

import socket

import pytest

from tests.live.wire.wire import Wire

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

# A method and a target.
REFUSED = {
    "9112 3.2.1: origin-form is for origins": (b"GET", b"/", 400, "not_a_proxy_request"),
    "9112 3.2.1: origin-form of two slashes": (b"GET", b"//ORIGIN/", 400, "not_a_proxy_request"),
    "9110 7.1: authority-form without CONNECT": (b"GET", b"ORIGIN", 400, "invalid_target"),
    "9110 7.1: host without a port": (b"GET", b"localhost", 400, "invalid_target"),
    "9110 7.1: * without OPTIONS": (b"GET", b"*", 400, "invalid_target"),
    "9112 3.2.4: path after *": (b"OPTIONS", b"*/", 400, "invalid_target"),
    "9112 3.2.2: no slashes": (b"GET", b"http:ORIGIN/", 400, "invalid_target"),
    "9112 3.2.2: one slash": (b"GET", b"http:/ORIGIN/", 400, "invalid_target"),
    "9112 3.2.2: backslashes": (b"GET", rb"http:\\ORIGIN/", 400, "invalid_target"),
    "9110 4.2.1: empty host": (b"GET", b"http:///", 400, "invalid_target"),
    "9110 4.2.1: empty host and a port": (b"GET", b"http://:80/", 400, "invalid_target"),
    "9110 4.2.1: nothing after the slashes": (b"GET", b"http://", 400, "invalid_target"),
    "9110 4.2.1: empty host, query": (b"GET", b"http://?a", 400, "invalid_target"),
    "9110 4.2.2: empty host, https": (b"GET", b"https:///", 400, "invalid_target"),
    "9110 4.2.4: user": (b"GET", b"http://user@ORIGIN/", 400, "invalid_target"),
    "9110 4.2.4: user and password": (b"GET", b"http://user:secret@ORIGIN/", 400, "invalid_target"),
    "9110 4.2.4: empty user": (b"GET", b"http://@ORIGIN/", 400, "invalid_target"),
    "9110 4.2.4: at sign behind a backslash": (b"GET", b"http://ORIGIN\\@other.example/", 400, "invalid_target"),
    "9110 4.2.3: port 0": (b"GET", b"http://127.0.0.1:0/", 400, "invalid_target"),
    "9110 4.2.3: port 65536": (b"GET", b"http://127.0.0.1:65536/", 400, "invalid_target"),
    "9110 4.2.3: port that wraps 16 bits": (b"GET", b"http://127.0.0.1:65616/", 400, "invalid_target"),
    "9110 4.2.3: port of thousands of digits": (b"GET", b"http://127.0.0.1:" + b"8" * 5000, 400, "invalid_target"),
    "9110 4.2.3: negative port": (b"GET", b"http://127.0.0.1:-80/", 400, "invalid_target"),
    "9110 4.2.3: port with a plus": (b"GET", b"http://127.0.0.1:+80/", 400, "invalid_target"),
    "9110 4.2.3: port of letters": (b"GET", b"http://127.0.0.1:http/", 400, "invalid_target"),
    "9110 4.2.3: two ports": (b"GET", b"http://127.0.0.1:80:80/", 400, "invalid_target"),
    "3986 3.2.2: open bracket": (b"GET", b"http://[::1/", 400, "invalid_target"),
    "3986 3.2.2: closed bracket": (b"GET", b"http://::1]/", 400, "invalid_target"),
    "3986 3.2.2: IPv6 without brackets": (b"GET", b"http://::1/", 400, "invalid_target"),
    "3986 3.2.2: nothing in the brackets": (b"GET", b"http://[]/", 400, "invalid_target"),
    "3986 3.2.2: no IPv6 address": (b"GET", b"http://[::1::2]/", 400, "invalid_target"),
    "3986 3.2.2: IPv4 in brackets": (b"GET", b"http://[127.0.0.1]/", 400, "invalid_target"),
    "3986 3.2.2: zone": (b"GET", b"http://[fe80::1%25lo]/", 400, "invalid_target"),
    "3986 3.2.2: future address": (b"GET", b"http://[v1.a]/", 400, "invalid_target"),
    "3986 3.2.2: letters after the bracket": (b"GET", b"http://[::1]a/", 400, "invalid_target"),
    "3986 3.2.2: percent-encoded host": (b"GET", b"http://127.0.0.%31/", 400, "invalid_target"),
    "3986 3.2.2: percent-encoded NUL": (b"GET", b"http://localhost%00.example/", 400, "invalid_target"),
    "3986 3.2.2: sub-delimiters": (b"GET", b"http://a,b/", 400, "invalid_target"),
    "3986 3.2.2: backslash": (b"GET", b"http://a\\b/", 400, "invalid_target"),
    "3986 3.2.2: empty label": (b"GET", b"http://a..b/", 400, "invalid_target"),
    "3986 3.2.2: label of 64 octets": (b"GET", b"http://" + b"a" * 64 + b".example/", 400, "invalid_target"),
    "3986 3.2.2: nothing but dots": (b"GET", b"http://../", 400, "invalid_target"),
    "3986 3.2.2: host of 5000 octets": (b"GET", b"http://" + b"a." * 2500 + b"b/", 400, "invalid_target"),
    "9112 3.2: fragment": (b"GET", b"http://ORIGIN/#a", 400, "malformed_request"),
    "9112 3.2: fragment in the host": (b"GET", b"http://ORIGIN#a/", 400, "malformed_request"),
    "9112 3.2: octets of Latin-1": (b"GET", b"http://ORIGIN/caf\xe9", 400, "malformed_request"),
    "9112 3.2: DEL": (b"GET", b"http://ORIGIN/\x7f", 400, "malformed_request"),
    "9110 4.2: ftp": (b"GET", b"ftp://ORIGIN/", 501, "scheme_not_implemented"),
    "9110 4.2: ws": (b"GET", b"ws://ORIGIN/", 501, "scheme_not_implemented"),
    "9110 4.2: file": (b"GET", b"file:///etc/passwd", 501, "scheme_not_implemented"),
    "9110 4.2: no authority at all": (b"GET", b"urn:a:b", 400, "invalid_target"),
    "9110 4.2: no scheme before the colon": (b"GET", b"://ORIGIN/", 400, "invalid_target"),
    "9110 4.2: digit before the colon": (b"GET", b"1http://ORIGIN/", 400, "invalid_target"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_target_is_refused(wire: Wire, case: str) -> None:
    method, target, status, reason = REFUSED[case]
    response = wire.refuses(method + b" " + target + b" HTTP/1.1\r\nHost: ORIGIN\r\n\r\n", status, reason)
    # RFC 9110 section 4.2.4: credentials do not come back.
    assert b"secret" not in response.raw


# A method and a target; the origin's request line, and its Host.
FORWARDED = {
    "9110 4.2.3: empty path": (b"GET", b"http://ORIGIN", b"GET / HTTP/1.1", b"ORIGIN"),
    "9110 7.7: empty path and a query": (b"GET", b"http://ORIGIN?a=b", b"GET /?a=b HTTP/1.1", b"ORIGIN"),
    "9110 7.7: empty query": (b"GET", b"http://ORIGIN/?", b"GET /? HTTP/1.1", b"ORIGIN"),
    "9110 7.7: path and query stay as they are": (
        b"GET",
        b'http://ORIGIN/a/../%2e/./b//c;d=e%2F%zz?x=http://y/&[z]|"<>^`{}\\',
        b'GET /a/../%2e/./b//c;d=e%2F%zz?x=http://y/&[z]|"<>^`{}\\ HTTP/1.1',
        b"ORIGIN",
    ),
    "9110 7.7: at sign in the path": (b"GET", b"http://ORIGIN/@a:b", b"GET /@a:b HTTP/1.1", b"ORIGIN"),
    "9110 4.2.3: scheme in capitals": (b"GET", b"HTTP://ORIGIN/", b"GET / HTTP/1.1", b"ORIGIN"),
    "9112 3.2.4: OPTIONS with an empty path": (b"OPTIONS", b"http://ORIGIN", b"OPTIONS * HTTP/1.1", b"ORIGIN"),
    "9112 3.2.4: OPTIONS with a slash": (b"OPTIONS", b"http://ORIGIN/", b"OPTIONS / HTTP/1.1", b"ORIGIN"),
    "9112 3.2.4: OPTIONS with a query": (b"OPTIONS", b"http://ORIGIN?a", b"OPTIONS /?a HTTP/1.1", b"ORIGIN"),
    "9110 7.7: the name's case stays": (b"GET", b"http://LocalHost:PORT/", b"GET / HTTP/1.1", b"LocalHost:PORT"),
    "9110 7.7: the name's last dot stays": (b"GET", b"http://localhost.:PORT/", b"GET / HTTP/1.1", b"localhost.:PORT"),
}


@pytest.mark.parametrize("minor", [1, 0])
@pytest.mark.parametrize("case", FORWARDED)
def test_target_is_forwarded(wire: Wire, case: str, minor: int) -> None:
    """RFC 9112 section 3.2.2: the Host that was sent is thrown away, and a new one made of the target."""
    port = b"%d" % wire.origin.port
    method, target, line, host = (part.replace(b"PORT", port) for part in FORWARDED[case])
    client = wire.client(method + b" " + target + b" HTTP/1.%d\r\nHost: other.example:1\r\nA: b\r\n\r\n" % minor)
    upstream = wire.origin.accept()
    expected = line + b"\r\nHost: " + host + b"\r\nA: b\r\nVia: 1.%d wire\r\n\r\n" % minor
    assert upstream.read_request().raw == wire.fill(expected)
    upstream.send(OK)
    assert client.read_response().status == 200


@pytest.mark.parametrize("port", [b"", b":", b":80", b":00080"])
def test_default_port(wire: Wire, port: bytes) -> None:
    """RFC 9110 section 4.2.3: nothing listens on port 80 of this address, and the proxy says that it tried there."""
    client = wire.client(b"GET http://127.55.44.33%b/ HTTP/1.1\r\nHost: x\r\n\r\n" % port)
    response = client.read_response()
    assert response.status == 502
    assert b"127.55.44.33:80" in response.content


def test_host_is_made_where_there_is_none(wire: Wire) -> None:
    """RFC 9112 section 3.2: HTTP/1.0 needs none, what we send does."""
    seen, _ = wire.exchange(b"GET http://ORIGIN/ HTTP/1.0\r\nA: b\r\n\r\n", OK)
    assert seen.raw == wire.fill(b"GET / HTTP/1.1\r\nHost: ORIGIN\r\nA: b\r\nVia: 1.0 wire\r\n\r\n")


def test_empty_host_field(wire: Wire) -> None:
    """RFC 9112 section 3.2: valid, and replaced like any other."""
    seen, _ = wire.exchange(b"GET http://ORIGIN/ HTTP/1.1\r\nHost:\r\n\r\n", OK)
    assert seen.raw == wire.fill(b"GET / HTTP/1.1\r\nHost: ORIGIN\r\nVia: 1.1 wire\r\n\r\n")


def test_ipv6_literal(wire: Wire) -> None:
    """RFC 3986 section 3.2.2."""
    origin = wire.another_origin(socket.AF_INET6, "::1")
    client = wire.client(b"GET http://[::1]:%d/a HTTP/1.1\r\nHost: x\r\n\r\n" % origin.port)
    upstream = origin.accept()
    assert upstream.read_request().raw == (b"GET /a HTTP/1.1\r\nHost: [::1]:%d\r\nVia: 1.1 wire\r\n\r\n" % origin.port)
    upstream.send(OK)
    assert client.read_response().status == 200


# Spellings of 127.0.0.1: all of them are addresses, and judged as such.
@pytest.mark.parametrize(
    "host", [b"127.1", b"2130706433", b"0x7f.1", b"0177.0.0.1", b"[::ffff:127.0.0.1]", b"localhost"]
)
def test_other_spellings_of_an_address(wire: Wire, host: bytes) -> None:
    """RFC 3986 section 7.4: they lead where they say, and Host keeps the spelling."""
    client = wire.client(b"GET http://%b:%d/ HTTP/1.1\r\nHost: x\r\n\r\n" % (host, wire.origin.port))
    upstream = wire.origin.accept()
    assert upstream.read_request().values(b"host") == [b"%b:%d" % (host, wire.origin.port)]
    upstream.send(OK)
    assert client.read_response().status == 200


OURSELVES = [
    b"127.0.0.1", b"localhost", b"localhost.", b"LOCALHOST", b"0.0.0.0", b"0", b"127.1", b"2130706433", b"0x7f.1",
    b"0x7f000001", b"0177.0.0.1", b"127.0.0.1.", b"[::ffff:127.0.0.1]", b"[::ffff:7f00:1]", b"[::]", b"[::127.0.0.1]",
    b"[64:ff9b::127.0.0.1]", b"[2002:7f00:1::]",
]  # fmt: skip

FORBIDDEN = [
    b"169.254.169.254", b"169.254.1.1", b"[fe80::1]", b"[fd00:ec2::254]", b"[::ffff:169.254.169.254]", b"2852039166",
    b"0xa9fea9fe", b"0251.0376.0251.0376", b"169.254.43518", b"100.100.100.200", b"168.63.129.16", b"0.0.0.0",
    b"224.0.0.1", b"255.255.255.255", b"[ff02::1]", b"[2002:a9fe:a9fe::]", b"[64:ff9b::a9fe:a9fe]",
]  # fmt: skip


@pytest.mark.parametrize("how", ["GET", "CONNECT", "WebSocket"])
@pytest.mark.parametrize("host", OURSELVES, ids=bytes.decode)
def test_proxy_does_not_go_to_itself(wire: Wire, host: bytes, how: str) -> None:
    """RFC 9110 section 7.6: by any name, literal or alias, with any method."""
    _refused_destination(wire, host, wire.proxy.port, how)


@pytest.mark.parametrize("how", ["GET", "CONNECT", "WebSocket"])
@pytest.mark.parametrize("host", FORBIDDEN, ids=bytes.decode)
def test_proxy_does_not_go_to_forbidden_addresses(wire: Wire, host: bytes, how: str) -> None:
    """RFC 9110 section 17: metadata services, link-local and other special addresses, in any spelling."""
    _refused_destination(wire, host, 80, how)


def _refused_destination(wire: Wire, host: bytes, port: int, how: str) -> None:
    authority = b"%b:%d" % (host, port)
    request = b"CONNECT " + authority if how == "CONNECT" else b"GET http://" + authority + b"/"
    request += b" HTTP/1.1\r\nHost: " + authority + b"\r\n"
    if how == "WebSocket":
        request += b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    client = wire.client(request + b"\r\n")
    response = client.read_response()
    assert response.status == 403
    assert response.values(b"proxy-status") == [b"wire; error=destination_ip_prohibited"]
    assert wire.why(client) == "destination_denied"

"""Request lines and field lines: what is no HTTP, what is no field, and how large things may be (RFC 9112
sections 2 to 5)."""

from __future__ import annotations

import time

import pytest

from tests.live.wire.wire import Wire

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

# RFC 9112 section 2.2: said at once to whoever does not speak HTTP, whether or not more would have come.
NOT_HTTP = {
    "TLS ClientHello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64)),
    "SSL 2 ClientHello": b"\x80\x2e\x01\x03\x01",
    "NUL": b"\x00",
    "GET / and two LF": b"GET /\n\n",
    "SSH banner": b"SSH-2.0-OpenSSH_9.6\r\n",
    "SOCKS 4": b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00",
    "SOCKS 5": b"\x05\x01\x00",
    "PROXY protocol": b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\n",
    "PROXY protocol 2": b"\r\n\r\n\x00\r\nQUIT\n",
    "RDP": b"\x03\x00\x00\x13\x0e\xe0\x00\x00",
    "SMTP": b"EHLO client.example\r\n",
    "octets of Latin-1": b"\xff\xfe\xfd",
    "LF": b"\n",
    "CR and something else": b"\rGET http://ORIGIN/ HTTP/1.1\r\n",
    "space": b" GET http://ORIGIN/ HTTP/1.1\r\n",
    "HTTP/0.9": b"GET http://ORIGIN/\r\n",
    "response": b"HTTP/1.1 200 OK\r\n",
    "field line": b"Host: ORIGIN\r\n",
    "nine empty lines": b"\r\n" * 9,
    "bell in the method": b"GE\x07T http://ORIGIN/",
    "NUL in the target": b"GET http://ORIGIN/\x00",
    "escape in a field": b"GET http://ORIGIN/ HTTP/1.1\r\nHost: a\x1b",
    "LF after the line": b"GET http://ORIGIN/ HTTP/1.1\n",
    "CR after the line": b"GET http://ORIGIN/ HTTP/1.1\rHost",
}


@pytest.mark.parametrize("case", NOT_HTTP)
def test_what_is_not_http_hears_so_at_once(wire: Wire, case: str) -> None:
    began = time.monotonic()
    wire.refuses(NOT_HTTP[case], 400, "malformed_request")
    assert time.monotonic() - began < 1


def test_http_2_without_asking(wire: Wire) -> None:
    """RFC 9110 section 15.6.6."""
    wire.refuses(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "version_not_supported")


# A request line.
REQUEST_LINES = {
    "9112 3: two spaces after the method": (b"GET  http://ORIGIN/ HTTP/1.1", 400, "malformed_request"),
    "9112 3: two spaces before the version": (b"GET http://ORIGIN/  HTTP/1.1", 400, "malformed_request"),
    "9112 3: tab": (b"GET\thttp://ORIGIN/\tHTTP/1.1", 400, "malformed_request"),
    "9112 3: space at the end": (b"GET http://ORIGIN/ HTTP/1.1 ", 400, "malformed_request"),
    "9112 3.2: space in the target": (b"GET http://ORIGIN/a b HTTP/1.1", 400, "malformed_request"),
    "9112 3: no target": (b"GET HTTP/1.1", 400, "malformed_request"),
    "9112 3: only a method": (b"GET", 400, "malformed_request"),
    "9112 3.1: method is no token": (b"G@T http://ORIGIN/ HTTP/1.1", 400, "malformed_request"),
    "9112 3.1: method in parentheses": (b"(GET) http://ORIGIN/ HTTP/1.1", 400, "malformed_request"),
    "9112 3.1: colon in the method": (b"GET: http://ORIGIN/ HTTP/1.1", 400, "malformed_request"),
    "9112 3: method of 65 octets": (b"A" * 65 + b" http://ORIGIN/ HTTP/1.1", 501, "method_not_implemented"),
    "9112 2.3: version in small letters": (b"GET http://ORIGIN/ http/1.1", 400, "malformed_request"),
    "9112 2.3: minor of two digits": (b"GET http://ORIGIN/ HTTP/1.10", 400, "malformed_request"),
    "9112 2.3: major of two digits": (b"GET http://ORIGIN/ HTTP/01.1", 400, "malformed_request"),
    "9112 2.3: no minor": (b"GET http://ORIGIN/ HTTP/1", 400, "malformed_request"),
    "9112 2.3: no minor after the dot": (b"GET http://ORIGIN/ HTTP/1.", 400, "malformed_request"),
    "9112 2.3: comma": (b"GET http://ORIGIN/ HTTP/1,1", 400, "malformed_request"),
    "9112 2.3: minus": (b"GET http://ORIGIN/ HTTP/-1.1", 400, "malformed_request"),
    "9112 2.3: other protocol": (b"GET http://ORIGIN/ ICY/1.1", 400, "malformed_request"),
    "9112 2.3: no version": (b"GET http://ORIGIN/", 400, "malformed_request"),
    "9112 2.3: 0.9": (b"GET http://ORIGIN/ HTTP/0.9", 505, "version_not_supported"),
    "9112 2.3: 2.0": (b"GET http://ORIGIN/ HTTP/2.0", 505, "version_not_supported"),
    "9112 2.3: 9.9": (b"GET http://ORIGIN/ HTTP/9.9", 505, "version_not_supported"),
    "9112 3: target of 16385 octets": (b"GET http://ORIGIN/" + b"a" * 16400 + b" HTTP/1.1", 414, "target_too_long"),
    "9112 3: method of 20000 octets": (b"A" * 20000 + b" http://ORIGIN/ HTTP/1.1", 501, "method_not_implemented"),
}


@pytest.mark.parametrize("case", REQUEST_LINES)
def test_request_line_is_refused(wire: Wire, case: str) -> None:
    line, status, reason = REQUEST_LINES[case]
    wire.refuses(line + b"\r\nHost: ORIGIN\r\n\r\n", status, reason)


def test_request_line_without_end(wire: Wire) -> None:
    """RFC 9112 section 3: 414 as soon as it is too long, not when it ends."""
    wire.refuses(b"GET http://ORIGIN/" + b"a" * 20000, 414, "target_too_long")


# A line that the origin gets for a request line.
FORWARDED_LINES = {
    "9112 3: target of 8000 octets": (
        b"GET http://ORIGIN/" + b"a" * 7950 + b" HTTP/1.1",
        b"GET /" + b"a" * 7950 + b" HTTP/1.1",
    ),
    "9110 4.1: target of 16000 octets": (
        b"GET http://ORIGIN/?" + b"a" * 15950 + b" HTTP/1.1",
        b"GET /?" + b"a" * 15950 + b" HTTP/1.1",
    ),
    "9110 9.1: method of 64 octets": (b"A" * 64 + b" http://ORIGIN/ HTTP/1.1", b"A" * 64 + b" / HTTP/1.1"),
    "9110 9.1: method of every character of a token": (
        b"!#$%&'*+-.^_`|~09azAZ http://ORIGIN/ HTTP/1.1",
        b"!#$%&'*+-.^_`|~09azAZ / HTTP/1.1",
    ),
    "9110 9.1: method in small letters": (b"get http://ORIGIN/ HTTP/1.1", b"get / HTTP/1.1"),
    "9110 9.1: extension method": (b"M-SEARCH http://ORIGIN/ HTTP/1.1", b"M-SEARCH / HTTP/1.1"),
    "9112 2.3: HTTP/1.0 becomes our version": (b"GET http://ORIGIN/ HTTP/1.0", b"GET / HTTP/1.1"),
    "9110 6.2: HTTP/1.2 is our highest": (b"GET http://ORIGIN/ HTTP/1.2", b"GET / HTTP/1.1"),
    "9110 6.2: HTTP/1.9 is our highest": (b"GET http://ORIGIN/ HTTP/1.9", b"GET / HTTP/1.1"),
    "9112 2.2: an empty line before": (b"\r\nGET http://ORIGIN/ HTTP/1.1", b"GET / HTTP/1.1"),
    "9112 2.2: eight empty lines before": (b"\r\n" * 8 + b"GET http://ORIGIN/ HTTP/1.1", b"GET / HTTP/1.1"),
}


@pytest.mark.parametrize("case", FORWARDED_LINES)
def test_request_line_is_forwarded(wire: Wire, case: str) -> None:
    line, expected = FORWARDED_LINES[case]
    client = wire.client(line + b"\r\nHost: ORIGIN\r\n\r\n")
    upstream = wire.origin.accept()
    assert upstream.read_request().start == expected
    upstream.send(OK)
    assert client.read_response().status == 200


# What stands after the request line and before the empty line.
FIELDS = {
    "9112 5.1: space before the colon": (b"Host: ORIGIN\r\nA : b", 400, "malformed_request"),
    "9112 5.1: tab before the colon": (b"Host: ORIGIN\r\nA\t: b", 400, "malformed_request"),
    "9110 5.1: no colon": (b"Host: ORIGIN\r\nA", 400, "malformed_request"),
    "9110 5.1: no name": (b"Host: ORIGIN\r\n: b", 400, "malformed_request"),
    "9110 5.1: space in the name": (b"Host: ORIGIN\r\nA b: c", 400, "malformed_request"),
    "9110 5.1: parentheses in the name": (b"Host: ORIGIN\r\nA(b): c", 400, "malformed_request"),
    "9110 5.1: octet of Latin-1 in the name": (b"Host: ORIGIN\r\nA\xe9: c", 400, "malformed_request"),
    "9110 5.1: quotation marks in the name": (b'Host: ORIGIN\r\n"A": c', 400, "malformed_request"),
    "9112 5.2: folded": (b"Host: ORIGIN\r\nA: b\r\n c", 400, "malformed_request"),
    "9112 5.2: folded with a tab": (b"Host: ORIGIN\r\nA: b\r\n\tc", 400, "malformed_request"),
    "9112 5.2: folded, nothing but a space": (b"Host: ORIGIN\r\nA: b\r\n ", 400, "malformed_request"),
    "9112 2.2: white space before the first field": (b" Host: ORIGIN\r\nA: b", 400, "malformed_request"),
    "9112 2.2: tab before the first field": (b"\tHost: ORIGIN\r\nA: b", 400, "malformed_request"),
    "9110 5.5: NUL": (b"Host: ORIGIN\r\nA: b\x00c", 400, "malformed_request"),
    "9110 5.5: CR": (b"Host: ORIGIN\r\nA: b\rc", 400, "malformed_request"),
    "9110 5.5: CR at the end": (b"Host: ORIGIN\r\nA: b\r", 400, "malformed_request"),
    "9110 5.5: DEL": (b"Host: ORIGIN\r\nA: b\x7fc", 400, "malformed_request"),
    "9110 5.5: control": (b"Host: ORIGIN\r\nA: b\x01c", 400, "malformed_request"),
    "9110 5.5: vertical tab": (b"Host: ORIGIN\r\nA: b\x0bc", 400, "malformed_request"),
    "9112 2.2: LF as a line end": (b"Host: ORIGIN\nA: b", 400, "malformed_request"),
    "9112 2.2: LF as the last line end": (b"Host: ORIGIN\r\nA: b\n", 400, "malformed_request"),
    "9112 3.2: no Host": (b"A: b", 400, "invalid_host"),
    "9112 3.2: two Hosts": (b"Host: ORIGIN\r\nHost: other.example", 400, "invalid_host"),
    "9112 3.2: the same Host twice": (b"Host: ORIGIN\r\nhost: ORIGIN", 400, "invalid_host"),
    "9112 3.2: Host with a space": (b"Host: ORIGIN other.example", 400, "invalid_host"),
    "9112 3.2: Host with a comma": (b"Host: ORIGIN, other.example", 400, "invalid_host"),
    "9112 3.2: Host with user information": (b"Host: user@ORIGIN", 400, "invalid_host"),
    "9112 3.2: Host with a scheme": (b"Host: http://ORIGIN", 400, "invalid_host"),
    "9112 3.2: Host with a path": (b"Host: ORIGIN/", 400, "invalid_host"),
    "9112 3.2: Host with a port of letters": (b"Host: 127.0.0.1:http", 400, "invalid_host"),
    "9112 3.2: Host with port 65536": (b"Host: 127.0.0.1:65536", 400, "invalid_host"),
    "9112 3.2: Host with two ports": (b"Host: 127.0.0.1:80:80", 400, "invalid_host"),
    "9112 3.2: Host with half a bracket": (b"Host: [::1", 400, "invalid_host"),
    "9112 3.2: white space before Host's colon": (b"Host : ORIGIN", 400, "malformed_request"),
    "9110 5.4: 129 fields": (b"Host: ORIGIN" + b"\r\nA: b" * 128, 431, "head_too_large"),
    "9110 5.4: one field of 64 KiB": (b"Host: ORIGIN\r\nA: " + b"b" * 65536, 431, "head_too_large"),
    "9110 5.4: a name of 64 KiB": (b"Host: ORIGIN\r\n" + b"A" * 65536 + b": b", 431, "head_too_large"),
    "9110 10.1.1: unknown expectation": (b"Host: ORIGIN\r\nExpect: miracle", 417, "expectation_failed"),
    "9110 10.1.1: another expectation too": (
        b"Host: ORIGIN\r\nExpect: 100-continue, miracle",
        417,
        "expectation_failed",
    ),
    "9110 10.1.1: empty expectation": (b"Host: ORIGIN\r\nExpect:", 417, "expectation_failed"),
}


@pytest.mark.parametrize("case", FIELDS)
def test_fields_are_refused(wire: Wire, case: str) -> None:
    lines, status, reason = FIELDS[case]
    wire.refuses(b"GET http://ORIGIN/ HTTP/1.1\r\n" + lines + b"\r\n\r\n", status, reason)


def test_head_without_end(wire: Wire) -> None:
    """RFC 9110 section 5.4: 431 as soon as it is too large, while the client is still sending."""
    client = wire.client(b"GET http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\n")
    client.send(b"A: bcdefgh\r\n" * 5500)
    response = client.read_response()
    assert (response.status, response.cut) == (431, False)
    # What still comes is thrown away for a moment, so that the answer is not lost to a reset.
    client.send(b"A: bcdefgh\r\n" * 5500)
    assert client.ended()
    assert wire.why(client) == "head_too_large"


# Field lines, and what becomes of them.
KEPT_FIELDS = {
    "9110 5.5: octets of Latin-1": (b"A: caf\xe9 \x80\xff", b"A: caf\xe9 \x80\xff"),
    "9110 5.5: empty value": (b"A:", b"A: "),
    "9110 5.5: nothing but white space": (b"A: \t ", b"A: "),
    "9110 5.5: white space around the value": (b"A:\t  b \t c \t ", b"A: b \t c"),
    "9110 5.1: name of every character of a token": (b"!#$%&'*+-.^_`|~09azAZ: b", b"!#$%&'*+-.^_`|~09azAZ: b"),
    "9110 5.3: order, case and repetition": (
        b"b: 1\r\nA: 2\r\nB: 3\r\nCookie: a=b\r\nCookie: c=d",
        b"b: 1\r\nA: 2\r\nB: 3\r\nCookie: a=b\r\nCookie: c=d",
    ),
    "9110 5.4: 128 fields": (b"A: b\r\n" * 126 + b"A: b", b"A: b\r\n" * 126 + b"A: b"),
    "9110 5.4: 60 KiB": (b"A: " + b"b" * 60000, b"A: " + b"b" * 60000),
    "9110 11.6.2: Authorization": (b"Authorization: Basic dTpw", b"Authorization: Basic dTpw"),
    "9110 10.1.3: Referer": (b"Referer: http://other.example/a?b", b"Referer: http://other.example/a?b"),
    "9110 13.2.1: preconditions": (
        b'If-Match: "a"\r\nIf-None-Match: W/"b"\r\nIf-Range: "c"\r\nRange: bytes=0-1\r\nIf-Modified-Since: x',
        b'If-Match: "a"\r\nIf-None-Match: W/"b"\r\nIf-Range: "c"\r\nRange: bytes=0-1\r\nIf-Modified-Since: x',
    ),
    "9111 5.2: Cache-Control": (b"Cache-Control: max-age=0, new=x", b"Cache-Control: max-age=0, new=x"),
}


@pytest.mark.parametrize("case", KEPT_FIELDS)
def test_fields_are_kept(wire: Wire, case: str) -> None:
    said, expected = KEPT_FIELDS[case]
    seen, got = wire.exchange(
        b"GET http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\n" + said + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nDate: x\r\n" + said + b"\r\nContent-Length: 0\r\n\r\n",
    )
    assert seen.raw == wire.fill(b"GET / HTTP/1.1\r\nHost: ORIGIN\r\n" + expected + b"\r\nVia: 1.1 wire\r\n\r\n")
    assert got.raw == (b"HTTP/1.1 200 OK\r\nDate: x\r\n" + expected + b"\r\nContent-Length: 0\r\nVia: 1.1 wire\r\n\r\n")


@pytest.mark.parametrize("step", [1, 2, 3, 5, 11])
def test_any_split_of_a_head_gives_the_same(wire: Wire, step: int) -> None:
    """RFC 9112 section 2.2."""
    request = wire.fill(b"\r\n\r\nGET http://ORIGIN/a HTTP/1.1\r\nHost: x\r\nA:  b \r\n\r\n")
    client = wire.client()
    for at in range(0, len(request), step):
        client.send(request[at : at + step])
    upstream = wire.origin.accept()
    assert upstream.read_request().raw == wire.fill(b"GET /a HTTP/1.1\r\nHost: ORIGIN\r\nA: b\r\nVia: 1.1 wire\r\n\r\n")
    upstream.send(OK)
    assert client.read_response().status == 200


@pytest.mark.parametrize(
    "request_part", [b"", b"G", b"GET http://ORIGIN/ HTTP/1.1\r", b"GET http://ORIGIN/ HTTP/1.1\r\nHo"]
)
def test_client_that_closes_before_its_request(wire: Wire, request_part: bytes) -> None:
    """RFC 9112 section 9.5: nothing was asked, nothing is answered; half a request is answered with 400."""
    client = wire.client(request_part)
    client.finish()
    if request_part:
        assert client.read_response().status == 400
        assert wire.why(client) == "request_cut"
    assert client.ended()
    assert wire.origin.untouched()

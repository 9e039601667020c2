"""What an intermediary changes, and what it leaves alone: connection fields, Via, Max-Forwards, Expect, 1xx,
Upgrade."""

from __future__ import annotations

import re

import pytest

from tests.live.wire.wire import Wire

OK = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 0\r\n\r\n"
GET = b"GET http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\n"

# Field lines, and those of them that go on: in a request, and in a response.
CONNECTION_FIELDS = {
    "Connection itself": (b"Connection: x\r\nA: b", b"A: b", b"A: b"),
    "Keep-Alive": (b"Keep-Alive: timeout=5\r\nA: b", b"A: b", b"A: b"),
    "Proxy-Connection": (b"Proxy-Connection: keep-alive\r\nA: b", b"A: b", b"A: b"),
    "Upgrade without the option": (b"Upgrade: websocket\r\nA: b", b"A: b", b"A: b"),
    "nominated": (b"Connection: A\r\nA: b\r\nC: d", b"C: d", b"C: d"),
    "nominated in another case": (b"Connection: a\r\nA: b\r\nC: d", b"C: d", b"C: d"),
    "nominated, further lines of the name": (b"A: 1\r\nConnection: a\r\nA: 2\r\nC: d", b"C: d", b"C: d"),
    "nominated in a list": (b"Connection: x, a ,,y\r\nA: b\r\nY: z\r\nC: d", b"C: d", b"C: d"),
    "nominated in two lines": (b"Connection: a\r\nConnection: y\r\nA: b\r\nY: z\r\nC: d", b"C: d", b"C: d"),
    "nominates itself": (b"Connection: connection\r\nA: b", b"A: b", b"A: b"),
    "nominates Keep-Alive": (b"Connection: keep-alive\r\nKeep-Alive: x\r\nA: b", b"A: b", b"A: b"),
    "empty": (b"Connection:\r\nA: b", b"A: b", b"A: b"),
    "nominates Host": (b"Connection: host\r\nA: b", b"A: b", b"A: b"),
    "nominates Content-Type": (
        b"Connection: content-type\r\nContent-Type: a/b",
        b"Content-Type: a/b",
        b"Content-Type: a/b",
    ),
    "Proxy-Authorization": (
        b"Proxy-Authorization: Basic dTpw\r\nA: b",
        b"A: b",
        b"Proxy-Authorization: Basic dTpw\r\nA: b",
    ),
    "HTTP2-Settings": (
        b"Connection: http2-settings\r\nHTTP2-Settings: AAA\r\nA: b",
        b"A: b",
        b"A: b",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CONNECTION_FIELDS)
def test_connection_fields_go_no_further(wire: Wire, case: str) -> None:
    """RFC 9110 section 7.6.1."""
    said, request_lines, response_lines = CONNECTION_FIELDS[case]
    client = wire.client(GET + said + b"\r\n\r\n")
    upstream = wire.origin.accept()
    assert upstream.read_request().raw == wire.fill(
        b"GET / HTTP/1.1\r\nHost: ORIGIN\r\n" + request_lines + b"\r\nVia: 1.1 wire\r\n\r\n"
    )
    upstream.send(b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 0\r\n" + said + b"\r\n\r\n")
    assert client.read_response().raw == (
        b"HTTP/1.1 200 OK\r\nDate: x\r\n" + response_lines + b"\r\nContent-Length: 0\r\nVia: 1.1 wire\r\n\r\n"
    )


def test_framing_cannot_be_nominated(wire: Wire) -> None:
    """RFC 9110 section 7.6.1: what frames the message is written anew, whatever Connection says."""
    seen, got = wire.exchange(
        b"POST http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nConnection: content-length\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nDate: x\r\nConnection: content-length, transfer-encoding, date\r\nContent-Length: 2"
        b"\r\n\r\nho",
    )
    assert seen.raw == wire.fill(b"POST / HTTP/1.1\r\nHost: ORIGIN\r\nContent-Length: 2\r\nVia: 1.1 wire\r\n\r\nhi")
    assert got.raw == b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\nVia: 1.1 wire\r\n\r\nho"


# Response fields that are none of an intermediary's business.
UNTOUCHED = {
    "9110 10.2.1: Allow": b"Allow: BREW, get",
    "9110 11.6.1: WWW-Authenticate": b'WWW-Authenticate: Basic realm="a, b", Newauth x=1',
    "9110 11.6.1: two of WWW-Authenticate": b"WWW-Authenticate: Negotiate\r\nWWW-Authenticate: NTLM",
    "9110 11.7.1: Proxy-Authenticate of a proxy behind": b'Proxy-Authenticate: Basic realm="x"',
    "9110 5.3: Set-Cookie is never joined": b"Set-Cookie: a=b\r\nset-cookie: c=d, e",
    "9110 12.5.5: Vary": b"Vary: Accept, *",
    "9110 14.4: unknown Content-Range": b"Content-Range: lines 1-2/3",
    "9110 8.8: validators": b'ETag: W/"a"\r\nLast-Modified: yesterday',
    "9110 6.6.1: a Date off its grammar": b"Date: today",
    "9110 10.2.2: Location": b"Location: //a/b?c#d",
    "9110 15.5.20: Alt-Svc": b'Alt-Svc: h3=":443"',
    "9110 6.6.2: Trailer": b"Trailer: X-Checksum",
    "9209 2: Proxy-Status of others": b"Proxy-Status: other; error=dns_error",
}


@pytest.mark.parametrize("case", UNTOUCHED)
def test_response_fields_stay(wire: Wire, case: str) -> None:
    said = UNTOUCHED[case]
    date = b"" if b"Date" in said else b"Date: x\r\n"
    _, got = wire.exchange(GET + b"\r\n", b"HTTP/1.1 200 OK\r\n" + date + said + b"\r\nContent-Length: 0\r\n\r\n")
    assert got.raw == (b"HTTP/1.1 200 OK\r\n" + date + said + b"\r\nContent-Length: 0\r\nVia: 1.1 wire\r\n\r\n")


def test_date_is_added_where_there_is_none(wire: Wire) -> None:
    """RFC 9110 section 6.6.1."""
    _, got = wire.exchange(GET + b"\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    [date] = got.values(b"date")
    day = rb"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{2} [A-Z][a-z]{2} 20[0-9]{2}"
    assert re.fullmatch(day + rb" [0-9]{2}:[0-9]{2}:[0-9]{2} GMT", date)


# A status line, and the client's.
STATUS_LINES = {
    "9112 4: no phrase, a space": (b"HTTP/1.1 200 ", b"HTTP/1.1 200 "),
    "9112 4: no phrase, no space": (b"HTTP/1.1 200", b"HTTP/1.1 200 "),
    "9112 4: another phrase": (b"HTTP/1.1 200 All is \xfcber well", b"HTTP/1.1 200 All is \xfcber well"),
    "9110 15: unknown 2xx": (b"HTTP/1.1 299 Hm", b"HTTP/1.1 299 Hm"),
    "9110 15: unknown 3xx": (b"HTTP/1.1 399 Hm", b"HTTP/1.1 399 Hm"),
    "9110 15: unknown 4xx": (b"HTTP/1.1 499 Hm", b"HTTP/1.1 499 Hm"),
    "9110 15: unknown 5xx": (b"HTTP/1.1 599 Hm", b"HTTP/1.1 599 Hm"),
    "9110 15.5.20: 421 is passed on": (b"HTTP/1.1 421 Misdirected", b"HTTP/1.1 421 Misdirected"),
    "9110 15.3.7: 206": (b"HTTP/1.1 206 Partial Content", b"HTTP/1.1 206 Partial Content"),
    "9112 2.3: HTTP/1.2": (b"HTTP/1.2 200 OK", b"HTTP/1.1 200 OK"),
}


@pytest.mark.parametrize("case", STATUS_LINES)
def test_status_line(wire: Wire, case: str) -> None:
    said, expected = STATUS_LINES[case]
    _, got = wire.exchange(GET + b"\r\n", said + b"\r\nDate: x\r\nContent-Length: 2\r\n\r\nhi")
    assert got.raw == expected + b"\r\nDate: x\r\nContent-Length: 2\r\nVia: 1.1 wire\r\n\r\nhi"


# ---------------------------------------------------------------- Via, and loops


def test_via_is_appended_in_both_directions(wire: Wire) -> None:
    """RFC 9110 section 7.6.3: with the version that was received, after those before us, whose lines stay."""
    seen, got = wire.exchange(
        b"GET http://ORIGIN/ HTTP/1.0\r\nVia: 1.1 a (b), 2 c:80\r\nVia: HTTP/1.1 d\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nDate: x\r\nVia: 1.0 e\r\nContent-Length: 0\r\n\r\n",
    )
    assert seen.values(b"via") == [b"1.1 a (b), 2 c:80", b"HTTP/1.1 d", b"1.0 wire"]
    assert got.values(b"via") == [b"1.0 e", b"1.0 wire"]


@pytest.mark.parametrize(
    "via",
    [b"1.1 wire", b"1.0 WIRE", b"HTTP/1.1 wire (comment)", b"1.1 a, 1.1 wire, 1.1 b", b"1.1 a\r\nVia: 1.1\twire"],
)
@pytest.mark.parametrize("method", [b"GET", b"POST", b"CONNECT", b"OPTIONS"])
def test_request_that_comes_round_again(wire: Wire, via: bytes, method: bytes) -> None:
    """RFC 9110 section 7.6.3, RFC 9209 section 2.3.13."""
    target = b"ORIGIN" if method == b"CONNECT" else b"http://ORIGIN/"
    client = wire.client(method + b" " + target + b" HTTP/1.1\r\nHost: ORIGIN\r\nVia: " + via + b"\r\n\r\n")
    response = client.read_response()
    assert response.status == 502
    assert response.values(b"proxy-status") == [b"wire; error=proxy_loop_detected"]
    assert wire.origin.untouched()
    assert wire.why(client) == "loop_detected"


@pytest.mark.parametrize("via", [b"1.1 wired", b"1.1 a (wire)", b"wire", b"1.1 a.wire", b"1.1 wire:80"])
def test_other_names_are_no_loop(wire: Wire, via: bytes) -> None:
    """RFC 9110 section 7.6.3: only received-by counts."""
    seen, _ = wire.exchange(GET + b"Via: " + via + b"\r\n\r\n", OK)
    assert seen.values(b"via") == [via, b"1.1 wire"]


# ---------------------------------------------------------------- Max-Forwards, TRACE, OPTIONS


# Method, Max-Forwards, and what the origin gets of it.
@pytest.mark.parametrize(
    ("method", "said", "expected"),
    [
        (b"TRACE", b"5", [b"4"]),
        (b"OPTIONS", b"5", [b"4"]),
        (b"OPTIONS", b"1", [b"0"]),
        (b"OPTIONS", b"0005", [b"4"]),
        (b"OPTIONS", b"x", [b"x"]),
        (b"OPTIONS", b"99999999999999999999", [b"999999999"]),
        (b"GET", b"0", [b"0"]),
        (b"GET", b"5", [b"5"]),
        (b"OPTIONS", None, []),
        (b"TRACE", None, []),
        (b"GET", None, []),
    ],
)
def test_max_forwards_on_the_way(wire: Wire, method: bytes, said: bytes | None, expected: list[bytes]) -> None:
    """RFC 9110 sections 7.6.2 and 9.3.7: one less for TRACE and OPTIONS, not touched for others, never invented."""
    line = b"" if said is None else b"Max-Forwards: " + said + b"\r\n"
    seen, _ = wire.exchange(method + b" http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\n" + line + b"\r\n", OK)
    assert seen.values(b"max-forwards") == expected


def test_trace_ends_here(wire: Wire) -> None:
    """RFC 9110 sections 7.6.2 and 9.3.8: it is reflected as it came, without what is secret."""
    head = wire.fill(b"TRACE http://ORIGIN/a HTTP/1.1\r\nHost: ORIGIN\r\nMax-Forwards: 0\r\nVia: 1.1 a\r\nX-A: b\r\n")
    secrets = b"Authorization: Basic c2VjcmV0\r\nproxy-authorization: c2VjcmV0\r\nCookie: c2VjcmV0=1\r\n"
    client = wire.client(head + secrets + b"\r\n")
    response = client.read_response()
    assert response.status == 200
    assert response.values(b"content-type") == [b"message/http"]
    assert response.content == head + b"\r\n"
    assert wire.origin.untouched()
    assert client.silent()


def test_trace_goes_on(wire: Wire) -> None:
    """RFC 9110 section 9.3.8."""
    seen, got = wire.exchange(
        b"TRACE http://ORIGIN/a HTTP/1.1\r\nHost: ORIGIN\r\nMax-Forwards: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Type: message/http\r\nContent-Length: 2\r\n\r\nhi",
    )
    assert seen.raw == wire.fill(b"TRACE /a HTTP/1.1\r\nHost: ORIGIN\r\nMax-Forwards: 0\r\nVia: 1.1 wire\r\n\r\n")
    assert got.content == b"hi"


@pytest.mark.parametrize("framing", [b"Content-Length: 2\r\n\r\nhi", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"])
def test_trace_with_content(wire: Wire, framing: bytes) -> None:
    """RFC 9110 section 9.3.8."""
    wire.refuses(b"TRACE http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\n" + framing, 400, "malformed_request")


@pytest.mark.parametrize("target", [b"*", b"http://ORIGIN/"])
def test_options_ends_here(wire: Wire, target: bytes) -> None:
    """RFC 9110 sections 7.6.2 and 9.3.7: the answer is our own, and has no content."""
    client = wire.client(b"OPTIONS " + target + b" HTTP/1.1\r\nHost: ORIGIN\r\nMax-Forwards: 0\r\n\r\n")
    response = client.read_response()
    assert (response.status, response.content, response.values(b"content-length")) == (200, b"", [b"0"])
    assert b"GET" in response.values(b"allow")[0]
    assert wire.origin.untouched()
    assert client.silent()


def test_options_asterisk_is_about_the_proxy(wire: Wire) -> None:
    """RFC 9110 section 9.3.7."""
    client = wire.client(b"OPTIONS * HTTP/1.1\r\nHost: anything.example\r\n\r\n")
    response = client.read_response()
    assert (response.status, response.content) == (200, b"")
    assert client.silent()


# ---------------------------------------------------------------- connections


def test_connection_to_the_origin_is_shared(wire: Wire) -> None:
    """RFC 9112 section 9.3, RFC 9110 section 3.3: it outlives its client and serves the next one."""
    first = wire.client(GET + b"\r\n")
    upstream = wire.origin.accept()
    for number in range(5):
        upstream.read_request()
        upstream.send(OK)
        assert first.read_response().status == 200
        first.close()
        if number < 4:
            first = wire.client(GET + b"Cookie: user=%d\r\n\r\n" % number)
    assert wire.origin.untouched()


@pytest.mark.parametrize("scheme", [b"NTLM", b"Negotiate", b"negotiate"])
def test_connection_of_one_user_is_not_shared(wire: Wire, scheme: bytes) -> None:
    """RFC 9110 section 3.3, RFC 4559: what such a scheme authenticates is the connection, for whoever comes next."""
    client = wire.client(GET + b"Authorization: " + scheme + b" TlRMTVNTUAADAAAA\r\n\r\n")
    upstream = wire.origin.accept()
    assert upstream.read_request().values(b"authorization") == [scheme + b" TlRMTVNTUAADAAAA"]
    upstream.send(OK)
    assert client.read_response().status == 200
    assert upstream.ended()
    assert client.silent()


@pytest.mark.parametrize("minor", [1, 0])
def test_client_of_http_1_0_is_not_kept(wire: Wire, minor: int) -> None:
    """RFC 9112 section 9.3: a proxy does not keep the connection of an HTTP/1.0 client, whatever that asks for."""
    client = wire.client(
        b"GET http://ORIGIN/ HTTP/1.%d\r\nHost: ORIGIN\r\nConnection: keep-alive\r\n"
        b"Proxy-Connection: keep-alive\r\n\r\n" % minor
    )
    upstream = wire.origin.accept()
    assert upstream.read_request().values(b"connection") == []
    upstream.send(b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=9\r\nContent-Length: 0\r\n\r\n")
    response = client.read_response()
    assert response.values(b"keep-alive") == []
    if minor:
        assert response.values(b"connection") == []
        assert client.silent()
    else:
        assert response.values(b"connection") == [b"close"]
        assert client.ended()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: x, CLOSE\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_origin_that_closes_is_not_used_again(wire: Wire, answer: bytes) -> None:
    """RFC 9112 section 9.6; the client's connection is another matter, and stays."""
    client = wire.client(GET + b"\r\n")
    upstream = wire.origin.accept()
    upstream.read_request()
    upstream.send(answer)
    response = client.read_response()
    assert response.values(b"connection") == []
    assert upstream.ended()
    client.send(wire.fill(GET + b"\r\n"))
    second = wire.origin.accept()
    second.read_request()
    second.send(OK)
    assert client.read_response().status == 200

"""The proxy's own answers and its access log: what they tell, and what they must not (RFC 9110 section 15, RFC
9209)."""

from __future__ import annotations

import re

import pytest

from tests.live.wire.test_connect import unused_port
from tests.live.wire.wire import Wire


def failing(accept: bytes = b"", path: bytes = b"/", lines: bytes = b"", method: bytes = b"GET") -> bytes:
    """A request to a port on which nobody listens."""
    if accept:
        lines += b"Accept: " + accept + b"\r\n"
    return method + b" http://127.0.0.1:%d" % unused_port() + path + b" HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n"


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        (b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        (b"TEXT/HTML; q=0.5", True),
        (b"application/xhtml+xml", True),
        (b"", False),
        (b"*/*", False),
        (b"application/json", False),
        (b"text/html;q=0", False),
        (b"text/html ; q=0.000", False),
    ],
)
def test_page_is_what_the_client_reads(wire: Wire, accept: bytes, html: bool) -> None:
    """RFC 9110 sections 12.5.1 and 15.6.3."""
    client = wire.client(failing(accept))
    response = client.read_response()
    assert response.status == 502
    kind = b"text/html" if html else b"text/plain"
    assert response.values(b"content-type") == [kind + b"; charset=utf-8"]
    assert response.content.startswith(b"<!doctype html>" if html else b"502 Bad Gateway\n")
    # RFC 9111 section 3: what the request itself may have caused is not to be stored.
    assert response.values(b"cache-control") == [b"no-store"]
    assert re.fullmatch(rb"[A-Z][a-z]{2}, .* GMT", response.values(b"date")[0])
    assert client.silent()


def test_page_does_not_carry_markup(wire: Wire) -> None:
    """RFC 9110 section 17: what a client says of itself is shown as text."""
    response = wire.client(failing(b"text/html", b"/<script>alert(1)</script>\"'&amp;")).read_response()
    assert b"<script" not in response.content
    assert b"&lt;script&gt;" in response.content


@pytest.mark.parametrize("accept", [b"text/html", b"text/plain"])
def test_page_and_log_keep_secrets(wire: Wire, accept: bytes) -> None:
    """RFC 9110 sections 17.9 and 17.16: no query on the page; no credentials there nor in the log."""
    secrets = (
        b"Authorization: Basic hush1\r\nProxy-Authorization: Basic hush2\r\nCookie: sid=hush3\r\nX-Api-Key: hush4\r\n"
    )
    client = wire.client(failing(accept, b"/path?token=hush5", secrets))
    response = client.read_response()
    assert b"/path" in response.content
    assert b"hush" not in response.raw
    [line] = wire.proxy.access_lines(client)
    assert re.findall("hush.", str(line)) == ["hush5"]


@pytest.mark.parametrize(
    "target", [b"http://joe:hush@ORIGIN/", b"http://joe:hush@/", b"//joe:hush@ORIGIN/", b"ftp://joe:hush@ORIGIN/a?b@c"]
)
def test_user_information_is_not_repeated(wire: Wire, target: bytes) -> None:
    """RFC 9110 section 4.2.4."""
    client = wire.client(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n\r\n")
    response = client.read_response()
    assert response.status in (400, 501)
    assert b"hush" not in response.raw
    assert "hush" not in str(wire.proxy.access_lines(client))


def test_error_for_head(wire: Wire) -> None:
    """RFC 9110 section 9.3.2: no content, and the length that it would have had."""
    client = wire.client(failing(method=b"HEAD"))
    response = client.read_response(b"HEAD")
    assert (response.status, int(response.values(b"content-length")[0]) > 100) == (502, True)
    assert client.silent()


def test_error_for_http_1_0(wire: Wire) -> None:
    """RFC 9112 section 9.3."""
    client = wire.client(failing().replace(b"HTTP/1.1", b"HTTP/1.0"))
    response = client.read_response()
    assert (response.status, response.values(b"connection")) == (502, [b"close"])
    assert client.ended()


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (b"GET http://joe:hush@x/\x01", b"hush"),
        (b"GET http://x/?hush HTTP/1.1\r\nAuthorization: hush\r\nBad\r\n\r\n", b"hush"),
    ],
)
def test_malformed_request_is_not_repeated(wire: Wire, text: bytes, secret: bytes) -> None:
    """RFC 9110 section 17: what could not be read is not shown."""
    client = wire.client(text)
    assert secret not in client.read_response().raw
    assert secret.decode() not in str(wire.proxy.access_lines(client))


def test_log_line_of_an_exchange(wire: Wire) -> None:
    """Who, what, how much, how fast, from where; bytes as they were on the wire."""
    request = wire.fill(b"POST http://ORIGIN/a?b HTTP/1.1\r\nHost: x\r\nUser-Agent: u\r\nContent-Length: 2\r\n\r\nhi")
    client = wire.client(request)
    upstream = wire.origin.accept()
    seen = upstream.read_request()
    answer = b"HTTP/1.1 201 Created\r\nContent-Type: a/b\r\nContent-Length: 3\r\n\r\nyes"
    upstream.send(answer)
    got = client.read_response()
    [line] = wire.proxy.access_lines(client)
    assert line["kind"] == "forward"
    assert (line["client_address"], line["client_port"]) == ("127.0.0.1", client.port)
    assert (line["method"], line["url"], line["version"]) == (
        "POST",
        wire.fill(b"http://ORIGIN/a?b").decode(),
        "HTTP/1.1",
    )
    assert (line["status"], line["reason"], line["detail"]) == (201, None, None)
    assert (line["bytes_from_client"], line["bytes_to_upstream"]) == (len(request), len(seen.raw))
    assert (line["bytes_from_upstream"], line["bytes_to_client"]) == (len(answer), len(got.raw))
    assert (line["upstream_address"], line["reused"]) == (wire.origin.authority.decode(), False)
    assert (line["content_type"], line["user_agent"]) == ("a/b", "u")
    assert 0 <= line["connect_seconds"] <= line["first_byte_seconds"] <= line["seconds"] < 5


def test_log_has_a_line_for_each_request(wire: Wire) -> None:
    """Also of one connection, in order, and each with its own bytes."""
    client = wire.client(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n" * 3 + b"BAD\r\n\r\n")
    [*answers, refusal] = [client.read_response() for _ in range(4)]
    lines = wire.proxy.access_lines(client, 4)
    assert [line["status"] for line in lines] == [200, 200, 200, 400]
    assert [line["bytes_to_client"] for line in lines] == [len(answer.raw) for answer in [*answers, refusal]]
    assert [line["bytes_from_client"] for line in lines[:3]] == [31, 31, 31]
    assert [line["reason"] for line in lines] == [None, None, None, "malformed_request"]
    assert [line["method"] for line in lines] == ["OPTIONS"] * 3 + [None]


def test_log_cannot_be_forged(wire: Wire) -> None:
    """What strangers say stays inside its member of its line."""
    answer = b'HTTP/1.1 200 OK\r\nContent-Type: a/b"},{"x":"\xe9\r\nContent-Length: 0\r\n\r\n'
    client = wire.client(
        b'GET http://ORIGIN/"},{"a":"b HTTP/1.1\r\nHost: x\r\nUser-Agent: \xe9"},{"c":"d\r\nReferer: http://j:hush@x/\r\n\r\n'
    )
    upstream = wire.origin.accept()
    upstream.read_request()
    upstream.send(answer)
    client.read_response()
    [line] = wire.proxy.access_lines(client)
    assert line["url"] == wire.fill(b'http://ORIGIN/"},{"a":"b').decode()
    assert line["user_agent"] == 'é"},{"c":"d'
    assert line["content_type"] == 'a/b"},{"x":"é'
    assert line["referer"] == "http://x/"

"""The pages of the proxy's own: what they say, to whom in which form, and what they never repeat."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from twisted.internet.task import Clock

from tests.error_tree import every_error
from twistedproxy import errors
from twistedproxy.accounts.authenticator import Authenticator
from twistedproxy.downstream.pages import answer_bytes, error_page, phrase_of
from twistedproxy.errors import ConnectionRefused, LoopDetected, ProxyError, RequestError
from twistedproxy.http.message import Fields, RequestHead

NAME = "proxy.test"


def request(target: bytes = b"http://origin.test/", *accept: bytes) -> RequestHead:
    return RequestHead(b"GET", target, 1, Fields((b"Accept", value) for value in accept))


class Text(HTMLParser):
    """The text of a page, and that its elements are closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self.open: list[str] = []
        self.elements: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.elements.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_plain_text() -> None:
    lines, content = error_page(ConnectionRefused("127.0.0.1:1: Connection refused"), request(), NAME)
    assert lines == [
        (b"Content-Type", b"text/plain; charset=utf-8"),
        (b"Cache-Control", b"no-store"),
        (b"Proxy-Status", b"proxy.test; error=connection_refused"),
    ]
    assert content.decode() == (
        "502 Bad Gateway\n\nThe server refused the connection.\nWhat was wrong: 127.0.0.1:1: Connection refused.\n\n"
        "GET http://origin.test/\n\nAnswered by the proxy proxy.test. Its log has the reason connection_refused.\n"
    )


def test_plain_text_of_a_request_that_could_not_be_read() -> None:
    _, content = error_page(RequestError(), None, NAME)
    assert content.decode() == (
        "400 Bad Request\n\nThe request is not valid HTTP.\n\n"
        "Answered by the proxy proxy.test. Its log has the reason malformed_request.\n"
    )


def test_html() -> None:
    lines, content = error_page(LoopDetected("its Via field names this proxy"), request(b"/", b"text/html"), NAME)
    assert lines[0] == (b"Content-Type", b"text/html; charset=utf-8")
    page = Text(content.decode())
    assert "502 Bad Gateway\nThe request has come round to the proxy that already forwarded it." in page.text
    assert "\nWhat was wrong: its Via field names this proxy.\n" in page.text
    assert "\nGET /\n" in page.text
    assert "Its log has the reason loop_detected." in page.text
    assert "script" not in page.elements


@pytest.mark.parametrize("kind", list(every_error()), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("accept", [b"text/html", b"*/*"])
def test_every_error_has_its_page(kind: type[ProxyError], accept: bytes) -> None:
    lines, content = error_page(kind("<why>"), request(b"http://origin.test/", accept), NAME)
    text = Text(content.decode()).text if accept == b"text/html" else content.decode()
    assert f"{kind.status} {phrase_of(kind.status)}\n" in text
    assert (kind.__doc__ or "").strip() in text
    assert "<why>." in text
    assert kind.reason in text
    assert dict(lines)[b"Proxy-Status"].endswith(kind.proxy_status.encode())


def test_what_a_stranger_says_is_quoted() -> None:
    hostile = b"http://origin.test/<script>alert(1)</script>&amp;'\""
    error = errors.HostError("<img src=x onerror=alert(1)>")
    _, content = error_page(error, request(hostile, b"text/html"), '"><script>')
    page = Text(content.decode())
    assert "script" not in page.elements
    assert "img" not in page.elements
    assert hostile.decode() in page.text
    assert error.detail in page.text


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        (b"http://origin.test/path?password=secret", "GET http://origin.test/path\n"),
        (b"http://me:secret@origin.test/", None),
        (b"http://origin.test/" + b"a" * 1000, "GET http://origin.test/" + "a" * 181 + "\n"),
    ],
    ids=["query", "userinfo", "long"],
)
def test_target_is_shown_without_secrets(target: bytes, shown: str | None) -> None:
    text = error_page(ConnectionRefused(), request(target), NAME)[1].decode()
    assert "secret" not in text
    assert "GET" not in text if shown is None else shown in text


def test_name_that_is_no_token_is_a_string() -> None:
    """RFC 9209 section 2."""
    lines, _ = error_page(ConnectionRefused(), None, "[::1]:8080")
    assert lines[2] == (b"Proxy-Status", b'"[::1]:8080"; error=connection_refused')


@pytest.mark.parametrize(("method", "content"), [(b"GET", b"hi"), (b"HEAD", b""), (b"", b"hi")])
@pytest.mark.parametrize(("close", "line"), [(True, b"Connection: close\r\n"), (False, b"")])
def test_whole_answer(method: bytes, content: bytes, close: bool, line: bytes) -> None:
    """RFC 9110 section 9.3.2: HEAD has the fields of GET and no content."""
    said = answer_bytes(200, [(b"A", b"b")], b"hi", 1_800_000_000, method, close=close)
    date = b"Date: Fri, 15 Jan 2027 08:00:00 GMT\r\n"
    assert said == b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 2\r\n" + date + line + b"\r\n" + content


def test_an_error_that_asks_for_credentials_has_the_challenges() -> None:
    """RFC 9110 section 15.5.8."""
    clock = Clock()
    authenticator = Authenticator(clock, clock.seconds, None)
    lines, content = error_page(errors.CredentialsWanted("the rule guests"), request(), NAME, authenticator)
    assert lines[-1] == (b"Proxy-Authenticate", b'Basic realm="proxy", charset="UTF-8"')
    assert b"the rule guests" in content
    lines, _ = error_page(errors.ClientRefused(), request(), NAME, authenticator)
    assert b"Proxy-Authenticate" not in dict(lines)

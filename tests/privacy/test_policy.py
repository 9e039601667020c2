"""Privacy through a whole proxy, in memory: what an origin gets, and what a client gets back."""

from __future__ import annotations

import pytest

from tests.memory import DATE, Wire
from twistedproxy.http.forwarding import forwarded_request_lines
from twistedproxy.http.head import HeadLimits, parse_request_head
from twistedproxy.http.target import parse_target
from twistedproxy.privacy.policy import Privacy
from twistedproxy.settings.privacy import PrivacySettings
from twistedproxy.settings.privacy_profiles import choices

GET = b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDate: " + DATE + b"\r\n"


def seen(lines: bytes, *overrides: tuple[str, str], start: bytes = GET) -> bytes:
    """The request as an origin gets it, without its first two lines."""
    wire = Wire(*overrides)
    wire.client().receive(start + lines + b"\r\n")
    wire.turn()
    return wire.origins[0].take().split(b"\r\n", 2)[2]


def answered(lines: bytes, *overrides: tuple[str, str]) -> bytes:
    """The fields of an answer as the client gets them."""
    wire = Wire(*overrides)
    client = wire.client()
    client.receive(GET + b"\r\n")
    wire.turn()
    wire.origins[0].receive(ANSWER + lines + b"\r\n")
    wire.turn()
    return client.take().partition(b"\r\n")[2]


def test_off_is_nothing_at_all() -> None:
    assert Privacy.of(choices(PrivacySettings()), PrivacySettings()) is None
    assert Wire().plane.snapshot.privacy is None


def test_profiles() -> None:
    came = b"X-Forwarded-For: 10.0.0.1\r\nX-Real-IP: 10.0.0.1\r\nDNT: 1\r\nVia: 1.1 inside\r\nX: y\r\n"
    assert seen(came) == came + b"Via: 1.1 proxy.test\r\n\r\n"
    assert seen(came, ("privacy.profile", "standard")) == (
        b"DNT: 1\r\nVia: 1.1 inside\r\nX: y\r\nVia: 1.1 proxy.test\r\n\r\n"
    )
    assert seen(came, ("privacy.profile", "strict")) == b"X: y\r\n\r\n"


@pytest.mark.parametrize("profile", ["off", "standard", "strict"])
def test_own_words_go_before_the_profile(profile: str) -> None:
    words = [("privacy.via", "pseudonym"), ("privacy.forwarded_for", "on"), ("privacy.profile", profile)]
    assert seen(b"Via: 1.1 inside\r\n", *words) == (
        b"Via: 1.1 inside\r\nX-Forwarded-For: 127.0.0.1\r\nVia: 1.1 proxy.test\r\n\r\n"
    )


def test_no_via_on_either_side() -> None:
    assert seen(b"", ("privacy.via", "none")) == b"\r\n"
    came = b"Content-Length: 0\r\nDate: " + DATE + b"\r\n"
    without_length = b"Date: " + DATE + b"\r\nVia: 1.0 cdn\r\nContent-Length: 0\r\n\r\n"
    assert answered(b"Via: 1.0 cdn\r\n", ("privacy.via", "none")) == without_length
    assert came not in answered(b"")


def test_client_cannot_take_out_what_is_added() -> None:
    """What Connection names is the client's own field; the one that the proxy writes is not."""
    assert seen(b"Connection: x-forwarded-for\r\nX-Forwarded-For: 1\r\n", ("privacy.forwarded_for", "on")) == (
        b"X-Forwarded-For: 127.0.0.1\r\nVia: 1.1 proxy.test\r\n\r\n"
    )


def test_answers() -> None:
    overrides = [("privacy.remove_response_fields", "X-Powered-*"), ("privacy.replace_response_fields", "Server: s")]
    assert answered(b"Server: Apache/2.4\r\nX-Powered-By: PHP\r\n", *overrides) == (
        b"Date: " + DATE + b"\r\nServer: s\r\nContent-Length: 0\r\nVia: 1.1 proxy.test\r\n\r\n"
    )


def test_trailers() -> None:
    start = b"POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n"
    wire = Wire(("privacy.profile", "standard"))
    client = wire.client()
    client.receive(start + b"\r\n0\r\nX-Real-IP: 10.0.0.1\r\nX-Forwarded-For: 10.0.0.1\r\nX: y\r\n\r\n")
    wire.turn()
    origin = wire.origins[0]
    assert origin.take().endswith(b"\r\n\r\n0\r\nX: y\r\n\r\n")


def test_trace() -> None:
    """What comes back to the client is what the origin has seen."""
    start = b"TRACE http://a.test/ HTTP/1.1\r\nHost: a.test\r\nMax-Forwards: 3\r\n"
    assert seen(b"X-Real-IP: 10.0.0.1\r\n", ("privacy.profile", "strict"), start=start) == b"Max-Forwards: 2\r\n\r\n"


def test_trailers_of_an_answer() -> None:
    wire = Wire(("privacy.remove_response_fields", "X-Node"))
    client = wire.client()
    client.receive(GET + b"\r\n")
    wire.turn()
    wire.origins[0].receive(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Node: 7\r\nX: y\r\n\r\n")
    wire.turn()
    assert client.take().endswith(b"\r\n\r\n0\r\nX: y\r\n\r\n")


def test_framing_stays() -> None:
    """Whatever the lists say, the message is framed and goes where it went."""
    start = b"POST http://a.test/x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\nExpect: 100-continue\r\n"
    kept = b"Content-Length: 2\r\nExpect: 100-continue\r\nVia: 1.1 proxy.test\r\n\r\n"
    assert seen(b"X: y\r\nConnection: close\r\n", ("privacy.allow_request_fields", "x-none"), start=start) == kept
    assert seen(b"X: y\r\n", ("privacy.remove_request_fields", "*"), start=start) == kept


def test_the_head_is_as_it_was_where_nothing_applies() -> None:
    head = parse_request_head(GET + b"Accept: */*\r\n\r\n", HeadLimits())
    target = parse_target(b"GET", head.target)
    settings = PrivacySettings(profile="standard")
    privacy = Privacy.of(choices(settings), settings)
    assert privacy is not None
    outgoing = privacy.request(head, target, "192.0.2.1")
    assert outgoing.head is head
    assert outgoing.target is target
    lines = forwarded_request_lines(outgoing.head, b"a.test", b"")
    assert lines == [(b"Host", b"a.test"), (b"Accept", b"*/*")]


def test_reload_changes_what_comes_next() -> None:
    wire = Wire(("privacy.profile", "standard"))
    wire.reload()
    client = wire.client()
    client.receive(GET + b"X-Real-IP: 10.0.0.1\r\n\r\n")
    wire.turn()
    assert b"X-Real-IP: 10.0.0.1" in wire.origins[0].take()


# ---------------------------------------------------------------- the parts

FROM_ANOTHER_SITE = b"Referer: http://other.example/page?x=1\r\n"


def test_third_party_cookies() -> None:
    strip = ("privacy.third_party_cookies", "strip")
    assert b"Cookie" not in seen(FROM_ANOTHER_SITE + b"Cookie: a=b\r\n", strip)
    assert b"Cookie: a=b" in seen(b"Referer: http://www.a.test/\r\nCookie: a=b\r\n", strip)
    assert b"Cookie: a=b" in seen(b"Cookie: a=b\r\n", strip)


@pytest.mark.parametrize(
    ("method", "lines", "gone"),
    [
        (b"GET", FROM_ANOTHER_SITE, {b"Set-Cookie", b"ETag", b"Last-Modified"}),
        (b"DELETE", FROM_ANOTHER_SITE, {b"Set-Cookie"}),
        (b"GET", b"", set()),
    ],
)
def test_answers_of_third_parties(method: bytes, lines: bytes, gone: set[bytes]) -> None:
    wire = Wire(("privacy.profile", "strict"))
    client = wire.client()
    client.receive(method + b" http://a.test/ HTTP/1.1\r\nHost: a.test\r\n" + lines + b"\r\n")
    wire.turn()
    wire.origins[0].receive(ANSWER + b'Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nETag: "x"\r\nLast-Modified: y\r\n\r\n')
    wire.turn()
    names = {line.partition(b":")[0] for line in client.take().split(b"\r\n")}
    assert {b"Set-Cookie", b"ETag", b"Last-Modified"} - names == gone


def test_conditions_on_a_third_party() -> None:
    """Only those by which it would know a client again: what guards a change stays."""
    strict = ("privacy.profile", "strict")
    conditions = b'If-None-Match: "x"\r\nIf-Modified-Since: y\r\nIf-Match: "z"\r\n'
    assert seen(FROM_ANOTHER_SITE + conditions, strict) == b'If-Match: "z"\r\n\r\n'
    assert seen(conditions, strict) == conditions + b"\r\n"
    put = b"PUT http://a.test/ HTTP/1.1\r\nHost: a.test\r\n"
    assert seen(FROM_ANOTHER_SITE + conditions, strict, start=put) == conditions + b"\r\n"


def test_referer() -> None:
    assert b"Referer: http://other.example/\r\n" in seen(FROM_ANOTHER_SITE, ("privacy.referer", "origin"))
    assert b"Referer" not in seen(FROM_ANOTHER_SITE, ("privacy.referer", "same-origin"))


def test_tracking_parameters() -> None:
    strip = ("privacy.tracking_parameters", "strip")
    for method, target in ((b"GET", b"/p?a=1"), (b"HEAD", b"/p?a=1"), (b"POST", b"/p?a=1&utm_source=x")):
        wire = Wire(strip)
        wire.client().receive(method + b" http://a.test/p?a=1&utm_source=x HTTP/1.1\r\nHost: a.test\r\n\r\n")
        wire.turn()
        assert wire.origins[0].take().partition(b" HTTP/1.1\r\n")[0] == method + b" " + target
        # The record is of what the client has asked for.
        wire.origins[0].receive(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert wire.records.all[0].url == b"http://a.test/p?a=1&utm_source=x"


def test_values() -> None:
    came = b"User-Agent: curl/8.5.0\r\nAccept-Language: de-CH, de;q=0.9\r\nAccept-Language: en;q=0.8\r\n"
    assert seen(came, ("privacy.profile", "standard")).startswith(
        b"User-Agent: curl/8\r\nAccept-Language: de-CH\r\nVia"
    )
    assert seen(came, ("privacy.profile", "strict")) == b"User-Agent: curl/8\r\nAccept-Language: de\r\n\r\n"


def test_a_replaced_value_is_not_reduced() -> None:
    words = [("privacy.profile", "strict"), ("privacy.replace_request_fields", "User-Agent: curl/8.5.0-mine")]
    assert seen(b"User-Agent: other\r\n", *words) == b"User-Agent: curl/8.5.0-mine\r\n\r\n"


def test_client_hints() -> None:
    came = b'Sec-CH-UA: "x"\r\nSec-CH-UA-Model: "y"\r\nSec-CH-New: 1\r\nDevice-Memory: 8\r\n'
    low = seen(came, ("privacy.client_hints", "low"))
    assert low.startswith(b'Sec-CH-UA: "x"\r\nSec-CH-New: 1\r\nVia')
    assert seen(came, ("privacy.client_hints", "none")).startswith(b"Via")
    assert b"Accept-CH" not in answered(b"Accept-CH: DPR\r\nCritical-CH: DPR\r\n", ("privacy.client_hints", "low"))


def test_an_excepted_host() -> None:
    came = b"X-Real-IP: 10.0.0.1\r\nUser-Agent: curl/8.5.0\r\n"
    standard = ("privacy.profile", "standard")
    assert seen(came, standard, ("privacy.except_hosts", ".test")).startswith(came)
    assert seen(came, standard, ("privacy.except_hosts", "a.test user_agent")).startswith(
        b"User-Agent: curl/8.5.0\r\nVia"
    )

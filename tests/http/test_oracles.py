"""The readers beside h11 and httptools: where all accept a message they agree on it; where not, a reason says why.

The tables below are the whole of the disagreement. A message that is refused by one and not by the other, for a reason
that is not here, fails the test; and so does a reason here that is not needed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import messages
from tests.fuzz.oracles import (
    Outcome,
    h11_request,
    h11_response,
    httptools_request,
    httptools_response,
    ours_request,
    ours_response,
)
from twistedproxy.errors import ProxyError
from twistedproxy.http.target import parse_target

# Why we refuse what others take, by our own words.
WE_REFUSE = {
    "a line does not end with CR LF": "RFC 9112 section 2.2 lets a recipient take a bare LF; smugglers use it",
    "there is a control character": "RFC 9110 section 5.5: what is not allowed in a field is dangerous",
    "a field line begins with white space": "RFC 9112 section 5.2: a proxy may refuse folded lines",
    "a field line has no colon": "RFC 9112 section 5; in trailers that others do not look at",
    "a field's name is not a token": "RFC 9110 section 5.1; in trailers that others do not look at",
    "there is white space between": "RFC 9112 section 5.1; in trailers that others do not look at",
    "the request line does not begin": "more than one kind of empty line before a request line is forgiven elsewhere",
    "the request line does not end": "RFC 9112 section 3: others take HTTP/0.9, or find out later",
    "the request line is not a method": "RFC 9112 section 3: others take fragments, obs-text or more spaces",
    "the status line is not valid": "RFC 9112 section 4: others take statuses that are none, or find out later",
    "the method has more than": "RFC 9112 section 3: a limit of ours",
    "the version is": "RFC 9110 section 15.6.6: they leave it to the application",
    "the answer's version is": "RFC 9110 section 2.5: they leave it to the application",
    "there is no Host field": "RFC 9112 section 3.2: they leave it to the application, or know no higher minor version",
    "there is more than one Host field": "RFC 9112 section 3.2: they leave it to the application",
    "the Host field is not": "RFC 9112 section 3.2: they leave it to the application",
    "the only expectation": "RFC 9110 section 10.1.1: they leave it to the application",
    "an HTTP/1.0 request has a Transfer-Encoding": "RFC 9112 section 6.1: its framing is faulty",
    "an HTTP/1.0 answer has a Transfer-Encoding": "RFC 9112 section 6.1: its framing is faulty",
    "the request has both": "RFC 9112 section 6.1: a server may reject it",
    "the answer has both": "RFC 9112 section 6.3: it ought to be handled as an error",
    "there is more than one Content-Length": "RFC 9110 section 8.6: a recipient may refuse also equal ones",
    "the Content-Length is not": "RFC 9110 section 8.6: others take lists, or more than 19 digits",
    "the answer's Content-Length is not": "RFC 9110 section 8.6: others take more than 19 digits",
    "the only transfer coding": "RFC 9112 section 6.1: others leave all but the last coding to the application",
    "chunked is not the last": "RFC 9112 section 6.3: others read such a request as one without content",
    "the answer has a transfer coding other": "RFC 9112 section 6.1: we never asked for another",
    "a chunk's first line is not valid": "RFC 9112 section 7.1: others take white space at its end, or any extension",
    "a chunk's first line is longer": "RFC 9112 section 7.1.1: a limit of ours",
    "a chunk is longer": "others wait for the octet after the carriage return, or take a CONNECT for a tunnel",
}

Predicate = Callable[[bytes], bool]


def has(pattern: bytes) -> Predicate:
    return lambda data: re.search(pattern, data, re.IGNORECASE) is not None


def target_is_refused(data: bytes) -> bool:
    """Whether the request goes no further than the reader, which leaves the target to `parse_target`."""
    method, target = ours_request(data).start
    assert isinstance(method, bytes)
    assert isinstance(target, bytes)
    try:
        parse_target(method, target)
    except ProxyError:
        return True
    return b'"' in target or b"<" in target


SPACED_EXTENSION = has(rb"\r\n[0-9a-f]+[ \t]+;|;[ \t]|[ \t]=[^\r]*\r\n|=[ \t]")
SPACED_COLON = has(rb"\n[^\r:]*[ \t]:")
BODILESS = has(rb"^HTTP/\d\.\d (1|204|304)")
EMPTY_LENGTH = has(rb"Content-Length[ \t]*:([ \t]*,|[^\r]*,[ \t]*[,\r]|[ \t]*\r)")
EQUAL_LENGTHS = has(
    rb"Content-Length[ \t]*:[ \t]*(\d+)([ \t]*,|[ \t]*\r[\s\S]*?\nContent-Length[ \t]*:)[ \t]*\1[ \t]*[\r,]"
)
NO_CONTENT = "the framing fields of a response without content mean nothing to it"

# Why others refuse what we take: what they say, what the message has then, and why we take it.
H11_REFUSES_REQUESTS: dict[str, tuple[Predicate, str]] = {
    "no request line received": (has(rb"\A\r\n"), "RFC 9112 section 2.2: an empty line before it is skipped"),
    "Only Transfer-Encoding: chunked": (has(rb"ing:[ \t]*,|chunked[ \t]*,"), "RFC 9110 section 5.6.1: empty members"),
    "illegal chunk header": (SPACED_EXTENSION, "RFC 9112 section 7.1.1: bad white space is parsed"),
}
H11_REFUSES_RESPONSES: dict[str, tuple[Predicate, str]] = {
    "Only Transfer-Encoding: chunked": (
        lambda data: BODILESS(data) or has(rb"ing:[ \t]*,|chunked[ \t]*,")(data),
        NO_CONTENT + ", and RFC 9110 section 5.6.1: empty members",
    ),
    "multiple Transfer-Encoding": (BODILESS, NO_CONTENT),
    "bad Content-Length": (
        lambda data: BODILESS(data) or EMPTY_LENGTH(data),
        NO_CONTENT + ", and RFC 9112 section 6.3: empty members",
    ),
    "conflicting Content-Length": (
        lambda data: BODILESS(data) or EMPTY_LENGTH(data),
        NO_CONTENT + ", and RFC 9112 section 6.3: a list of one number is that number, empty members aside",
    ),
    "illegal header line": (SPACED_COLON, "RFC 9112 section 5.1: white space before the colon is taken away"),
    "illegal chunk header": (SPACED_EXTENSION, "RFC 9112 section 7.1.1: bad white space is parsed"),
    "Received server _SWITCH_UPGRADE": (has(rb" 101"), "h11 is told of no offer; the exchange checks it"),
}
HTTPTOOLS_REFUSES_REQUESTS: dict[str, tuple[Predicate, str]] = {
    "Invalid method": (lambda data: True, "RFC 9110 section 9.1: we forward extension methods"),
    "Expected space after method": (lambda data: True, "RFC 9110 section 9.1: we forward extension methods"),
    "Unexpected char in url": (target_is_refused, "the target is read later, or leaves quoting to the server"),
    "Unexpected start char in url": (target_is_refused, "the target is read later"),
    "Double @ in url": (target_is_refused, "the target is read later"),
    "Invalid characters in url": (target_is_refused, "the target is read later"),
    "Invalid HTTP version": (has(rb"HTTP/1\.[2-9]"), "RFC 9110 section 6.2: a higher minor version is as 1.1"),
    "Invalid `Transfer-Encoding`": (has(rb"ing:[ \t]*,|chunked[ \t]*,"), "RFC 9110 section 5.6.1: empty members"),
    "Request has invalid `Transfer-Encoding`": (
        has(rb"ing:[ \t]*\t|ing:[ \t,]*\r\n|chunked[ \t,]*[\t,]"),
        "RFC 9110 section 5.6.3: a tab is white space; section 5.6.1: empty members",
    ),
    "Invalid character in chunk": (SPACED_EXTENSION, "RFC 9112 section 7.1.1: bad white space is parsed"),
}
HTTPTOOLS_REFUSES_RESPONSES: dict[str, tuple[Predicate, str]] = {
    "Invalid HTTP version": (has(rb"HTTP/1\.[2-9]"), "RFC 9110 section 6.2: a higher minor version is as 1.1"),
    "Invalid header token": (SPACED_COLON, "RFC 9112 section 5.1: white space before the colon is taken away"),
    "Invalid header field char": (SPACED_COLON, "RFC 9112 section 5.1: white space before the colon is taken away"),
    "Pause on CONNECT/Upgrade": (has(rb" 101"), "it stops where the protocol changes, and so does the exchange"),
    "Invalid character in Content-Length": (
        lambda data: BODILESS(data) or EMPTY_LENGTH(data) or EQUAL_LENGTHS(data),
        NO_CONTENT + ", and RFC 9112 section 6.3: a list of one number is that number, empty members aside",
    ),
    "Duplicate Content-Length": (
        lambda data: BODILESS(data) or EMPTY_LENGTH(data) or EQUAL_LENGTHS(data),
        NO_CONTENT + ", and RFC 9112 section 6.3: a list of one number is that number, empty members aside",
    ),
    "Content-Length can't be present": (BODILESS, NO_CONTENT),
    "Transfer-Encoding can't be present": (BODILESS, NO_CONTENT),
    "Empty Content-Length": (
        lambda data: BODILESS(data) or EMPTY_LENGTH(data),
        NO_CONTENT + ", and RFC 9112 section 6.3: empty members",
    ),
    "Content-Length overflow": (BODILESS, NO_CONTENT),
    "Empty Transfer-Encoding": (
        lambda data: BODILESS(data) or has(rb"ing:[ \t,]*\r\n")(data),
        NO_CONTENT + ", and RFC 9110 section 5.6.1: empty members",
    ),
    "Invalid character in chunk": (SPACED_EXTENSION, "RFC 9112 section 7.1.1: bad white space is parsed"),
}

CODING_WITH_SPACE = has(rb"Transfer-Encoding:[^\r]*[ \t,]\r\n")
NOT_CHUNKED = "RFC 9110 section 5.6.1: httptools takes chunked with a tab or a comma behind it for another coding"
IN_TRAILERS = has(rb"\r\n0+([ \t]*;[^\r]*)?\r\n([^\r]+\r\n)*(Content-Length|Transfer-Encoding)")
FRAMING_TRAILER = "RFC 9110 section 6.5.1: httptools obeys trailers that frame; we neither do nor forward them"
A_TUNNEL = "httptools takes what follows a CONNECT or an offer to upgrade for another protocol"
UNTIL_CLOSE = "httptools cannot be told that the connection closed"
EARLY = "it judges single octets of a line, and we judge lines"


@dataclass(frozen=True)
class Oracle:
    """Another parser, and what it refuses."""

    name: str
    is_request: bool
    read: Callable[[bytes, bytes], Outcome]
    refuses: dict[str, tuple[Predicate, str]]

    def __str__(self) -> str:
        return f"{self.name}-{'requests' if self.is_request else 'responses'}"

    @property
    def methods(self) -> tuple[bytes, ...]:
        """Methods of the request that a response may answer. httptools does not know what it answers."""
        return (b"GET", b"HEAD") if self.name == "h11" else (b"GET",)

    def disagreement(self, data: bytes, method: bytes) -> str:
        """The reason of a disagreement on the first message; nothing when there is none."""
        ours = ours_request(data) if self.is_request else ours_response(data, method)
        theirs = self.read(data, method)
        if ours.verdict == "refused":
            return "" if theirs.verdict == "refused" else found(WE_REFUSE, ours.reason)
        if theirs.verdict == "refused":
            if ours.verdict == "waiting" and (ours.fields is None or (b"transfer-encoding", b"chunked") in ours.fields):
                return EARLY
            if self.name == "httptools" and IN_TRAILERS(data) and re.search("-(Length|Encoding)", theirs.reason):
                return FRAMING_TRAILER
            reason = found(self.refuses, theirs.reason)
            cause, why = self.refuses[reason]
            without_content = method == b"HEAD" and why.startswith(NO_CONTENT)
            assert without_content or cause(data), f"{self.name} refuses without a cause: {theirs.reason}"
            return reason
        if self.name == "httptools":
            if CODING_WITH_SPACE(data) and ours != theirs:
                return NOT_CHUNKED
            if ours.start and theirs.verdict == "accepted" and self._is_tunnel(ours):
                assert ours.start == theirs.start
                assert ours.fields == theirs.fields
                return A_TUNNEL
            if theirs.verdict == "waiting" and ours.verdict == "accepted" and not self.is_request:
                theirs = replace(theirs, verdict="accepted", trailers=[], size=len(data))
                assert ours == theirs
                return UNTIL_CLOSE
        assert ours == theirs
        return ""

    @staticmethod
    def _is_tunnel(ours: Outcome) -> bool:
        names = [name for name, _ in ours.fields or ()]
        return ours.start[0] == b"CONNECT" or (b"upgrade" in names and b"connection" in names)


def found(table: Mapping[str, object], reason: str) -> str:
    """The entry of the table that a reason begins with."""
    entries = [entry for entry in table if reason.startswith(entry)]
    assert entries, f"not explained: {reason}"
    return entries[0]


ORACLES = (
    Oracle("h11", True, lambda data, method: h11_request(data), H11_REFUSES_REQUESTS),
    Oracle("h11", False, h11_response, H11_REFUSES_RESPONSES),
    Oracle("httptools", True, lambda data, method: httptools_request(data), HTTPTOOLS_REFUSES_REQUESTS),
    Oracle("httptools", False, httptools_response, HTTPTOOLS_REFUSES_RESPONSES),
)


def corpus(is_request: bool) -> Iterator[bytes]:
    """Every odd value of the tables, one at a time in an ordinary message; and messages at random, always the same."""
    starts: list[bytes]
    if is_request:
        lines = [(method, b"http://h/", b"HTTP/1.1") for method in (*messages.METHODS, *messages.ODD_METHODS)]
        lines += [(b"GET", target, b"HTTP/1.1") for target in (*messages.TARGETS, *messages.ODD_TARGETS)]
        lines += [(b"DELETED", b"http://h/", b"HTTP/1.1"), (b"OPTIONS", b"h", b"HTTP/1.1")]
        lines += [(b"GET", b"http://user@@h/", b"HTTP/1.1")]
        lines += [(b"GET", b"http://h/", version) for version in messages.ODD_VERSIONS]
        starts = [b"%b %b %b\r\n" % line for line in lines]
        ordinary = b"POST http://h/ HTTP/1.1\r\nHost: h\r\n"
        special = b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n"
        one = messages.request
    else:
        pairs = [(b"HTTP/1.1", status) for status in (*messages.STATUSES, *messages.ODD_STATUSES)]
        pairs += [(version, b"200 OK") for version in messages.ODD_VERSIONS]
        starts = [b"%b %b\r\n" % pair for pair in pairs]
        ordinary = b"HTTP/1.1 200 OK\r\n"
        special = b"HTTP/1.1 204 No Content\r\n"
        one = messages.response
    yield from (start + b"Host: h\r\n\r\n" for start in starts)
    for lines_before in (b"\r\n", b"\r\n\r\n", b"\n", b" \r\n"):
        yield lines_before + ordinary + b"\r\n"
    for field in (*messages.FIELDS, *messages.HOP_FIELDS):
        yield ordinary + b"%b: %b\r\n\r\n" % field
    for lines_odd in messages.ODD_FIELDS:
        yield ordinary + lines_odd + b"\r\n"
    for framing in (*messages.FRAMINGS, *messages.ODD_FRAMINGS):
        for content in (b"hello", b"5\r\nhello\r\n0\r\n\r\n"):
            yield ordinary + framing + b"\r\n" + content
        yield special + framing + b"\r\n"
    for start in (ordinary, special):
        chunked = start + b"Transfer-Encoding: chunked\r\n\r\n"
        for chunk in (*messages.CHUNKS, *messages.ODD_CHUNKS):
            yield chunked + chunk + b"0\r\n\r\n"
        for end in (*messages.ENDS, *messages.ODD_ENDS):
            yield chunked + b"5\r\nhello\r\n" + end
    random = Random(2)
    yield from (messages.several(random, one) for _ in range(1500))


@pytest.fixture(scope="module")
def reasons() -> dict[str, set[str]]:
    """The reasons of all the disagreements on the corpus, by oracle."""
    return {
        str(oracle): {
            oracle.disagreement(data, method) for data in corpus(oracle.is_request) for method in oracle.methods
        }
        for oracle in ORACLES
    }


@pytest.mark.parametrize("oracle", ORACLES, ids=str)
def test_corpus(oracle: Oracle, reasons: dict[str, set[str]]) -> None:
    assert set(oracle.refuses) - reasons[str(oracle)] == set()


def test_every_reason_of_ours_is_needed(reasons: dict[str, set[str]]) -> None:
    assert set(WE_REFUSE) - set().union(*reasons.values()) == set()


@settings(max_examples=200)
@given(st.sampled_from(ORACLES), st.data())
def test_any_message(oracle: Oracle, data: st.DataObject) -> None:
    received = data.draw(messages.REQUESTS if oracle.is_request else messages.RESPONSES)
    oracle.disagreement(received, data.draw(st.sampled_from(oracle.methods)))

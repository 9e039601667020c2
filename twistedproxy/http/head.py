"""From the bytes of a whole head to a valid `RequestHead` or `ResponseHead`.

What is ambiguous is refused: two lengths, two hosts, white space where none belongs, folded lines. Nothing is
repaired in silence (RFC 9112 sections 3 to 6).

Where there is more than one thing wrong, the error is the one that a reader of single octets would meet first. So it
does not depend on how much of the head was there when it was looked at.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from twistedproxy.errors import (
    ExpectationFailed,
    FramingError,
    HeadTooLarge,
    HostError,
    MethodNotImplemented,
    ProxyError,
    RequestError,
    ResponseError,
    ResponseHeadTooLarge,
    TargetTooLong,
    TransferCodingNotImplemented,
    VersionNotSupported,
)
from twistedproxy.http.grammar import (
    REQUEST_FIELD,
    REQUEST_FIELD_SPACED,
    REQUEST_LINE,
    RESPONSE_FIELD,
    RESPONSE_FIELD_SPACED,
    STATUS_LINE,
    forbidden_octet,
    is_length,
    is_token,
    list_members,
    list_tokens,
)
from twistedproxy.http.message import CHUNKED, NO_OPTIONS, UNTIL_CLOSE, Fields, RequestHead, ResponseHead
from twistedproxy.http.target import parse_authority

MAX_METHOD_LENGTH = 64
"""Octets of a method; a longer one gets 501 (RFC 9112 section 3)."""

_VERSION = b" HTTP/1.1\r\n"

_LARGEST_KEPT = 4096


class HeadLimits(NamedTuple):
    """How large a head may be. Sizes in bytes."""

    max_head_size: int = 64 * 1024
    max_fields: int = 128
    max_target_size: int = 16 * 1024

    @property
    def max_request_line(self) -> int:
        """The size of the longest request line that can be valid, its CR LF included."""
        return MAX_METHOD_LENGTH + 1 + self.max_target_size + len(_VERSION)


def parse_request_head(head: bytes, limits: HeadLimits, before: RequestHead | None = None) -> RequestHead:
    """Read a request's head, from its first octet to its empty line, both included.

    ``before`` is the one before it on the connection: what is said again means the same again. A browser that gets the
    parts of a page does so in seven requests of ten. Raises `RequestError`, or one of its children, when it cannot be
    taken.
    """
    method, target, minor, start = read_request_line(head, 0, limits)
    section = head[start:]
    if before is not None and before.section == section and before.minor == minor:
        return RequestHead(
            method,
            target,
            minor,
            before.fields,
            before.length,
            before.options,
            before.expects_continue,
            section=section,
        )
    fields = _read_fields(head, start, limits.max_fields, REQUEST_FIELD, REQUEST_FIELD_SPACED, RequestError)
    index = fields.index

    host = index.get(b"host")
    if host is None:
        if minor:
            raise HostError("there is no Host field")
    elif not isinstance(host, bytes):
        raise HostError("there is more than one Host field")
    elif host and parse_authority(host) is None:
        raise HostError("the Host field is not host or host:port")

    options = list_tokens(index[b"connection"]) if b"connection" in index else NO_OPTIONS

    length = 0
    if b"transfer-encoding" in index:
        if not minor:
            raise FramingError("an HTTP/1.0 request has a Transfer-Encoding")
        if b"content-length" in index:
            raise FramingError("the request has both a Transfer-Encoding and a Content-Length")
        _require_chunked(fields.values(b"transfer-encoding"))
        length = CHUNKED
    elif b"content-length" in index:
        value = index[b"content-length"]
        if not isinstance(value, bytes):
            raise FramingError("there is more than one Content-Length field")
        if not is_length(value):
            raise FramingError("the Content-Length is not a number of 1 to 19 digits")
        length = int(value)

    expects_continue = False
    if b"expect" in index:
        check_expectations(fields)
        # RFC 9110 section 10.1.1: from an HTTP/1.0 client it means nothing.
        expects_continue = minor > 0
    if len(section) > _LARGEST_KEPT:
        section = b""
    return RequestHead(method, target, minor, fields, length, options, expects_continue, section=section)


def check_expectations(fields: Fields) -> None:
    """Refuse every Expect field but ``100-continue``, with `ExpectationFailed` (RFC 9110 section 10.1.1)."""
    expectations = list_members(fields.values(b"expect"))
    if any(expectation.lower() != b"100-continue" for expectation in expectations) or not expectations:
        raise ExpectationFailed("the only expectation that this proxy knows is 100-continue")


def read_request_line(head: bytes | bytearray, start: int, limits: HeadLimits) -> tuple[bytes, bytes, int, int]:
    """Read the request line at ``start``: its method, target, minor version, and where the next line begins."""
    match = REQUEST_LINE.match(head, start)
    if match is None:
        raise _request_line_error(head, start, limits)
    method, target, major, minor = match.groups()
    if len(method) > MAX_METHOD_LENGTH:
        raise _method_too_long()
    if len(target) > limits.max_target_size:
        raise _target_too_long(limits)
    if major != b"1":
        raise VersionNotSupported(f"the version is {major.decode()}.{minor.decode()}")
    return method, target, 0 if minor == b"0" else 1, match.end()


def _request_line_error(head: bytes | bytearray, start: int, limits: HeadLimits) -> RequestError:
    """Say what is wrong with the request line at ``start``, or with the beginning of one that is too long."""
    if not is_token(head[start : start + 1]):
        return RequestError("the request line does not begin with a method")
    too_long = start + limits.max_request_line
    end = head.find(b"\r\n", start, too_long)
    # As far as the first octet of its end, for what stands before that is judged by it.
    forbidden = forbidden_octet(head, start, too_long if end < 0 else end + 1)
    if forbidden:
        return RequestError(forbidden)
    if end < 0:
        end = too_long
    line = bytes(head[start:end])
    method, _, rest = line.partition(b" ")
    if not is_token(method):
        return RequestError("the request line does not begin with a method")
    if len(method) > MAX_METHOD_LENGTH:
        return _method_too_long()
    if len(rest.split(b" ", 1)[0]) > limits.max_target_size:
        return _target_too_long(limits)
    if re.search(rb" HTTP/[0-9]+\.[0-9]+\Z", rest) is None:
        return RequestError("the request line does not end with an HTTP version")
    return RequestError("the request line is not a method, a target and a version with single spaces between them")


def _method_too_long() -> MethodNotImplemented:
    return MethodNotImplemented(f"the method has more than {MAX_METHOD_LENGTH} characters")


def _target_too_long(limits: HeadLimits) -> TargetTooLong:
    return TargetTooLong(f"the target has more than {limits.max_target_size} characters")


def _require_chunked(codings: tuple[bytes, ...]) -> None:
    """Refuse every Transfer-Encoding of a request but one single ``chunked``.

    RFC 9112 section 6.3, rule 4, goes before section 6.1: without ``chunked`` at its end the content has no known
    length, whether or not we know the coding that is there instead.
    """
    members = [member.lower() for member in list_members(codings)]
    if members == [b"chunked"]:
        return
    others = members[:-1]
    if (
        members[-1:] == [b"chunked"]
        and b"chunked" not in others
        and all(is_token(other.split(b";", 1)[0].rstrip(b" \t")) for other in others)
    ):
        raise TransferCodingNotImplemented("the only transfer coding that this proxy knows is chunked")
    raise FramingError("chunked is not the last transfer coding, and only that")


def parse_response_head(head: bytes, limits: HeadLimits, request_method: bytes) -> ResponseHead:
    """Read a response's head, from its first octet to its empty line, both included.

    ``request_method`` is the method of the request that it answers: it decides the framing (RFC 9112 section 6.3).
    Raises `ResponseError` when it cannot be taken.
    """
    status, phrase, minor, start = read_status_line(head, 0)
    fields = _read_fields(head, start, limits.max_fields, RESPONSE_FIELD, RESPONSE_FIELD_SPACED, ResponseError)
    index = fields.index

    options = list_tokens(index[b"connection"]) if b"connection" in index else NO_OPTIONS

    if status < 200 or status in (204, 304) or request_method == b"HEAD":
        length = 0
    elif request_method == b"CONNECT" and status < 300:
        # What follows is the tunnel's, whatever the fields say (RFC 9110 section 9.3.6).
        length = 0
    elif b"transfer-encoding" in index:
        if not minor:
            raise ResponseError("an HTTP/1.0 answer has a Transfer-Encoding")
        if b"content-length" in index:
            raise ResponseError("the answer has both a Transfer-Encoding and a Content-Length")
        codings = list_members(index[b"transfer-encoding"])
        if len(codings) != 1 or codings[0].lower() != b"chunked":
            # We never send a TE that allows another.
            raise ResponseError("the answer has a transfer coding other than chunked")
        length = CHUNKED
    elif b"content-length" in index:
        value = index[b"content-length"]
        if type(value) is not bytes or not is_length(value):
            # RFC 9110 section 8.6: the same number several times may count as one.
            members = list_members(value)
            if not members or len(set(members)) > 1 or not is_length(members[0]):
                raise ResponseError("the answer's Content-Length is not one number of 1 to 19 digits")
            value = members[0]
        length = int(value)
    else:
        length = UNTIL_CLOSE
    return ResponseHead(status, phrase, minor, fields, length, options)


def read_status_line(head: bytes | bytearray, start: int) -> tuple[int, bytes, int, int]:
    """Read the status line at ``start``: its code, phrase, minor version, and where the next line begins."""
    match = STATUS_LINE.match(head, start)
    if match is None:
        forbidden = ""
        if head.startswith(b"HTTP/", start):
            forbidden = forbidden_octet(head, start, head.find(b"\r\n", start) + 1)
        raise ResponseError(forbidden or "the status line is not valid")
    major, minor, code, phrase = match.groups()
    if major != b"1":
        raise ResponseError(f"the answer's version is {major.decode()}.{minor.decode()}")
    return int(code), phrase or b"", 0 if minor == b"0" else 1, match.end()


def parse_trailers(block: bytes, limits: HeadLimits, request: bool) -> Fields:
    """Read a trailer section, its empty line included (RFC 9112 section 7.1.2)."""
    if request:
        return _read_fields(block, 0, limits.max_fields, REQUEST_FIELD, REQUEST_FIELD_SPACED, RequestError)
    return _read_fields(block, 0, limits.max_fields, RESPONSE_FIELD, RESPONSE_FIELD_SPACED, ResponseError)


def _read_fields(
    head: bytes,
    start: int,
    max_fields: int,
    line: re.Pattern[bytes],
    line_spaced: re.Pattern[bytes],
    error: type[ProxyError],
) -> Fields:
    """The field lines from ``start`` to the empty line that ends ``head``."""
    end = len(head) - 2
    # Every match is one whole line and every line ends with a line feed, so the counts are equal when, and only when,
    # there is nothing but field lines.
    count = head.count(b"\n", start, end)
    lines: list[tuple[bytes, bytes]] = line.findall(head, start, end)
    if len(lines) != count:
        lines = [(name, value.rstrip(b" \t")) for name, value in line_spaced.findall(head, start, end)]
        if len(lines) != count:
            raise error(_fields_error(head, start, end, line_spaced))
    if count > max_fields:
        too_large = HeadTooLarge if error is RequestError else ResponseHeadTooLarge
        raise too_large(f"there are {count} fields, more than {max_fields}")
    return Fields(lines)


def _fields_error(head: bytes, start: int, end: int, line_spaced: re.Pattern[bytes]) -> str:
    """Say what is wrong with a section of field lines that has others among them."""
    forbidden = forbidden_octet(head, start, end)
    if forbidden:
        return forbidden
    wrong = next(line for line in head[start:end].split(b"\r\n") if not line_spaced.fullmatch(line + b"\r\n"))
    name, colon, _ = wrong.partition(b":")
    if wrong.startswith((b" ", b"\t")):
        return "a field line begins with white space (a folded line)"
    if not colon:
        return "a field line has no colon"
    if name != name.rstrip(b" \t"):
        return "there is white space between a field's name and its colon"
    return "a field's name is not a token"

"""From the bytes of a whole head to a valid `RequestHead` or `ResponseHead`.

What is ambiguous is refused: two lengths, two hosts, white space where none belongs, folded lines. Nothing is
repaired in silence (RFC 9112 sections 3 to 6).
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
    REQUEST_FIELDS,
    REQUEST_LINE,
    RESPONSE_FIELD,
    RESPONSE_FIELDS,
    STATUS_LINE,
    is_length,
    is_token,
    list_members,
    list_tokens,
)
from twistedproxy.http.message import CHUNKED, NO_OPTIONS, UNTIL_CLOSE, Fields, RequestHead, ResponseHead
from twistedproxy.http.target import parse_authority

MAX_METHOD_LENGTH = 64
"""Octets of a method; a longer one gets 501 (RFC 9112 section 3)."""


class HeadLimits(NamedTuple):
    """How large a head may be. Sizes in bytes."""

    max_head_size: int = 64 * 1024
    max_fields: int = 128
    max_target_size: int = 16 * 1024


def parse_request_head(head: bytes, limits: HeadLimits) -> RequestHead:
    """Read a request's head, from its first octet to its empty line, both included.

    Raises `RequestError`, or one of its children, when it cannot be taken.
    """
    line_end = head.find(b"\r\n")
    match = REQUEST_LINE.fullmatch(head, 0, line_end)
    if match is None:
        raise diagnose_request_line(head[:line_end], limits)
    method, target, major, minor_digit = match.groups()
    if len(method) > MAX_METHOD_LENGTH:
        raise MethodNotImplemented(f"the method has {len(method)} characters")
    if len(target) > limits.max_target_size:
        raise TargetTooLong(f"the target has {len(target)} characters, more than {limits.max_target_size}")
    if major != b"1":
        raise VersionNotSupported(f"the version is {major.decode()}.{minor_digit.decode()}")
    minor = 0 if minor_digit == b"0" else 1
    fields = _fields(head, line_end + 2, REQUEST_FIELDS, REQUEST_FIELD, limits.max_fields, RequestError)
    values = fields.values

    host = values(b"host")
    if len(host) != 1:
        if host:
            raise HostError("there is more than one Host field")
        if minor:
            raise HostError("there is no Host field")
    elif host[0] and parse_authority(host[0]) is None:
        raise HostError("the Host field is not host or host:port")

    connection = values(b"connection")
    options = list_tokens(connection) if connection else NO_OPTIONS

    length = 0
    codings = values(b"transfer-encoding")
    lengths = values(b"content-length")
    if codings:
        if not minor:
            raise FramingError("an HTTP/1.0 request has a Transfer-Encoding")
        if lengths:
            raise FramingError("the request has both a Transfer-Encoding and a Content-Length")
        _require_chunked(codings)
        length = CHUNKED
    elif lengths:
        if len(lengths) > 1:
            raise FramingError("there is more than one Content-Length field")
        if not is_length(lengths[0]):
            raise FramingError("the Content-Length is not a number of 1 to 19 digits")
        length = int(lengths[0])

    expects_continue = False
    if b"expect" in fields:
        expectations = list_members(values(b"expect"))
        if any(expectation.lower() != b"100-continue" for expectation in expectations) or not expectations:
            raise ExpectationFailed("the only expectation that this proxy knows is 100-continue")
        expects_continue = minor > 0
    return RequestHead(method, target, minor, fields, length, options, expects_continue)


def _require_chunked(codings: tuple[bytes, ...]) -> None:
    """Refuse every Transfer-Encoding of a request but one single ``chunked``."""
    members = [member.lower() for member in list_members(codings)]
    if members == [b"chunked"]:
        return
    if members.count(b"chunked") == 1 and members[-1] == b"chunked":
        raise TransferCodingNotImplemented("the only transfer coding that this proxy knows is chunked")
    if len(members) == 1 and is_token(members[0]) and members[0] != b"identity":
        raise TransferCodingNotImplemented("the only transfer coding that this proxy knows is chunked")
    raise FramingError("chunked is not the last transfer coding, and only that")


def parse_response_head(head: bytes, limits: HeadLimits, request_method: bytes) -> ResponseHead:
    """Read a response's head, from its first octet to its empty line, both included.

    ``request_method`` is the method of the request that it answers: it decides the framing (RFC 9112 section 6.3).
    Raises `ResponseError` when it cannot be taken.
    """
    line_end = head.find(b"\r\n")
    match = STATUS_LINE.fullmatch(head, 0, line_end)
    if match is None:
        raise ResponseError("the status line is not valid")
    major, minor_digit, code, phrase = match.groups()
    if major != b"1":
        raise ResponseError(f"the answer's version is {major.decode()}.{minor_digit.decode()}")
    minor = 0 if minor_digit == b"0" else 1
    status = int(code)
    fields = _fields(head, line_end + 2, RESPONSE_FIELDS, RESPONSE_FIELD, limits.max_fields, ResponseError)
    values = fields.values

    connection = values(b"connection")
    options = list_tokens(connection) if connection else NO_OPTIONS

    codings = values(b"transfer-encoding")
    lengths = values(b"content-length")
    if status < 200 or status in (204, 304) or request_method == b"HEAD":
        length = 0
    elif codings:
        if not minor:
            raise ResponseError("an HTTP/1.0 answer has a Transfer-Encoding")
        if lengths:
            raise ResponseError("the answer has both a Transfer-Encoding and a Content-Length")
        if [member.lower() for member in list_members(codings)] != [b"chunked"]:
            # We never send a TE that allows another.
            raise ResponseError("the answer has a transfer coding other than chunked")
        length = CHUNKED
    elif lengths:
        members = list_members(lengths)
        if not members or len(set(members)) > 1 or not is_length(members[0]):
            raise ResponseError("the answer's Content-Length is not one number of 1 to 19 digits")
        length = int(members[0])
    else:
        length = UNTIL_CLOSE
    return ResponseHead(status, phrase or b"", minor, fields, length, options)


def parse_trailers(block: bytes, limits: HeadLimits, request: bool) -> Fields:
    """Read a trailer section, its empty line included (RFC 9112 section 7.1.2)."""
    if request:
        return _fields(block, 0, REQUEST_FIELDS, REQUEST_FIELD, limits.max_fields, RequestError)
    return _fields(block, 0, RESPONSE_FIELDS, RESPONSE_FIELD, limits.max_fields, ResponseError)


def _fields(
    head: bytes,
    start: int,
    section: re.Pattern[bytes],
    line: re.Pattern[bytes],
    max_fields: int,
    error: type[ProxyError],
) -> Fields:
    end = len(head) - 2
    if section.fullmatch(head, start, end) is None:
        raise error(_diagnose_fields(head[start:end]))
    lines: list[tuple[bytes, bytes]] = line.findall(head, start, end)
    if len(lines) > max_fields:
        too_large = HeadTooLarge if error is RequestError else ResponseHeadTooLarge
        raise too_large(f"there are {len(lines)} fields, more than {max_fields}")
    if b" \r\n" in head or b"\t\r\n" in head:
        lines = [(name, value.rstrip(b" \t")) for name, value in lines]
    return Fields(lines)


def diagnose_request_line(line: bytes, limits: HeadLimits) -> RequestError:
    """Say what is wrong with a request line, whole or cut short after its limit."""
    method, _, rest = line.partition(b" ")
    if not is_token(method):
        return RequestError("the request line does not begin with a method")
    if len(method) > MAX_METHOD_LENGTH:
        return MethodNotImplemented(f"the method has more than {MAX_METHOD_LENGTH} characters")
    target = rest.split(b" ", 1)[0]
    if len(target) > limits.max_target_size:
        return TargetTooLong(f"the target has more than {limits.max_target_size} characters")
    if re.search(rb" HTTP/[0-9]+\.[0-9]+\Z", rest) is None:
        return RequestError("the request line does not end with an HTTP version")
    return RequestError("the request line is not a method, a target and a version with single spaces between them")


def _diagnose_fields(block: bytes) -> str:
    """Say what is wrong with a section of field lines that did not match."""
    for line in block.split(b"\r\n"):
        if line.startswith((b" ", b"\t")):
            return "a field line begins with white space (a folded line)"
        name, colon, value = line.partition(b":")
        if b"\n" in line or b"\r" in line:
            return "a line does not end with CR LF"
        if not colon:
            if line:
                return "a field line has no colon"
            continue
        if name != name.rstrip(b" \t"):
            return "there is white space between a field's name and its colon"
        if not is_token(name):
            return "a field's name is not a token"
        if re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value):
            return "a field's value has a control character"
    return "the fields are not valid"

"""Heads of HTTP/2 from and to field blocks (RFC 9113 sections 8.2 and 8.3).

Everything is checked here, before a message meets HTTP/1.1: a name or value that would mean something else there, or
end a line, makes the message malformed. An extended CONNECT (RFC 8441) is the same as an upgrade in HTTP/1.1, and
becomes one, so that the two versions meet in that too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Final

from hpack import NeverIndexedHeaderTuple

from twistedproxy.errors import (
    FramingError,
    HeadTooLarge,
    HostError,
    MethodNotImplemented,
    ProxyError,
    RequestError,
    ResponseError,
    ResponseHeadTooLarge,
    TargetError,
    TargetTooLong,
)
from twistedproxy.http.forwarding import forwarded_request_lines, forwarded_response_lines
from twistedproxy.http.grammar import FIELD_CHAR, is_length, is_token, list_members
from twistedproxy.http.head import MAX_METHOD_LENGTH, HeadLimits, check_expectations
from twistedproxy.http.message import CHUNKED, HTTP2, NO_OPTIONS, FieldLine, Fields, RequestHead, ResponseHead
from twistedproxy.http.target import Target, parse_authority

Block = Sequence[FieldLine]
"""The field lines of a field section, pseudo-header fields first."""

# RFC 9113 section 8.2.1, and RFC 9110 section 5.1: a token without capitals. Names are judged together, with a comma
# between them, and values with a line feed; neither can be part of one.
_NAME = rb"[!#$%&'*+\-.^_`|~0-9a-z]++"
_NAMES: Final = re.compile(_NAME + rb"(?:," + _NAME + rb")*")
_VALUES: Final = re.compile(rb"[" + FIELD_CHAR + rb"\n]*+")
_EDGE_SPACES: Final = (b"\n ", b" \n", b"\n\t", b"\t\n")

# RFC 9113 section 8.2.2.
_CONNECTION_SPECIFIC: Final = frozenset(
    (b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade")
)

_REQUEST_PSEUDO: Final = frozenset((b":method", b":scheme", b":authority", b":path", b":protocol"))
_PATH: Final = re.compile(rb"[\x21\x22\x24-\x7e]+")
_STATUS: Final = re.compile(rb"[1-5][0-9][0-9]")
_COLON: Final = ord(":")

# HTTP/2 has none, and some who speak HTTP/1.1 show it.
_PHRASES: Final = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}

# What stands in a field block otherwise, or not at all.
_NOT_IN_BLOCK: Final = _CONNECTION_SPECIFIC | {b"host"}

# RFC 7541 section 7.1.3: what must not be found out by guessing at a compression context.
_SECRET: Final = frozenset((b"authorization", b"proxy-authorization", b"cookie", b"set-cookie"))
_GUESSABLE: Final = 20

_UPGRADE: Final = frozenset((b"upgrade",))
_NONE: Final[frozenset[bytes]] = frozenset()

# RFC 8441 section 5.1: these two belong to the handshake in HTTP/1.1.
_HANDSHAKE: Final = frozenset((b"sec-websocket-key", b"sec-websocket-accept"))


def request_head(block: Block, ended: bool, limits: HeadLimits) -> RequestHead:
    """Read a request's field block; ``ended`` says that no content follows.

    Its target is in absolute form. Raises `RequestError`, or one of its children.
    """
    pseudo, lines = _split(block, _REQUEST_PSEUDO, RequestError)
    fields = _fields(lines, limits, RequestError)
    index = fields.index
    method = pseudo.get(b":method", b"")
    if not is_token(method):
        raise RequestError("the method is not a token")
    if len(method) > MAX_METHOD_LENGTH:
        raise MethodNotImplemented(f"the method has more than {MAX_METHOD_LENGTH} characters")
    authority = _authority(pseudo, fields)
    options = NO_OPTIONS
    if method == b"CONNECT" and b":protocol" not in pseudo:
        if b":scheme" in pseudo or b":path" in pseudo:
            raise TargetError("a CONNECT has a scheme or a path")
        target = authority
    else:
        target = _absolute(pseudo, method, authority, limits)
        if b":protocol" in pseudo:
            if method != b"CONNECT":
                raise RequestError("there is a :protocol, and the method is not CONNECT")
            if pseudo[b":protocol"].lower() != b"websocket":
                # RFC 8441 section 4, RFC 9220 section 3: 501 for one that we do not know.
                raise MethodNotImplemented(
                    "the only protocol for an extended CONNECT that this proxy knows is websocket"
                )
            method = b"GET"
            fields = Fields([*fields.lines, (b"upgrade", b"websocket")])
            index = fields.index
            options = _UPGRADE
            ended = True
    length = _request_length(index, ended)
    expects_continue = False
    if b"expect" in index:
        check_expectations(fields)
        expects_continue = True
    return RequestHead(method, target, 1, fields, length, options, expects_continue, HTTP2)


def _authority(pseudo: dict[bytes, bytes], fields: Fields) -> bytes:
    """The authority that a request is for (RFC 9113 section 8.3.1)."""
    host = fields.index.get(b"host")
    if host is not None and not isinstance(host, bytes):
        raise HostError("there is more than one Host field")
    authority = pseudo.get(b":authority", host)
    if not authority:
        raise HostError("there is no :authority and no Host field")
    if parse_authority(authority) is None:
        raise HostError("the authority is not host or host:port")
    if host is not None and host.lower() != authority.lower():
        raise HostError("the Host field is not the same as :authority")
    return authority


def _absolute(pseudo: dict[bytes, bytes], method: bytes, authority: bytes, limits: HeadLimits) -> bytes:
    scheme = pseudo.get(b":scheme", b"")
    path = pseudo.get(b":path", b"")
    if not scheme:
        raise TargetError("there is no :scheme")
    if not is_token(scheme):
        raise TargetError("the :scheme is not a scheme")
    if path == b"*" and method == b"OPTIONS":
        path = b""
    elif not path.startswith(b"/") or _PATH.fullmatch(path) is None:
        raise TargetError("the :path is not a path")
    if len(path) > limits.max_target_size:
        raise TargetTooLong(f"the target has more than {limits.max_target_size} characters")
    return b"%b://%b%b" % (scheme, authority, path)


def _request_length(index: dict[bytes, bytes | tuple[bytes, ...]], ended: bool) -> int:
    value = index.get(b"content-length")
    if value is None:
        return 0 if ended else CHUNKED
    if not isinstance(value, bytes):
        raise FramingError("there is more than one Content-Length field")
    if not is_length(value):
        raise FramingError("the Content-Length is not a number of 1 to 19 digits")
    length = int(value)
    if ended and length:
        raise FramingError("the request ends before the content that its Content-Length promises")
    return length


def response_head(block: Block, ended: bool, request_method: bytes, limits: HeadLimits) -> ResponseHead:
    """Read a response's field block; ``ended`` says that no content follows. Raises `ResponseError`."""
    pseudo, lines = _split(block, frozenset((b":status",)), ResponseError)
    value = pseudo.get(b":status", b"")
    if _STATUS.fullmatch(value) is None:
        raise ResponseError("the :status is not a status code")
    status = int(value)
    if status == 101:
        # RFC 9113 section 8.6.
        raise ResponseError("the answer's status is 101, which HTTP/2 does not have")
    if status < 200 and ended:
        raise ResponseError("the answer ends with an interim one")
    fields = _fields(lines, limits, ResponseError)
    bodiless = status < 200 or status in (204, 304) or request_method == b"HEAD"
    length = 0 if bodiless else CHUNKED
    if not bodiless:
        if b"content-length" in fields.index:
            members = list_members(fields.values(b"content-length"))
            if not members or len(set(members)) > 1 or not is_length(members[0]):
                raise ResponseError("the answer's Content-Length is not one number of 1 to 19 digits")
            length = int(members[0])
            if ended and length:
                raise ResponseError("the answer ends before the content that its Content-Length promises")
        elif ended:
            # HTTP/1.1 has no other way to say that there is none.
            fields = Fields([*fields.lines, (b"content-length", b"0")])
            length = 0
    return ResponseHead(status, _PHRASES.get(status, b""), 1, fields, length, NO_OPTIONS, HTTP2)


def request_trailers(block: Block, limits: HeadLimits) -> Fields:
    """Read the field block after a request's content. Raises `RequestError`."""
    return _fields(_split(block, _NONE, RequestError)[1], limits, RequestError)


def response_trailers(block: Block, limits: HeadLimits) -> Fields:
    """Read the field block after a response's content. Raises `ResponseError`."""
    return _fields(_split(block, _NONE, ResponseError)[1], limits, ResponseError)


def _split(
    block: Block, allowed: frozenset[bytes], error: type[ProxyError]
) -> tuple[dict[bytes, bytes], list[FieldLine]]:
    """The pseudo-header fields and the others."""
    pseudo: dict[bytes, bytes] = {}
    first = len(block)
    for position, (name, value) in enumerate(block):
        if not name or name[0] != _COLON:
            first = position
            break
        if name not in allowed or name in pseudo:
            raise error("there is a pseudo-header field that does not belong there, or twice")
        pseudo[name] = value
    return pseudo, list(block[first:])


def _fields(lines: list[FieldLine], limits: HeadLimits, error: type[ProxyError]) -> Fields:
    if not lines:
        return Fields()
    others = len(lines) - 1
    names = b",".join([line[0] for line in lines])
    if _NAMES.fullmatch(names) is None or names.count(b",") != others:
        raise error("a field's name is not a token in lower case")
    values = b"\n".join([line[1] for line in lines])
    if _VALUES.fullmatch(values) is None or values.count(b"\n") != others:
        raise error("there is a control character")
    framed = b"\n%b\n" % values
    if any(space in framed for space in _EDGE_SPACES):
        raise error("a field's value begins or ends with white space")
    # RFC 9113 section 6.5.2: 32 bytes more for each field.
    if len(names) + len(values) + 30 * len(lines) > limits.max_head_size:
        raise _too_large(error)(f"it is larger than {limits.max_head_size} bytes")
    fields = Fields(lines)
    index = fields.index
    if not _CONNECTION_SPECIFIC.isdisjoint(index):
        raise error("there is a field that speaks of a connection of HTTP/1.1")
    if b"te" in index and [te.lower() for te in list_members(fields.values(b"te"))] != [b"trailers"]:
        raise error("the TE field says more than trailers")
    if isinstance(index.get(b"cookie"), tuple):
        # RFC 9113 section 8.2.3.
        fields = Fields(_one_cookie(lines))
    if len(fields.lines) > limits.max_fields:
        raise _too_large(error)(f"there are {len(fields.lines)} fields, more than {limits.max_fields}")
    return fields


def _too_large(error: type[ProxyError]) -> type[ProxyError]:
    return HeadTooLarge if error is RequestError else ResponseHeadTooLarge


def _one_cookie(lines: list[FieldLine]) -> list[FieldLine]:
    crumbs = [line for line in lines if line[0] == b"cookie"]
    # What is never indexed stays so, and an empty crumb would leave white space at the end.
    never = any(type(crumb) is NeverIndexedHeaderTuple for crumb in crumbs)
    value = b"; ".join([crumb[1] for crumb in crumbs if crumb[1]])
    whole = NeverIndexedHeaderTuple(b"cookie", value) if never else (b"cookie", value)
    first = lines.index(crumbs[0])
    return [*lines[:first], whole, *[line for line in lines[first:] if line[0] != b"cookie"]]


def request_block(head: RequestHead, target: Target, via: bytes, protocol: bytes = b"") -> list[FieldLine]:
    """The field block of a request as the next server gets it; with ``protocol`` an extended CONNECT (RFC 8441)."""
    block: list[FieldLine] = [
        (b":method", b"CONNECT" if protocol else head.method),
        (b":scheme", target.scheme.encode("ascii")),
        (b":authority", target.authority),
        (b":path", target.path),
    ]
    if protocol:
        block.append((b":protocol", protocol))
    lines = forwarded_request_lines(head, target.authority, via)
    _add_lines(block, lines, _NOT_IN_BLOCK | _HANDSHAKE if protocol else _NOT_IN_BLOCK)
    return block


def response_block(head: ResponseHead, request_method: bytes, via: bytes, date: bytes) -> list[FieldLine]:
    """The field block of a response as the client gets it; ``date`` as for `forwarded_response_lines`.

    A 101 becomes the 200 by which an extended CONNECT is answered (RFC 8441 section 5).
    """
    switched = head.status == 101
    block: list[FieldLine] = [(b":status", b"200" if switched else b"%d" % head.status)]
    lines = forwarded_response_lines(head, request_method, via, date, 0, False)
    _add_lines(block, lines, _NOT_IN_BLOCK | _HANDSHAKE if switched else _NOT_IN_BLOCK)
    return block


def trailer_block(lines: Iterable[FieldLine]) -> list[FieldLine]:
    """The field block after the content, from the lines that may go on."""
    block: list[FieldLine] = []
    _add_lines(block, lines, _NOT_IN_BLOCK)
    return block


def _add_lines(block: list[FieldLine], lines: Iterable[FieldLine], dropped: frozenset[bytes]) -> None:
    for line in lines:
        name = line[0].lower()
        if name in dropped:
            continue
        if name in _SECRET or type(line) is NeverIndexedHeaderTuple:
            value = line[1]
            never = type(line) is NeverIndexedHeaderTuple or b"authorization" in name or len(value) < _GUESSABLE
            block.append(NeverIndexedHeaderTuple(name, value) if never else (name, value))
        else:
            block.append((name, line[1]))

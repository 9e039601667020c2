"""What changes in a message on its way through: the rules for intermediaries (RFC 9110 section 7.6).

Fields keep their order and their case. Those that speak of one connection only are taken out, and those that speak of
ours are put in.
"""

from __future__ import annotations

from twistedproxy.http.grammar import is_length, is_protocol, list_members, list_tokens
from twistedproxy.http.message import CHUNKED, UNTIL_CLOSE, FieldLine, Fields, RequestHead, ResponseHead
from twistedproxy.http.writer import field_section

# Fields that mean something on one connection only, and those whose value this proxy writes itself.
_REQUEST_DROPPED = frozenset(
    (
        b"connection",
        b"proxy-connection",
        b"keep-alive",
        b"te",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
        b"content-length",
        b"expect",
        b"proxy-authorization",
    )
)
_RESPONSE_DROPPED = frozenset(
    (
        b"connection",
        b"proxy-connection",
        b"keep-alive",
        b"te",
        b"transfer-encoding",
        b"upgrade",
        b"content-length",
    )
)

# RFC 9110 section 6.5.1: fields that frame, route, authenticate or describe the message before it is read cannot
# come after it.
_UNSAFE_TRAILERS = frozenset(
    (
        b"age",
        b"authorization",
        b"cache-control",
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-range",
        b"content-type",
        b"cookie",
        b"date",
        b"expect",
        b"expires",
        b"forwarded",
        b"host",
        b"http2-settings",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"keep-alive",
        b"location",
        b"max-forwards",
        b"pragma",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"range",
        b"retry-after",
        b"set-cookie",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"vary",
        b"via",
        b"www-authenticate",
    )
)

# RFC 4559: these authenticate the connection, and with it whatever request comes next.
_CONNECTION_BOUND = frozenset((b"ntlm", b"negotiate"))

# A connection option must not name these away: without them the message would mean something else, or hide its way.
_NOT_NOMINABLE = frozenset((b"host", b"via", b"content-length", b"date", b"close", b"content-type"))

# Options that say nothing about what else to take out.
_REQUEST_SETTLED = _REQUEST_DROPPED | _NOT_NOMINABLE
_RESPONSE_SETTLED = _RESPONSE_DROPPED | _NOT_NOMINABLE

_MOST_HOPS = 10**9


def upgrade_offered(head: RequestHead) -> tuple[bytes, ...]:
    """The protocols that a request may be upgraded to; none from HTTP/1.0 or without the connection option.

    RFC 9110 section 7.8. ``h2c`` is left out: RFC 9113 has withdrawn it, and it would take all later requests out of
    the proxy's sight.
    """
    values = head.fields.values(b"upgrade")
    if not values or not head.minor or b"upgrade" not in head.options:
        return ()
    return tuple(
        protocol
        for protocol in list_members(values)
        if is_protocol(protocol) and not protocol.lower().startswith(b"h2c")
    )


def authenticates_connection(head: RequestHead) -> bool:
    """Whether an origin may take whoever uses the connection of this request for one certain user."""
    return head.fields.first(b"authorization").split(b" ", 1)[0].lower() in _CONNECTION_BOUND


def forwarded_request_lines(
    head: RequestHead, host: bytes, via: bytes, upgrade: tuple[bytes, ...] = ()
) -> list[FieldLine]:
    """The field lines of a request as the next server gets them.

    ``host`` is the Host field's value, from the target (RFC 9112 section 3.2.2), ``via`` our pseudonym, or
    nothing where we are not to be named, and ``upgrade`` the protocols to offer, from `upgrade_offered`.
    """
    fields = head.fields
    index = fields.index
    dropped = _REQUEST_DROPPED
    if not head.options <= _REQUEST_SETTLED:
        dropped = dropped | (head.options - _NOT_NOMINABLE)
    hops = max_forwards(head) if b"max-forwards" in index else None
    if hops is not None:
        dropped = dropped | {b"max-forwards"}
    lines = [line for line in fields.lines if line[0].lower() not in dropped]
    if b"host" not in index:
        lines.insert(0, (b"Host", host))
    elif index[b"host"] != host:
        lines = [(line[0], host) if line[0].lower() == b"host" else line for line in lines]
    if head.length > 0:
        lines.append((b"Content-Length", b"%d" % head.length))
    elif head.length == CHUNKED:
        lines.append((b"Transfer-Encoding", b"chunked"))
    elif b"content-length" in index:
        # An explicit zero says more than silence: servers ask for it on POST.
        lines.append((b"Content-Length", b"0"))
    if head.expects_continue:
        lines.append((b"Expect", b"100-continue"))
    if hops is not None:
        lines.append((b"Max-Forwards", b"%d" % (hops - 1)))
    ours: list[bytes] = []
    if b"te" in index and b"trailers" in list_tokens(index[b"te"]):
        lines.append((b"TE", b"trailers"))
        ours.append(b"TE")
    if upgrade:
        lines.append((b"Upgrade", b", ".join(upgrade)))
        ours.append(b"Upgrade")
    if ours:
        lines.append((b"Connection", b", ".join(ours)))
    if via:
        lines.append((b"Via", head.version + b" " + via))
    return lines


def forwarded_request_section(head: RequestHead, host: bytes, via: bytes, upgrade: tuple[bytes, ...] = ()) -> bytes:
    """The same as the bytes of HTTP/1.1, which are kept with the fields for the next request that has those."""
    fields = head.fields
    asked = (host, via, upgrade, head.length, head.version, head.options, head.expects_continue)
    kept = fields.forwarded
    if kept is not None and kept[0] == asked:
        return kept[1]
    section = field_section(forwarded_request_lines(head, host, via, upgrade))
    # What becomes of that one depends on the method.
    if b"max-forwards" not in fields.index:
        fields.forwarded = (asked, section)
    return section


def max_forwards(head: RequestHead) -> int | None:
    """The Max-Forwards of a TRACE or OPTIONS; None when there is none to obey (RFC 9110 section 7.6.2).

    A request with 0 is answered, not forwarded.
    """
    if head.method not in (b"TRACE", b"OPTIONS"):
        return None
    value = head.fields.first(b"max-forwards")
    if not value.isdigit():
        return None
    digits = value.lstrip(b"0")
    # More hops than there can be are as good as that many: a number of any length is cheap to read, and counts down.
    return int(digits or b"0") if len(digits) < len(str(_MOST_HOPS)) else _MOST_HOPS


def forwarded_response_lines(
    head: ResponseHead, request_method: bytes, via: bytes, date: bytes, client_minor: int, close: bool
) -> list[FieldLine]:
    """The field lines of a final or interim response as the client gets them.

    ``date`` is added when the response has none (RFC 9110 section 6.6.1). ``close`` says that the connection to the
    client ends with this response. The framing is ours: content of unknown length is chunked for an HTTP/1.1 client,
    and ends with the connection for another.
    """
    fields = head.fields
    index = fields.index
    dropped = _RESPONSE_DROPPED
    if not head.options <= _RESPONSE_SETTLED:
        dropped = dropped | (head.options - _NOT_NOMINABLE)
    lines = [line for line in fields.lines if line[0].lower() not in dropped]
    status = head.status
    length = head.length
    if length > 0:
        lines.append((b"Content-Length", b"%d" % length))
    elif length < 0:
        if client_minor:
            lines.append((b"Transfer-Encoding", b"chunked"))
    elif status >= 200 and status != 204 and b"content-length" in index:
        # HEAD and 304: what a GET would have had; else a true zero. A value off its grammar is dropped.
        values = set(list_members(index[b"content-length"]))
        value = values.pop() if len(values) == 1 else b""
        if is_length(value):
            lines.append((b"Content-Length", b"%d" % int(value)))
    if status == 101:
        lines.append((b"Upgrade", b", ".join(list_members(fields.values(b"upgrade")))))
        lines.append((b"Connection", b"Upgrade"))
    elif status == 426 and b"upgrade" in index:
        # RFC 9110 section 15.5.22: a 426 must say what to upgrade to.
        lines.append((b"Upgrade", b", ".join(list_members(fields.values(b"upgrade")))))
        lines.append((b"Connection", b"Upgrade, close" if close else b"Upgrade"))
    elif close and status >= 200:
        lines.append((b"Connection", b"close"))
    if b"date" not in index and status >= 200:
        lines.append((b"Date", date))
    if via:
        lines.append((b"Via", head.version + b" " + via))
    return lines


def forwarded_trailer_lines(trailers: Fields, nominated: frozenset[bytes]) -> list[FieldLine]:
    """The trailer fields that may go on: none that frames, routes or authenticates, none that the Connection names."""
    return [
        line for line in trailers.lines if (name := line[0].lower()) not in _UNSAFE_TRAILERS and name not in nominated
    ]


def via_names(fields: Fields, pseudonym: bytes) -> bool:
    """Whether a message has come through the proxy with this pseudonym before (RFC 9110 section 7.6.3)."""
    values = fields.values(b"via")
    if not values:
        return False
    wanted = pseudonym.lower()
    for member in list_members(values):
        parts = member.split()
        if len(parts) > 1 and parts[1].lower() == wanted:
            return True
    return False


__all__ = [
    "UNTIL_CLOSE",
    "authenticates_connection",
    "forwarded_request_lines",
    "forwarded_request_section",
    "forwarded_response_lines",
    "forwarded_trailer_lines",
    "max_forwards",
    "upgrade_offered",
    "via_names",
]

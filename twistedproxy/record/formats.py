"""The formats of the access log: each makes one line, with its newline, of a finished exchange.

Three formats, all in UTC, none with the value of Authorization, Cookie or another secret field, none with the
userinfo of a URL, and none that a hostile client or origin could tear or forge: see
`twistedproxy.record.escaping`.

``squid``
    Squid's native format, in columns separated by spaces, for the tools that read it::

        1795421523.123     42 192.0.2.7 TCP_MISS/200 1270 GET http://a.test/ - HIER_DIRECT/192.0.2.9 text/html

    Unix time of the end; milliseconds it took; client; result code and status (000 when nothing was sent);
    bytes sent to the client; method; URL; user; how and where it was fetched (HIER_DIRECT, or FIRSTUP_PARENT from
    another proxy); media type. An eleventh column
    stands at the end only when something went wrong, and says what. Result codes: TCP_MISS (forwarded),
    TCP_TUNNEL, TCP_DENIED (refused by this proxy's settings: 403, 407, or the status of an access rule), NONE
    (any other answer of the proxy's own), each with _ABORTED when the client left before the end. A request
    that could not be read has ``-`` for its method and ``error:`` with the reason for its URL.

``combined``
    Apache's combined format: client, ``-``, user, time of the end, request line, status (000 when nothing was
    sent), bytes sent to the client, Referer and User-Agent. The request line of a request that could not be
    read is ``-``.

``json``
    One JSON object a line; `JSONLine` lists the members. What does not apply is null.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

import msgspec

from twistedproxy.record.escaping import (
    COLUMN_CLEAN,
    LONGEST,
    QUOTED_CLEAN,
    QUOTED_WORD_CLEAN,
    Cached,
    column,
    quoted,
    quoted_word,
    shortened,
    without_userinfo,
)
from twistedproxy.record.finished import CLIENT_LEFT, DENIED_BY_RULE, FinishedExchange

AccessFormat = Callable[[FinishedExchange], bytes]
"""One line of bytes, newline included, for one finished exchange."""


def _text_column(text: str) -> bytes:
    return column(text.encode("utf-8", "backslashreplace"))


def _hierarchy(code: bytes, upstream_address: str) -> bytes:
    host = upstream_address.rpartition(":")[0].strip("[]")
    return code + _text_column(host) if host else b"HIER_NONE/-"


def _media_type(content_type: bytes) -> bytes:
    return column(content_type.partition(b";")[0].strip(b" \t"))


class SquidFormat:
    """Squid's native format, ``%ts.%03tu %6tr %>a %Ss/%03>Hs %<st %rm %ru %[un %Sh/%<a %mt`` and reason."""

    __slots__ = ("_hierarchies", "_media_types", "_parents", "_texts", "_words")

    def __init__(self) -> None:
        self._texts = Cached(_text_column)
        self._hierarchies = Cached(partial(_hierarchy, b"HIER_DIRECT/"))
        self._parents = Cached(partial(_hierarchy, b"FIRSTUP_PARENT/"))
        self._media_types = Cached(_media_type)
        self._words = Cached(column)

    def __repr__(self) -> str:
        return "<SquidFormat>"

    def __call__(self, exchange: FinishedExchange) -> bytes:
        kind = exchange.kind
        status = exchange.status
        reason = exchange.reason
        if kind == "forward":
            result = b"TCP_MISS"
        elif kind == "tunnel":
            result = b"TCP_TUNNEL"
        elif status in (403, 407) or reason == DENIED_BY_RULE:
            result = b"TCP_DENIED"
        else:
            result = b"NONE"
        last = b""
        if reason:
            last = b" " + self._texts[reason]
            if reason == CLIENT_LEFT:
                result += b"_ABORTED"
        url = exchange.url
        if not url:
            url = b"error:" + self._texts[reason or "unreadable"]
        elif url.translate(None, COLUMN_CLEAN) or len(url) > LONGEST:
            url = column(without_userinfo(url))
        words = self._words
        return b"%.3f %6.0f %b %b/%03d %d %b %b %b %b %b%b\n" % (
            exchange.finished_wall,
            (exchange.finished_at - exchange.started_at) * 1000.0,
            self._texts[exchange.client_address],
            result,
            status,
            exchange.bytes_to_client,
            words[exchange.method],
            url,
            words[exchange.user],
            (self._hierarchies if exchange.route is None else self._parents)[exchange.upstream_address],
            self._media_types[exchange.response_field(b"content-type")],
            last,
        )


def _clf_time(second: int) -> bytes:
    # The names of the months belong to the format; strftime would ask the locale.
    moment = time.gmtime(second)
    month = b"JanFebMarAprMayJunJulAugSepOctNovDec"[moment.tm_mon * 3 - 3 : moment.tm_mon * 3]
    return b"%02d/%b/%04d:%02d:%02d:%02d +0000" % (moment.tm_mday, month, moment.tm_year, *moment[3:6])


class CombinedFormat:
    """Apache's combined format, ``%h - %u [time] "request line" status bytes "referer" "user agent"``."""

    __slots__ = ("_addresses", "_times", "_words")

    def __init__(self) -> None:
        self._addresses = Cached(_text_column)
        self._times = Cached(_clf_time, size=8)
        self._words = Cached(quoted_word)

    def __repr__(self) -> str:
        return "<CombinedFormat>"

    def __call__(self, exchange: FinishedExchange) -> bytes:
        words = self._words
        method = exchange.method
        url = exchange.url
        if not (method or url):
            request = b"-"
        else:
            if url.translate(None, QUOTED_WORD_CLEAN) or len(url) > LONGEST:
                url = quoted_word(without_userinfo(url))
            request = b"%b %b %b" % (words[method], url or b"-", words[exchange.version])
        referer = exchange.request_field(b"referer")
        if referer.translate(None, QUOTED_CLEAN) or len(referer) > LONGEST:
            referer = quoted(without_userinfo(referer))
        agent = exchange.request_field(b"user-agent")
        if agent.translate(None, QUOTED_CLEAN) or len(agent) > LONGEST:
            agent = quoted(agent)
        return b'%b - %b [%b] "%b" %03d %d "%b" "%b"\n' % (
            self._addresses[exchange.client_address],
            words[exchange.user],
            self._times[int(exchange.finished_wall)],
            request,
            exchange.status,
            exchange.bytes_to_client,
            referer or b"-",
            agent or b"-",
        )


class JSONLine(msgspec.Struct, gc=False):
    """The members of a line of the JSON format, in their order; ``null`` where there is nothing to say."""

    started: str
    """When the request began to arrive: RFC 3339, milliseconds, UTC."""
    finished: str
    """When it was all over, likewise."""
    seconds: float
    """How long that took."""
    connect_seconds: float | None
    """Until the name was resolved and the connection stood; null when none was made."""
    first_byte_seconds: float | None
    """Until the origin began to answer; null when it did not."""
    kind: str
    """``forward``, ``tunnel``, or ``answer``: by the proxy itself."""
    client_address: str
    client_port: int
    user: str | None
    method: str | None
    url: str | None
    version: str | None
    status: int
    """0 when nothing was sent."""
    bytes_from_client: int
    bytes_to_client: int
    bytes_to_upstream: int
    bytes_from_upstream: int
    upstream_address: str | None
    route: str | None
    """The route that it went by, whose parent is at that address; null when it went to the origin itself."""
    reused: bool
    """Whether the connection to the origin came from the pool."""
    content_type: str | None
    referer: str | None
    user_agent: str | None
    reason: str | None
    """Why it did not go well; null when it did."""
    detail: str | None
    """What was wrong this time, for a person."""
    rule: str | None
    """The access rule that decided, by its name, or `access.default`; null where there are no rules."""
    list: str | None
    """The list of what is blocked that has it, whether that blocks or only logs."""
    category: str | None
    """The category of that list."""


def _rfc3339_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _microseconds(seconds: float) -> float:
    # Six decimals. The built-in round() takes four times as long.
    return int(seconds * 1e6 + 0.5) / 1e6


def _as_text(value: bytes) -> str | None:
    return value.decode("latin-1") if value else None


def _as_name(value: bytes) -> str | None:
    try:
        return value.decode("utf-8") or None
    except UnicodeDecodeError:
        return _as_text(value)


class JSONFormat:
    """One JSON object a line, see `JSONLine`. Bytes of strangers are read as ISO 8859-1: none is lost.

    Only the user's name is read as UTF-8, where it is that (RFC 7617 section 2.1).
    """

    __slots__ = ("_encode", "_names", "_times", "_words")

    def __init__(self) -> None:
        self._encode = msgspec.json.Encoder().encode
        self._times = Cached(_rfc3339_second, size=64)
        self._words = Cached(_as_text)
        self._names = Cached(_as_name)

    def __repr__(self) -> str:
        return "<JSONFormat>"

    def __call__(self, exchange: FinishedExchange) -> bytes:
        line = self._line(exchange)
        try:
            encoded = self._encode(line)
        except UnicodeEncodeError:
            encoded = _encode_cleaned(line)
        else:
            # DEL is the one control character in ASCII that the encoder lets stand as it is.
            if len(encoded) > LONGEST or not encoded.isascii() or 0x7F in encoded:
                encoded = _encode_cleaned(line)
        return encoded + b"\n"

    def _line(self, exchange: FinishedExchange) -> JSONLine:
        seconds = exchange.finished_at - exchange.started_at
        finished = int(exchange.finished_wall * 1000.0 + 0.5)
        started = finished - int(seconds * 1000.0 + 0.5)
        times = self._times
        words = self._words
        connect = exchange.connect_seconds
        first_byte = exchange.first_byte_seconds
        return JSONLine(
            f"{times[started // 1000]}.{started % 1000:03d}Z",
            f"{times[finished // 1000]}.{finished % 1000:03d}Z",
            _microseconds(seconds),
            None if connect < 0.0 else _microseconds(connect),
            None if first_byte < 0.0 else _microseconds(first_byte),
            exchange.kind,
            exchange.client_address,
            exchange.client_port,
            self._names[exchange.user],
            words[exchange.method],
            _as_text(without_userinfo(exchange.url)),
            words[exchange.version],
            exchange.status,
            exchange.bytes_from_client,
            exchange.bytes_to_client,
            exchange.bytes_to_upstream,
            exchange.bytes_from_upstream,
            exchange.upstream_address or None,
            exchange.route.name if exchange.route is not None else None,
            exchange.reused,
            words[exchange.response_field(b"content-type")],
            _as_text(without_userinfo(exchange.request_field(b"referer"))),
            _as_text(exchange.request_field(b"user-agent")),
            exchange.reason or None,
            exchange.detail or None,
            exchange.rule or None,
            exchange.listed.list if exchange.listed is not None else None,
            (exchange.listed.category or None) if exchange.listed is not None else None,
        )


def _encode_cleaned(line: JSONLine) -> bytes:
    members = msgspec.structs.asdict(line)
    for name, value in members.items():
        if isinstance(value, str):
            # A lone surrogate is not text that JSON could carry (RFC 8259 section 8.2).
            value = shortened(value.encode("utf-8", "backslashreplace"))
            members[name] = value.decode("utf-8", "ignore")
    # The standard library's encoder writes printable ASCII and nothing else.
    return json.dumps(members, separators=(",", ":")).encode("ascii")


_FORMATS: Final[Mapping[str, Callable[[], AccessFormat]]] = MappingProxyType(
    {"squid": SquidFormat, "combined": CombinedFormat, "json": JSONFormat}
)


def access_format(name: str) -> AccessFormat:
    """The format that ``log.format`` names: ``squid``, ``combined`` or ``json``.

    Raises `KeyError` for any other name.
    """
    return _FORMATS[name]()

"""What goes wrong on purpose: origins that do not keep to HTTP, and requests that cannot be understood."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

NO_GATEWAY: Final = frozenset((502,))
TOO_LATE: Final = frozenset((504,))


class Fault(NamedTuple):
    """What an origin does wrong, and what a client must be told then.

    ``origin`` and ``how`` say where and how it is asked for, ``least`` how many bytes of content at least.
    ``statuses`` and ``cut`` are those of `scripts.soaking.judging.Expected`.
    """

    name: str
    origin: str
    how: str
    statuses: frozenset[int]
    cut: Literal["never", "may", "must"] = "never"
    least: int = 0


_BEGUN: Final = frozenset((200, 502))
"""A reset may overtake what was said before it."""

FAULTS: Final = (
    Fault("reset", "faulty", "reset", _BEGUN, "must", 2),
    Fault("short", "faulty", "short", frozenset((200,)), "must", 2),
    Fault("torn", "faulty", "torn", frozenset((200,)), "must"),
    Fault("stalled", "faulty", "stalled", frozenset((200,)), "must", 2),
    Fault("surplus", "faulty", "surplus", frozenset((200,))),
    Fault("garbage", "faulty", "garbage", NO_GATEWAY),
    Fault("silent", "faulty", "silent", TOO_LATE),
    Fault("closing", "closing", "sized", NO_GATEWAY),
    Fault("refusing", "refusing", "sized", NO_GATEWAY),
)

_BAD: Final = frozenset((400,))

_SMUGGLED: Final = (
    b"POST http://ORIGIN/upload/5 HTTP/1.1\r\nHost: ORIGIN\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"0\r\n\r\nGET http://ORIGIN/sized/5 HTTP/1.1\r\nHost: ORIGIN\r\n\r\n"
)

MALFORMED: Final[tuple[tuple[bytes, frozenset[int]], ...]] = (
    (b"GET\r\n\r\n", _BAD),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", _BAD),
    (b"GET http://ORIGIN/sized/5 HTTP/1.1\r\n\r\n", _BAD),
    (b"GET http://ORIGIN/sized/5 HTTP/1.1\r\nHost: ORIGIN\r\nHost: other\r\n\r\n", _BAD),
    (b"GET http://ORIGIN/sized/5 HTTP/1.1\r\nHost : ORIGIN\r\n\r\n", _BAD),
    (b"GET http://ORIGIN/sized/5 HTTP/1.1\r\nHost: ORIGIN\r\nA: b\r\n c\r\n\r\n", _BAD),
    (b"GET http://ORIGIN/sized/5 HTTP/1.1\r\nHost: ORIGIN\r\nA: \x00\r\n\r\n", _BAD),
    (b"GET /sized/5 HTTP/1.1\r\nHost: ORIGIN\r\n\r\n", _BAD),
    (b"GET http://ORIGIN/sized/5 HTTP/3.7\r\nHost: ORIGIN\r\n\r\n", frozenset((400, 505))),
    (b"GET http://ORIGIN/" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: ORIGIN\r\n\r\n", frozenset((414,))),
    (b"GET http://ORIGIN/sized/5 HTTP/1.1\r\nHost: ORIGIN\r\n" + b"A: b\r\n" * 400 + b"\r\n", frozenset((431,))),
    (_SMUGGLED, _BAD),
    (b"POST http://ORIGIN/upload/5 HTTP/1.1\r\nHost: ORIGIN\r\nContent-Length: 5, 6\r\n\r\nhello", _BAD),
    (b"POST http://ORIGIN/upload/5 HTTP/1.1\r\nHost: ORIGIN\r\nContent-Length: -5\r\n\r\nhello", _BAD),
    (
        b"POST http://ORIGIN/upload/5 HTTP/1.1\r\nHost: ORIGIN\r\nTransfer-Encoding: gzip\r\n\r\nhello",
        frozenset((400, 501)),
    ),
    (b"CONNECT nowhere HTTP/1.1\r\nHost: nowhere\r\n\r\n", _BAD),
)
"""Requests, with ORIGIN for an authority, and the statuses that may answer them."""

"""CONNECT from the client's side (RFC 9110 section 9.3.6): how an HTTP proxy is asked for a tunnel, without I/O."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from twistedproxy.errors import ParentBroken, ParentFailed, ParentRefused, ParentUnauthorized, ResponseError
from twistedproxy.http.head import HeadLimits
from twistedproxy.http.message import FieldLine, ResponseHead
from twistedproxy.http.reader import ResponseReader
from twistedproxy.http.writer import field_section, request_bytes

MAX_INTERIM_RESPONSES: Final = 20
"""Interim (1xx) responses that a parent may send before its final one."""

_FORBIDDEN: Final = (403, 451)
_PASSED_ON: Final = (503, 504)


class HTTPConnect:
    """Asks for a tunnel to ``authority``, host and port.

    ``via`` is the pseudonym that we have in Via, or nothing, and ``vias`` are the values of the Via fields that the
    request for it came with: without them nobody would notice that it goes round in a circle. ``authorization`` is the
    value of Proxy-Authorization, or nothing.
    """

    __slots__ = ("_authority", "_interim", "_lines", "_reader", "done")

    def __init__(
        self, authority: bytes, via: bytes, authorization: bytes, limits: HeadLimits, vias: Iterable[bytes] = ()
    ) -> None:
        self.done = False
        self._authority = authority
        self._lines: list[FieldLine] = [(b"Host", authority)]
        if via:
            self._lines += ((b"Via", value) for value in vias)
            self._lines.append((b"Via", b"1.1 " + via))
        if authorization:
            self._lines.append((b"Proxy-Authorization", authorization))
        self._reader = ResponseReader(limits)
        self._reader.expect(b"CONNECT")
        self._interim = 0

    def __repr__(self) -> str:
        return f"<HTTPConnect {self._authority.decode('ascii')} {'done' if self.done else 'under way'}>"

    def begin(self) -> bytes:
        """What is said first."""
        return request_bytes(b"CONNECT", self._authority, field_section(self._lines))

    def take(self, data: bytes) -> tuple[int, bytes]:
        """Read of ``data``, what came next: how many of its bytes were the proxy's words, and what to say then.

        Bytes that it leaves are the tunnel's. Raises `ParentFailed` when there will be none.
        """
        reader = self._reader
        reader.receive(data)
        try:
            while (head := reader.next_event()) is not None:
                assert isinstance(head, ResponseHead)
                if head.status >= 200 or head.status == 101:
                    self._judge(head.status)
                    self.done = True
                    return len(data) - len(reader.take_rest()), b""
                self._interim += 1
                if self._interim > MAX_INTERIM_RESPONSES:
                    raise ResponseError(f"there are more than {MAX_INTERIM_RESPONSES} interim answers")
        except ResponseError as error:
            raise ParentBroken(f"its answer to CONNECT cannot be read: {error.detail}") from None
        return len(data), b""

    def _judge(self, status: int) -> None:
        """Raise `ParentFailed` unless a final answer with ``status`` opens the tunnel."""
        if 200 <= status < 300:
            return
        detail = f"it answered {status} to CONNECT"
        if status == 407:
            raise ParentUnauthorized(detail)
        error = ParentRefused(detail) if status in _FORBIDDEN else ParentFailed(detail)
        if status in (*_FORBIDDEN, *_PASSED_ON):
            error.status = status
        raise error

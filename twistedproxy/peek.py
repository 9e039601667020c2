"""The first look into a tunnel that may be opened: what does the client speak?

TLS says so in its first byte, and whom it is meant for in the ClientHello. Plain HTTP begins with a method; clients of
WebSocket speak it inside CONNECT. Everything else is opaque, and so is silence: in some protocols the server speaks
first. Nothing that is read is lost: whoever goes on gets every byte.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from typing import Any, Final, TypeAlias

from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from twistedproxy.deadlines import Deadlines
from twistedproxy.tls.client_hello import ClientHello, HelloReader, MalformedHello, NotTLS
from twistedproxy.tunnel.copying import give

# HTTP/2 without TLS begins with "PRI * HTTP/2.0" (RFC 9113 section 3.4), and is not for a reader of HTTP/1.
_HTTP: Final = re.compile(rb"(?!PRI )[A-Z]{3,16} [/*h]")
_PERHAPS_HTTP: Final = re.compile(rb"[A-Z]{0,16}|[A-Z]{3,16} ")


class Spoken(Enum):
    """What a client speaks that is not TLS."""

    HTTP = "HTTP"
    SOMETHING_ELSE = "something else"


Seen: TypeAlias = ClientHello | Spoken


class Peek(Protocol):
    """Reads from ``transport``, after ``received``, until it is known what is spoken there.

    ``seen`` is called once with that, within `start` at the earliest. Silence for ``seconds`` counts as something else.
    ``left`` is called when the client is gone, also after that, until `stop`.
    """

    def __init__(
        self,
        transport: Any,
        received: bytes,
        seen: Callable[[Seen], object],
        left: Callable[[], object],
        deadlines: Deadlines,
        seconds: float,
    ) -> None:
        self.deadline = 0.0
        self.deadline_bucket = 0
        self.received = bytearray(received)
        """Every byte that came."""
        self._client = transport
        self._seen: Callable[[Seen], object] | None = seen
        self._left: Callable[[], object] | None = left
        self._deadlines = deadlines
        self._seconds = seconds
        self._reader: HelloReader | None = HelloReader()

    def __repr__(self) -> str:
        return f"<Peek received={len(self.received)} {'over' if self._seen is None else 'waiting'}>"

    def start(self) -> None:
        """Begin to read."""
        give(self._client, self)
        self._deadlines.expire_in(self, self._seconds)
        if self.received:
            self._look(bytes(self.received))

    def stop(self) -> None:
        """Say nothing any more."""
        self._seen = self._left = None
        self._deadlines.forget(self)

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if self._seen is not None:
            self._look(data)

    def _look(self, data: bytes) -> None:
        if self._reader is not None:
            try:
                hello = self._reader.feed(data)
            except NotTLS:
                self._reader = None
            except MalformedHello:
                self._tell(Spoken.SOMETHING_ELSE)
                return
            else:
                if hello is not None:
                    self._tell(hello)
                return
        if _HTTP.match(self.received):
            self._tell(Spoken.HTTP)
        elif not _PERHAPS_HTTP.fullmatch(self.received):
            self._tell(Spoken.SOMETHING_ELSE)

    def deadline_passed(self) -> None:
        self._tell(Spoken.SOMETHING_ELSE)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        left = self._left
        self.stop()
        if left is not None:
            left()

    def _tell(self, what: Seen) -> None:
        seen, self._seen = self._seen, None
        self._deadlines.forget(self)
        if seen is not None:
            seen(what)

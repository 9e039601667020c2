"""The log of messages: one JSON object a line for each message of the WebSockets that are written down.

`MessageLine` lists the members. A line is printable ASCII and tells of one message, whatever that holds: everything
else is escaped, and what is no text stands in base64.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import msgspec

from twistedproxy.record.discreet import Discretion
from twistedproxy.record.escaping import Cached, shortened, without_userinfo
from twistedproxy.record.log_file import STANDARD_OUTPUT, LogFile

if TYPE_CHECKING:
    from twistedproxy.http.websocket import Direction, Message


class _Policy(Protocol):
    @property
    def logged_content(self) -> int:
        """How many bytes of a message's content are written down."""
        ...

    @property
    def discretion(self) -> Discretion:
        """What is kept out of the lines."""
        ...

    def logs_messages_of(self, host: str) -> bool:
        """Whether messages of WebSockets with ``host`` are written down."""
        ...


class _Connection(Protocol):
    @property
    def number(self) -> int:
        """The number of the client's connection."""
        ...

    @property
    def stream(self) -> int:
        """The number of its stream on that; 0 over HTTP/1.1."""
        ...


class WatchedExchange(Protocol):
    """What a line tells of the exchange that became a WebSocket, and what says whether there is one."""

    @property
    def snapshot(self) -> _Policy:
        """The decisions that it goes by."""
        ...

    @property
    def downstream(self) -> _Connection:
        """The client's connection."""
        ...

    @property
    def client_address(self) -> str:
        """The client's IP address."""
        ...

    @property
    def client_port(self) -> int:
        """The client's port."""
        ...

    @property
    def url(self) -> bytes:
        """The absolute URL."""
        ...


class MessageLine(msgspec.Struct, gc=False):
    """The members of a line, in their order; ``null`` where there is nothing to say."""

    time: str
    """When the message was complete: RFC 3339, milliseconds, UTC."""
    connection: str
    """The client's connection, as ``pyproxyctl connections`` names it."""
    stream: int | None
    """The stream on that connection, over HTTP/2: there can be several WebSockets."""
    client_address: str
    client_port: int
    url: str
    """As in the access log: ``http`` stands for ``ws``, and ``https`` for ``wss``."""
    direction: str
    """``from_client`` or ``from_upstream``."""
    kind: str
    """``text``, ``binary``, ``close``, ``ping``, ``pong``; or ``unreadable``: no more is seen in this direction."""
    length: int | None = None
    """Bytes of content, unpacked."""
    payload_length: int | None = None
    """Bytes of content as they were sent."""
    frames: int | None = None
    """How many frames it came in."""
    compressed: bool = False
    """Whether permessage-deflate had packed it."""
    code: int | None = None
    """The status code of a close frame."""
    content: str | None = None
    """The content, or its beginning; the reason of a close frame."""
    encoding: str | None = None
    """``base64`` when the content is no text, or stands as it was sent since an extension is not known."""
    truncated: bool = False
    """Whether there was more content than is written here."""
    reason: str | None = None
    """Why it is unreadable."""


class MessageLog:
    """Writes messages to ``file``, while there is one.

    It may be given another at any time, for WebSockets under way too. ``worker`` is the number of the worker, ``wall``
    tells the time of day, in seconds since 1970.
    """

    __slots__ = ("_encode", "_lost_before", "_times", "_wall", "_worker", "file")

    def __init__(self, worker: int, wall: Callable[[], float]) -> None:
        self.file: LogFile | None = None
        self._worker = worker
        self._wall = wall
        self._lost_before = 0
        self._encode = msgspec.json.Encoder().encode
        self._times = Cached(_rfc3339_second, size=64)

    def __repr__(self) -> str:
        return f"<MessageLog {self.file!r}>"

    @property
    def lost_lines(self) -> int:
        """How many lines were never written. Those to the standard output are not counted here: it has others too."""
        return self._lost_before + _lost(self.file)

    def go_on_in(self, file: LogFile | None) -> None:
        """Write to ``file`` from now on, which is open, or nowhere; and close the one before.

        The standard output is not closed, since others go on writing there.
        """
        old, self.file = self.file, file
        if old is None:
            return
        if old.path == STANDARD_OUTPUT:
            old.flush()
        else:
            old.close()
        self._lost_before += _lost(old)

    def reopen(self) -> None:
        """Go on in a new file, since the old one has been moved away."""
        if self.file is not None:
            self.file.reopen()

    def wants(self, exchange: WatchedExchange, host: str) -> int | None:
        """How many bytes of each message are written; None for a WebSocket that is not."""
        policy = exchange.snapshot
        return policy.logged_content if self.file is not None and policy.logs_messages_of(host) else None

    def message(self, exchange: WatchedExchange, direction: Direction, message: Message) -> None:
        """Write the line of ``message``."""
        if self.file is None:
            return
        # It may have been read for somebody who wants more.
        message = message.shortened(exchange.snapshot.logged_content)
        content, encoding = message.text, None
        if content is None and message.content:
            content, encoding = base64.b64encode(message.content).decode("ascii"), "base64"
        line = self._line(exchange, direction, message.kind)
        line.length = message.length
        line.payload_length = message.payload_length
        line.frames = message.frames
        line.compressed = message.compressed
        line.code = message.code
        line.content = content
        line.encoding = encoding
        line.truncated = message.truncated
        self._write(line)

    def unreadable(self, exchange: WatchedExchange, direction: Direction, why: str) -> None:
        """Write that nothing more is seen in ``direction``."""
        if self.file is not None:
            line = self._line(exchange, direction, "unreadable")
            line.reason = why
            self._write(line)

    def _line(self, exchange: WatchedExchange, direction: Direction, kind: str) -> MessageLine:
        seen = exchange.snapshot.discretion.view(exchange)
        now = int(self._wall() * 1000.0 + 0.5)
        return MessageLine(
            f"{self._times[now // 1000]}.{now % 1000:03d}Z",
            f"{self._worker}-{exchange.downstream.number}",
            exchange.downstream.stream or None,
            seen.client_address,
            seen.client_port,
            shortened(without_userinfo(seen.url)).decode("latin-1"),
            direction,
            kind,
        )

    def _write(self, line: MessageLine) -> None:
        encoded = self._encode(line)
        # DEL is the one control character in ASCII that the encoder lets stand as it is.
        if not encoded.isascii() or 0x7F in encoded:
            # The standard library's encoder writes printable ASCII and nothing else.
            encoded = json.dumps(msgspec.structs.asdict(line), separators=(",", ":")).encode("ascii")
        assert self.file is not None
        self.file.write(encoded + b"\n")


def _lost(file: LogFile | None) -> int:
    return 0 if file is None or file.path == STANDARD_OUTPUT else file.lost_lines


def _rfc3339_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))

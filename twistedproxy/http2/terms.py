"""What a session and whoever has the connection agree on."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from twistedproxy.http2.stream import Stream


class SessionLimits(NamedTuple):
    """What one peer may take up. Sizes in bytes.

    A head that is larger than ``max_head_size`` is for the stream to refuse. One of more than twice that, as it comes
    or as it is unpacked, ends the connection, since what it does to the compression cannot be known.
    """

    max_streams: int = 100
    stream_window: int = 256 * 1024
    max_head_size: int = 64 * 1024


class SessionError(Exception):
    """The connection cannot go on. ``code`` is one of RFC 9113 section 7; the text says what was wrong."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class Owner(Protocol):
    """Whoever has the connection."""

    def new_stream(self, number: int) -> Stream:
        """The peer has opened a stream."""

    def stream_over(self, stream: Stream) -> None:
        """A stream will carry nothing more."""

    def settings_received(self) -> None:
        """The peer has said what it takes, or has changed its mind."""

    def going_away(self, last: int, code: int) -> None:
        """The peer takes no more streams, and has not looked at those after number ``last``."""

    def pong_received(self) -> None:
        """The peer has answered our PING."""

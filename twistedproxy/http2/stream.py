"""One stream of an HTTP/2 connection: a request and its response, with the flow control of both directions.

Theory of operation. What is to be said waits in the stream's own queue until the peer's windows and the connection have
room for it, so that streams take turns and one whose peer does not read keeps nobody else's bytes. What comes in is
acknowledged on the connection at once and on the stream when whoever takes it has room: a stream that rests holds one
window of bytes at most, and its siblings go on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING

from twistedproxy.errors import ProxyError
from twistedproxy.http2.fields import Block

if TYPE_CHECKING:
    from twistedproxy.http2.session import Session

UNKNOWN = -1
"""The length of content that ends when it ends."""


class Stream(ABC):
    """The base of both sides' streams. What its peer says is told by the methods that have no content here."""

    __slots__ = (
        "_held",
        "_resting",
        "_unsaid_end",
        "ends_with_output",
        "expected",
        "id",
        "input_ended",
        "output_ended",
        "over",
        "queue",
        "received",
        "sent",
        "session",
        "unsaid",
    )

    def __init__(self, session: Session, number: int) -> None:
        self.session = session
        self.id = number
        self.sent = 0
        """Bytes of its frames sent so far."""
        self.received = 0
        """Bytes of its frames received so far."""
        self.expected = UNKNOWN
        """Bytes of content that the peer has yet to send, when it has said how many."""
        self.queue: deque[bytes] = deque()
        self.unsaid = 0
        """Bytes in the queue."""
        self._unsaid_end: Block | None = None
        self.input_ended = False
        self.output_ended = False
        self.over = False
        """Whether nothing more will come or can be said."""
        self.ends_with_output = not session.client
        """Whether nobody wants the rest of what comes when all is said (RFC 9113 section 8.1)."""
        self._resting = False
        self._held = 0

    def __repr__(self) -> str:
        state = "over" if self.over else f"unsaid={self.unsaid}{' resting' if self._resting else ''}"
        return f"<{type(self).__name__} {self.id} {state}>"

    # ------------------------------------------------------------ to be said

    @property
    def full(self) -> bool:
        """Whether the peer has yet to take what was said."""
        return self.unsaid > 0 or self.session.blocked

    @property
    def wants_to_speak(self) -> bool:
        """Whether something waits to be sent, the end included."""
        return self.unsaid > 0 or self._unsaid_end is not None

    def say_head(self, block: Block, end: bool) -> None:
        """Send a field block: that of a head, or the last one."""
        if not self.over:
            self.session.send_block(self, block, end)

    def say(self, content: bytes) -> None:
        """Send content, with the next `Session.pump`."""
        if content and not self.over:
            self.queue.append(content)
            self.unsaid += len(content)
            self.session.ready(self)

    def say_end(self, trailers: Block) -> None:
        """Nothing follows but the trailer section, which may be empty."""
        if not (self.over or self.output_ended):
            self._unsaid_end = trailers
            self.session.ready(self)

    def take_end(self) -> Block | None:
        """What is left to say, when that is only the end; for the session."""
        if self.unsaid:
            return None
        end, self._unsaid_end = self._unsaid_end, None
        return end

    @property
    def ends_after_queue(self) -> bool:
        """Whether the last piece of content is the end as well; for the session."""
        return self._unsaid_end is not None and not self._unsaid_end

    def reset(self, code: int) -> None:
        """End the stream at once; ``code`` is one of RFC 9113 section 7."""
        if not self.over:
            self.session.reset(self, code)

    def drop(self) -> None:
        """Forget what was to be said: the stream is over; for the session."""
        self.over = True
        self.queue.clear()
        self.unsaid = 0
        self._unsaid_end = None

    # ------------------------------------------------------------ what comes

    def rest(self) -> None:
        """Let the peer send no more than one window: nobody takes it at the moment."""
        self._resting = True

    def go_on(self) -> None:
        """The end of `rest`."""
        if self._resting:
            self._resting = False
            held, self._held = self._held, 0
            if held and not self.over:
                self.session.acknowledge(self, held)

    @property
    def resting(self) -> bool:
        """Whether it rests."""
        return self._resting

    def hold(self, size: int) -> None:
        """Acknowledge ``size`` bytes, now or after the rest; for the session."""
        if self._resting:
            self._held += size
        elif not self.over and not self.input_ended:
            self.session.acknowledge(self, size)

    @abstractmethod
    def head_received(self, block: Block, ended: bool) -> int:
        """A head came. What comes back is its content's length in bytes, or `UNKNOWN`.

        A `ProxyError` makes the message malformed.
        """

    @abstractmethod
    def content_received(self, content: bytes) -> None:
        """Content came."""

    @abstractmethod
    def end_received(self, trailers: Block) -> None:
        """The message is complete. `ProxyError` makes it malformed."""

    @abstractmethod
    def malformed(self, error: ProxyError) -> None:
        """What came is not valid (RFC 9113 section 8.1.1). The stream is reset after what is said now."""

    @abstractmethod
    def reset_received(self, code: int) -> None:
        """The peer has reset the stream."""

    @abstractmethod
    def room_made(self) -> None:
        """The stream was full and is no longer."""

    @abstractmethod
    def turn_ended(self) -> None:
        """All that came in this turn has been told."""

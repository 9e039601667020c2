"""Who sees the messages of a WebSocket that passes, and how.

Whoever wants messages is a `MessageListener`, and is asked once for each WebSocket. When nobody wants those of one, its
bytes are relayed without a look. Otherwise a `Watch` reads copies of what has been passed on already: nobody who
listens can hold a message, or change it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from twistedproxy.exchange import Exchange

if TYPE_CHECKING:
    from twistedproxy.http.websocket import Direction, Message, MessageReader

SLICE: Final = 1 << 13
"""How many bytes are looked at between two checks of how much work that was."""

MOST_EFFORT: Final = 1 << 24
"""How much work may come of what was received at one time, in `MessageReader.effort`; about 40 ms. Frames of nothing,
and data that unpacks to a thousand times its size, would keep all other connections waiting."""


class MessageListener(Protocol):
    """Somebody who wants to see messages. Its calls come after the bytes have been passed on."""

    def wants(self, exchange: Exchange, host: str) -> int | None:
        """How many bytes of each message's content are wanted of the WebSocket with ``host``; None to see none of it.

        Asked once, when the WebSocket stands: ``exchange`` is the one that it began with.
        """

    def message(self, exchange: Exchange, direction: Direction, message: Message) -> None:
        """One is complete. ``content`` may be more than what this listener wanted."""

    def unreadable(self, exchange: Exchange, direction: Direction, why: str) -> None:
        """No more will be seen in that direction; the bytes go on."""


class Watch:
    """Reads along in both directions of one WebSocket, for ``listeners``; an `Observer` of its relay."""

    __slots__ = ("_exchange", "_listeners", "_readers")

    def __init__(
        self,
        exchange: Exchange,
        listeners: tuple[MessageListener, ...],
        from_client: MessageReader,
        from_upstream: MessageReader,
    ) -> None:
        self._exchange = exchange
        self._listeners = listeners
        self._readers: dict[Direction, MessageReader] = {"from_client": from_client, "from_upstream": from_upstream}

    def __repr__(self) -> str:
        return f"<Watch {self._readers} for {self._listeners}>"

    def passed_to_upstream(self, data: bytes) -> None:
        """The client has sent ``data``."""
        self._look("from_client", data)

    def passed_to_client(self, data: bytes) -> None:
        """The origin has sent ``data``."""
        self._look("from_upstream", data)

    def _look(self, direction: Direction, data: bytes) -> None:
        reader = self._readers.get(direction)
        if reader is None:
            return
        most_effort = reader.effort + MOST_EFFORT
        for start in range(0, len(data), SLICE):
            for message in reader.feed(data[start : start + SLICE]):
                for listener in self._listeners:
                    listener.message(self._exchange, direction, message)
            if reader.effort > most_effort:
                reader.stop("it takes too much work to follow")
            if reader.fault:
                del self._readers[direction]
                for listener in self._listeners:
                    listener.unreadable(self._exchange, direction, reader.fault)
                return


def watch(exchange: Exchange, host: str) -> Watch | None:
    """What reads along in the WebSocket with ``host`` that ``exchange`` has become; None when nobody wants that.

    The exchange has its response already, which says what extensions there are.
    """
    asked: tuple[MessageListener, ...] = exchange.plane.message_listeners
    wanted = [(listener, most) for listener in asked if (most := listener.wants(exchange, host)) is not None]
    if not wanted:
        return None
    # wsproto is imported only here.
    from twistedproxy.http.websocket import Extensions, MessageReader

    extensions = Extensions.of(exchange.response.values(b"sec-websocket-extensions") if exchange.response else ())
    most = max(most for _, most in wanted)
    return Watch(
        exchange,
        tuple(listener for listener, _ in wanted),
        MessageReader(extensions, from_client=True, most=most),
        MessageReader(extensions, from_client=False, most=most),
    )

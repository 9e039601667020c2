"""What an exchange has upstream, whichever version of HTTP is spoken there, and what it is to that.

A carrier carries one exchange at a time: an HTTP/1.1 connection until its response has ended, or one stream of an
HTTP/2 connection.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from twistedproxy.access.addresses import with_port
from twistedproxy.errors import ProxyError
from twistedproxy.http.message import FieldLine, Fields, RequestHead, ResponseHead
from twistedproxy.http.target import Target

Key = tuple[str, str, int, str]
"""Scheme, host and port, and the name of the route that leads there: what a connection can be used for.

The route is empty where it leads there directly. Without a host it is a connection to a parent of the route, for all
requests that it forwards.
"""

MAX_INTERIM_RESPONSES: Final = 100
"""Interim (1xx) responses that an origin may send before its final one."""


def key_text(key: Key) -> str:
    """What a person calls it."""
    scheme, host, port, route = key
    if not host:
        return f"the parents of the route {route}"
    return f"{scheme}://{with_port(host, port)}{f' by the route {route}' if route else ''}"


class ResponseListener(Protocol):
    """What the exchange is to its carrier."""

    def response_began(self, head: ResponseHead) -> None:
        """A head came: interim ones too, and the final one once."""

    def response_content(self, content: bytes) -> None:
        """Content came, without its transfer coding."""

    def response_ended(self, trailers: Fields) -> None:
        """The response is complete. The carrier is no longer the exchange's."""

    def response_failed(self, error: ProxyError, retriable: bool) -> None:
        """There will be no (more) response. ``retriable``: the origin has not looked at the request, or its connection
        was an old one and said nothing."""

    def response_turn_ended(self) -> None:
        """All that came in this turn of the reactor has been told."""

    def request_room_made(self) -> None:
        """The origin reads again: more of the request's content may be sent."""


class Carrier(Protocol):
    """What carries an exchange to an origin and back."""

    @property
    def address(self) -> str:
        """The origin's address and port."""

    @property
    def exchanges(self) -> int:
        """How many exchanges its connection has carried, the one under way included."""

    @property
    def full(self) -> bool:
        """Whether the origin has yet to read what it was sent."""

    @property
    def sent(self) -> int:
        """Bytes sent over its whole life."""

    @property
    def received(self) -> int:
        """Bytes that responses have been made of, over its whole life."""

    def send_head(
        self,
        listener: ResponseListener,
        head: RequestHead,
        target: Target,
        via: bytes,
        upgrade: tuple[bytes, ...] = (),
    ) -> None:
        """Begin an exchange with a request's head; ``upgrade`` are the protocols to offer."""

    def send_content(self, content: bytes) -> None:
        """Send a piece of the request's content. The caller rests while `full`."""

    def send_end(self, trailers: list[FieldLine]) -> None:
        """The request is complete."""

    def flush(self) -> None:
        """Send what has been said in this turn."""

    def pause(self) -> None:
        """Rest: the client has not read what there is."""

    def resume(self) -> None:
        """Go on after `pause`."""

    def abandon(self) -> None:
        """The exchange wants no more of it."""

    def detach(self) -> tuple[Any, bytes]:
        """Give away the transport, and the bytes that came after the last event: it is an opaque relay's now."""

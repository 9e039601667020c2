"""What the client's connection, or a stream of it, is to the exchange that it carries, whichever version is spoken."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from twistedproxy.accounts.certificates import VerifiedCertificate
from twistedproxy.errors import ProxyError
from twistedproxy.http.inner import Inside
from twistedproxy.http.message import FieldLine, ResponseHead

if TYPE_CHECKING:
    from twistedproxy.exchange import Exchange

Protocols = tuple[bytes, ...]
"""What may be spoken inside TLS, as ALPN calls it (RFC 7301)."""


class Reached(NamedTuple):
    """Where a client has found us: the address and port that its connection leads to, and whether it is TLS.

    Of a Unix socket both are empty.
    """

    address: str
    port: int
    secured: bool


class Downstream(Protocol):
    """What the client's connection is to the exchange it carries."""

    number: int
    """The number of the connection."""
    client_address: str
    client_port: int
    listener: str
    """The description of the listener that the client came in at."""
    broken: bool
    """Whether the client takes no more bytes; it will be said to have left."""

    @property
    def stream(self) -> int:
        """The number of its stream on the connection; 0 over HTTP/1.1, which has none."""

    @property
    def reached(self) -> Reached:
        """Where the client has found us."""

    @property
    def certificate(self) -> VerifiedCertificate | None:
        """What the client has shown in the handshake with the listener; None where that was nothing."""

    @property
    def received(self) -> int:
        """Bytes of the client's that requests have been made of so far."""

    @property
    def sent(self) -> int:
        """Bytes said to the client so far."""

    @property
    def full(self) -> bool:
        """Whether the client has yet to read what it was sent."""

    def send_interim(self, head: ResponseHead) -> None:
        """Send a 1xx response."""

    def send_head(self, head: ResponseHead) -> None:
        """Send the final response's head."""

    def send_content(self, content: bytes) -> None:
        """Send a piece of the response's content. The caller rests while `full`."""

    def send_end(self, trailers: list[FieldLine]) -> None:
        """The response is complete."""

    def take_back(self) -> bool:
        """Forget the final response's head and what followed it, if all of that is still here; whether it was."""

    def send_answer(self, status: int, lines: list[FieldLine], content: bytes) -> None:
        """Send a whole response of the proxy's own."""

    def send_error(self, error: ProxyError) -> None:
        """Send the page that tells of an error, or close where that would mean nothing any more."""

    def send_established(self) -> None:
        """Send the 2xx response to CONNECT."""

    def cut(self) -> None:
        """Close in such a way that the response does not look complete."""

    def flush(self) -> None:
        """Send what has been said in this turn."""

    def pause_request(self) -> None:
        """Rest: nobody takes the request's content at the moment."""

    def resume_request(self) -> None:
        """Go on after `pause_request`."""

    def detach(self) -> tuple[Any, bytes]:
        """Give away the transport, and the bytes that follow the request: it is an opaque relay's now."""

    def open_up(self, transport: Any, inside: Inside, context: Any, protocols: Protocols) -> Callable[[bytes], object]:
        """After `detach`: go on with ``transport`` as a connection to the origin ``inside``.

        With an OpenSSL ``context`` the client speaks TLS there, and in it one of ``protocols``, the best first. What
        comes back takes the bytes that came since.
        """

    def exchange_over(self, exchange: Exchange) -> None:
        """The exchange has ended, and been recorded."""

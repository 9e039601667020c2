"""What is known about a request once it is over: the one shape that every log format reads.

The exchange itself has these attributes, so that nothing is copied when a request ends. A format only reads
them, and only while it is called.
"""

from __future__ import annotations

from typing import Protocol

from twistedproxy.access.blocklists.lists import Listed
from twistedproxy.routes.route import Route

NOT_APPLICABLE = -1.0
"""The duration of a phase that this exchange did not pass through."""

CLIENT_LEFT = "client_left"
"""The reason of an exchange whose client closed its connection before the end."""

CLIENT_STALLED = "client_stalled"
"""The reason of an exchange whose client did not read what it was sent."""


DENIED_BY_RULE = "denied_by_rule"
"""The reason of an exchange that an access rule has denied, with whatever status."""


class FinishedExchange(Protocol):
    """One request and its answer, or one tunnel, at its end. All sizes are in bytes, heads included."""

    @property
    def kind(self) -> str:
        """``forward``; ``tunnel``; ``intercept``, for a CONNECT whose tunnel was opened; or ``answer``, when the proxy
        gave the answer itself."""
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
    def user(self) -> bytes:
        """Who the client proved to be, or claimed to be where that was refused; empty when nobody."""
        ...

    @property
    def method(self) -> bytes:
        """The request's method; empty when the request could not be read."""
        ...

    @property
    def url(self) -> bytes:
        """The absolute URL, or host:port for CONNECT; empty when the request could not be read."""
        ...

    @property
    def version(self) -> bytes:
        """The request's HTTP-version, such as ``HTTP/1.1``; empty when the request could not be read."""
        ...

    @property
    def status(self) -> int:
        """The status code that the client was sent; 0 when nothing was sent."""
        ...

    @property
    def bytes_from_client(self) -> int:
        """Received from the client."""
        ...

    @property
    def bytes_to_client(self) -> int:
        """Sent to the client."""
        ...

    @property
    def bytes_to_upstream(self) -> int:
        """Sent to the origin."""
        ...

    @property
    def bytes_from_upstream(self) -> int:
        """Received from the origin."""
        ...

    @property
    def started_at(self) -> float:
        """When the request began to arrive, in monotonic seconds."""
        ...

    @property
    def finished_at(self) -> float:
        """When it was all over, in monotonic seconds."""
        ...

    @property
    def finished_wall(self) -> float:
        """When it was all over, in seconds of Unix time."""
        ...

    @property
    def connect_seconds(self) -> float:
        """Seconds until the name was resolved and the connection stood, or `NOT_APPLICABLE`."""
        ...

    @property
    def first_byte_seconds(self) -> float:
        """Seconds until the origin began to answer, or `NOT_APPLICABLE`."""
        ...

    @property
    def upstream_address(self) -> str:
        """The address connected to, and its port: ``1.2.3.4:80``, ``[2001:db8::1]:80``; empty when none."""
        ...

    @property
    def route(self) -> Route | None:
        """The route that it went by; None when it went to the origin itself. The address connected to is a parent's."""
        ...

    @property
    def reused(self) -> bool:
        """Whether the connection to the origin came from the pool."""
        ...

    @property
    def rule(self) -> str:
        """The access rule that decided, by its name; empty where there are none."""
        ...

    @property
    def reason(self) -> str:
        """Why it went wrong: a ``reason`` of `twistedproxy.errors`, or `CLIENT_LEFT`; else empty."""
        ...

    @property
    def detail(self) -> str:
        """What was wrong this time, for a person; never a secret."""
        ...

    @property
    def listed(self) -> Listed | None:
        """What the lists of what is blocked had on it; None when nothing."""
        ...

    def request_field(self, name: bytes) -> bytes:
        """The value of the request's field ``name`` (lower case); empty when absent."""
        ...

    def response_field(self, name: bytes) -> bytes:
        """The value of the response's field ``name`` (lower case); empty when absent."""
        ...

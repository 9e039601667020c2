"""An exchange's wait for a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from twistedproxy.access.rules import Destinations
from twistedproxy.errors import ProxyError
from twistedproxy.snapshot import Snapshot
from twistedproxy.upstream.carrier import Carrier, Key, key_text

if TYPE_CHECKING:
    from twistedproxy.upstream.making import Making


class Requester(Protocol):
    """What the exchange is to the pool."""

    def upstream_ready(self, carrier: Carrier) -> None:
        """Here is what carries it; it is the exchange's until the response has ended, or it abandons it."""

    def upstream_failed(self, error: ProxyError) -> None:
        """There is no connection to be had."""


class Office(Protocol):
    """Where tickets are from."""

    def cancel(self, ticket: Ticket) -> None:
        """Stop a ticket's wait."""

    def wait_is_over(self, ticket: Ticket) -> None:
        """A ticket's turn did not come in time."""


class Ticket:
    """One exchange's wait for a connection; `cancel` when it wants none any more.

    ``client`` is its client's address. With ``http1`` it can only be carried by a connection of its own, and with
    ``destinations`` only by one to an address that these allow.
    """

    __slots__ = (
        "_office",
        "client",
        "deadline",
        "deadline_bucket",
        "destinations",
        "http1",
        "key",
        "making",
        "requester",
        "snapshot",
    )

    def __init__(
        self,
        office: Office,
        key: Key,
        requester: Requester,
        snapshot: Snapshot,
        client: str,
        http1: bool,
        destinations: Destinations | None = None,
    ) -> None:
        self._office = office
        self.key = key
        self.requester: Requester | None = requester
        self.snapshot = snapshot
        self.client = client
        self.http1 = http1
        self.destinations = destinations
        self.making: Making | None = None
        """The connection in the making that it waits for."""
        self.deadline = 0.0
        self.deadline_bucket = 0

    def __repr__(self) -> str:
        return f"<Ticket {key_text(self.key)} of {self.client or 'nobody'}>"

    def cancel(self) -> None:
        """Stop waiting. A connection that is being made for it alone is given up."""
        self._office.cancel(self)

    def deadline_passed(self) -> None:
        self._office.wait_is_over(self)

    def serve(self, carrier: Carrier) -> None:
        """The wait is over, and successful."""
        requester, self.requester = self.requester, None
        assert requester is not None
        requester.upstream_ready(carrier)

    def fail(self, error: ProxyError) -> None:
        """The wait is over, for nothing."""
        requester, self.requester = self.requester, None
        if requester is not None:
            requester.upstream_failed(error)

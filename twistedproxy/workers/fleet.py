"""What the daemon can do with its workers, however many there are and wherever they run."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred

from twistedproxy.blocklists.files import ListOrders
from twistedproxy.control.link import Listing, Orders
from twistedproxy.control.types import Worker
from twistedproxy.limits.state import ShareState
from twistedproxy.listeners import Listeners
from twistedproxy.record.learned import Learned
from twistedproxy.record.statistics import Statistics


class Fleet(Protocol):
    """One worker, or several."""

    departed: Statistics
    """What workers that have ended have counted."""

    def start(self, orders: Orders, listeners: Listeners) -> Deferred[None]:
        """Begin to serve. Fires as soon as all of them take connections.

        Fails with `CannotUse` when they end before.
        """
        ...

    def use(self, orders: Orders, listeners: Listeners) -> Deferred[list[str]]:
        """Go by other orders. Fires when all that serve do, with what could not be done as wished.

        Fails with `CannotUse` when one refuses; those that did not go by the orders until they are told otherwise.
        """
        ...

    def numbers(self) -> Deferred[list[Worker]]:
        """How each of them goes, asked now; one that does not answer is told of as it was last."""
        ...

    def connections(self, limit: int, client: str, state: str) -> Deferred[Listing]:
        """The oldest connections; the arguments are those of `twistedproxy.worker.Worker.connections`."""
        ...

    def close_connection(self, worker: int, number: int) -> Deferred[bool]:
        """Close one; False when there is none."""
        ...

    def learned(self, host: str, forget: bool) -> Deferred[list[Learned]]:
        """Who does not take our certificates; the arguments are those of `twistedproxy.worker.Worker.learned`."""
        ...

    def limit_states(self, name: str, most: int) -> Deferred[list[ShareState]]:
        """What has been taken up of limits, as each worker knows it; as `twistedproxy.limits.restraint` has it."""
        ...

    def refill(self, limit: str, key: str) -> Deferred[None]:
        """Let the workers forget what ``key`` has taken up of ``limit``, or all when it is empty."""
        ...

    def reopen_logs(self) -> None:
        """Go on in new access logs."""
        ...

    def set_level(self, level: str) -> None:
        """Write their operational logs from ``level`` on."""
        ...

    def use_lists(self, lists: ListOrders) -> Deferred[None]:
        """Let what is blocked go by ``lists``. Fires when all that serve do."""
        ...

    def drain(self, timeout: float) -> Deferred[None]:
        """Take no new connections, and end what is under way within ``timeout`` seconds. Fires when all is over."""
        ...

    def stop(self) -> None:
        """Cut what is under way."""
        ...

"""An exchange's wait for a connection."""

from __future__ import annotations

from typing import Any

from tests.memory import Wire
from twistedproxy.errors import ConnectTimeout, ProxyError
from twistedproxy.upstream.ticket import Ticket


class Asked:
    """An exchange, and the office that its ticket is from."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def upstream_ready(self, carrier: Any) -> None:
        self.heard.append(carrier)

    def upstream_failed(self, error: ProxyError) -> None:
        self.heard.append(error)

    def cancel(self, ticket: Ticket) -> None:
        self.heard.append("cancelled")

    def wait_is_over(self, ticket: Ticket) -> None:
        self.heard.append("too late")


def ticket(asked: Asked, client: str = "192.0.2.7") -> Ticket:
    return Ticket(asked, ("https", "origin.test", 443, ""), asked, Wire().plane.snapshot, client, False)


def test_it_is_served_and_then_over() -> None:
    asked = Asked()
    made = ticket(asked)
    carrier: Any = object()
    made.serve(carrier)
    made.fail(ProxyError())
    assert asked.heard == [carrier]


def test_it_fails_once() -> None:
    asked = Asked()
    made = ticket(asked)
    error = ConnectTimeout("slow")
    made.fail(error)
    made.fail(ProxyError())
    assert asked.heard == [error]


def test_the_office_hears_of_the_end_of_the_wait() -> None:
    asked = Asked()
    made = ticket(asked)
    made.deadline_passed()
    made.cancel()
    assert asked.heard == ["too late", "cancelled"]


def test_repr_tells_whose_it_is() -> None:
    assert repr(ticket(Asked())) == "<Ticket https://origin.test:443 of 192.0.2.7>"
    assert repr(ticket(Asked(), "")) == "<Ticket https://origin.test:443 of nobody>"

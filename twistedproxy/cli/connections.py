"""``pyproxyctl connections``: who is connected, what for, and an end to one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from twistedproxy.cli.figures import NOTHING, age_text, size_text
from twistedproxy.cli.invocation import GroupWithDefault, Invocation, asks_the_daemon, pass_invocation
from twistedproxy.cli.output import Part, Table

if TYPE_CHECKING:
    from twistedproxy.control.types import Connection, Connections

STATES: Final = ("idle", "request", "tunnel", "closing")
"""What a connection can be doing, by the API."""

_HEADINGS: Final = ("id", "client", "state", "age", "requests", "method", "target", "server", "received", "sent")
_FIGURES: Final = frozenset({"age", "requests", "received", "sent"})


@click.group(cls=GroupWithDefault, default="list")
@asks_the_daemon
def connections() -> None:
    """List the client connections, or close one.

    Without a command they are listed: `pyproxyctl connections --state tunnel`.
    """


@connections.command("list")
@click.option("--client", metavar="ADDRESS", help="Only those of this client.")
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many.")
@asks_the_daemon
@pass_invocation
def list_connections(invocation: Invocation, client: str | None, state: str | None, limit: int | None) -> None:
    """List the client connections, the oldest first."""
    answer = invocation.client().connections(client or "", state or "", limit)
    invocation.show(answer, lambda: connections_parts(answer))


@connections.command("close")
@click.argument("id")
@asks_the_daemon
@pass_invocation
def close_connection(invocation: Invocation, id: str) -> None:
    """Close the client connection ID, whatever it carries.

    The list has the ids; they look like 0-17.
    """
    answer = invocation.client().close_connection(id)
    invocation.show(answer, lambda: [answer.detail])


def connections_parts(answer: Connections) -> list[Part]:
    """The connections, for a person."""
    if not answer.connections:
        return ["no connections"]
    parts: list[Part] = [Table("", _HEADINGS, [_row(one) for one in answer.connections], _FIGURES)]
    if answer.total > len(answer.connections):
        parts.append(f"the oldest {len(answer.connections)} of {answer.total}; more with --limit")
    return parts


def _target(one: Connection) -> str:
    others = f" and {one.exchanges - 1} more" if one.exchanges > 1 else ""
    return f"{one.target}{others}" if one.target else NOTHING


def _row(one: Connection) -> tuple[str, ...]:
    return (
        one.id,
        one.client,
        one.state,
        age_text(one.age),
        str(one.requests),
        one.method or NOTHING,
        _target(one),
        one.upstream or NOTHING,
        size_text(one.bytes_from_client),
        size_text(one.bytes_to_client),
    )

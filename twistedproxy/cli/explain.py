"""``pyproxyctl explain``: what would become of a request, and which rule says so."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from twistedproxy.cli.invocation import Invocation, asks_the_daemon, pass_invocation
from twistedproxy.cli.outcomes import REFUSED
from twistedproxy.cli.output import Part, Table

if TYPE_CHECKING:
    from twistedproxy.control.types import ExplainedRequest, Explanation, Step

_HEADINGS = ("stage", "decision", "by", "where", "why")


def _moment(_context: click.Context, _parameter: click.Parameter, text: str | None) -> float | None:
    """A date and time as seconds since 1970; without a zone it is this machine's."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise click.BadParameter(f"{text!r} is not a time such as 2026-11-27T18:00 or 2026-11-27T18:00+01:00") from None


def _fields(_context: click.Context, _parameter: click.Parameter, lines: tuple[str, ...]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise click.BadParameter(f"{line!r} is not a field such as 'User-Agent: curl/8'")
        fields[name.strip()] = value.strip()
    return fields


@click.command()
@click.argument("url")
@click.option("--client", "client_address", default="127.0.0.1", metavar="IP", help="Who asks; 127.0.0.1 by default.")
@click.option("--user", default="", metavar="NAME", help="Whom the client has proved to be; nobody by default.")
@click.option(
    "--group",
    "groups",
    multiple=True,
    metavar="NAME",
    help="A group of theirs; the account's by default.",
)
@click.option("--method", default="GET", metavar="METHOD", help="GET by default.")
@click.option("--at", callback=_moment, metavar="TIME", help="When, such as 2026-11-27T18:00; now by default.")
@click.option("--listener", default="", metavar="ENDPOINT", help="An entry of downstream.listen; the first by default.")
@click.option("--field", "fields", multiple=True, callback=_fields, metavar="LINE", help="'User-Agent: curl/8'.")
@asks_the_daemon
@pass_invocation
def explain(
    invocation: Invocation,
    url: str,
    client_address: str,
    user: str,
    groups: tuple[str, ...],
    method: str,
    at: float | None,
    listener: str,
    fields: dict[str, str],
) -> None:
    """Tell what would become of a request for URL, and which rule says so.

    URL may be HOST:PORT for a tunnel. Nothing is sent there, but its name is looked up. The exit code is 1 when it
    would be refused.
    """
    from twistedproxy.control.types import Inquiry

    inquiry = Inquiry(url, client_address, user, list(groups), method, at, listener, fields)
    answer = invocation.client().explain(inquiry)
    invocation.show(answer, lambda: explanation_parts(answer))
    if not answer.allowed:
        raise SystemExit(REFUSED)


def explanation_parts(answer: Explanation) -> list[Part]:
    """What was explained, for a person."""
    parts: list[Part] = []
    for request in answer.requests:
        parts.append(Table(f"{request.method} {request.url}", _HEADINGS, [_row(step) for step in request.steps]))
        parts.append(_sum(request))
    return parts


def _row(step: Step) -> tuple[str, ...]:
    by = step.by if step.by == step.key or not step.key else f"{step.by} ({step.key})"
    return step.stage, step.decision, by, step.source, step.detail


def _sum(request: ExplainedRequest) -> str:
    by = f", by {request.rule}" if request.rule else ""
    if request.allowed:
        return f"allowed{by}"
    return f"refused: {request.status} {request.reason}{by}"

"""``pyproxyctl block``: the lists of what is blocked, and the operator's own entries."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import click

from twistedproxy.cli.figures import NOTHING, age_text, size_text
from twistedproxy.cli.invocation import GroupWithDefault, Invocation, asks_the_daemon, pass_invocation
from twistedproxy.cli.output import Facts, Part, Table

if TYPE_CHECKING:
    from twistedproxy.blocklists.state import ListState
    from twistedproxy.control.types import Finding, WhatIsBlocked

_HEADINGS: Final = ("list", "category", "does", "names", "rules", "skipped", "bad", "memory", "looked at", "next")
_FIGURES: Final = frozenset({"names", "rules", "skipped", "bad", "memory"})

_ALLOW = click.option("--allow", is_flag=True, help="The list of what is never blocked, in the place of the other.")


@click.group(cls=GroupWithDefault, default="stats")
@asks_the_daemon
def block() -> None:
    """Look at the lists of what is blocked, and edit the operator's own.

    Without a command their figures are shown.
    """


@block.command("stats")
@asks_the_daemon
@pass_invocation
def show_lists(invocation: Invocation) -> None:
    """Show the lists: how much is on them, how fresh they are, and what could not be understood."""
    answer = invocation.client().blocklists()
    invocation.show(answer, lambda: lists_parts(answer, time.time()))


@block.command("add")
@click.argument("host")
@_ALLOW
@asks_the_daemon
@pass_invocation
def add(invocation: Invocation, host: str, allow: bool) -> None:
    """Block HOST and all below it, at once and until it is removed.

    `*.HOST` is for what is below it only.
    """
    done = invocation.client().add_entry(host, allow)
    invocation.show(done, lambda: [done.detail])


@block.command("remove")
@click.argument("host")
@_ALLOW
@asks_the_daemon
@pass_invocation
def remove(invocation: Invocation, host: str, allow: bool) -> None:
    """Take HOST, which was added, from the list."""
    done = invocation.client().remove_entry(host, allow)
    invocation.show(done, lambda: [done.detail])


@block.command("test")
@click.argument("target", metavar="HOST|URL")
@asks_the_daemon
@pass_invocation
def test(invocation: Invocation, target: str) -> None:
    """Say whether a host or a URL is blocked, by which list and rule."""
    finding = invocation.client().test_lists(target)
    invocation.show(finding, lambda: finding_parts(finding))


@block.command("refresh")
@click.argument("name", required=False, default="")
@click.option("--force", is_flag=True, help="Fetch it even if it has not changed, and use it even if it has shrunk.")
@asks_the_daemon
@pass_invocation
def refresh(invocation: Invocation, name: str, force: bool) -> None:
    """Look at the list NAME again now, or at all of them."""
    done = invocation.client().refresh_lists(name, force)
    invocation.show(done, lambda: [done.detail])


def lists_parts(answer: WhatIsBlocked, now: float) -> list[Part]:
    """The lists, for a person. ``now`` is in seconds since 1970."""
    if not answer.lists:
        return ["there are no lists"]
    parts: list[Part] = [Table("", _HEADINGS, [_row(one, now) for one in answer.lists], _FIGURES)]
    for one in answer.lists:
        wrong = [f"line {fault.line}: {fault.why}: {fault.text}" for fault in one.faults]
        if one.error:
            wrong.insert(0, f"could not be refreshed: {one.error}")
        if wrong:
            parts.append(Facts([(one.name, wrong)]))
    return parts


def finding_parts(finding: Finding) -> list[Part]:
    """What the lists have on something, for a person."""
    if not finding.list:
        return ["it is not blocked"]
    facts: list[tuple[str, str | list[str]]] = [("list", finding.list), ("rule", finding.rule)]
    if finding.category:
        facts.insert(1, ("category", finding.category))
    return ["it is blocked" if finding.blocked else "it is not blocked, and a match is logged", Facts(facts)]


def _row(one: ListState, now: float) -> tuple[str, ...]:
    looked = f"{age_text(now - one.checked)} ago" if one.checked else "never"
    due = f"in {age_text(one.next - now)}" if one.next else NOTHING
    does = "allow" if one.allow else one.action
    figures = (str(one.names), str(one.rules), str(one.skipped), str(one.bad), size_text(one.memory))
    return one.name, one.category or NOTHING, does, *figures, looked, due

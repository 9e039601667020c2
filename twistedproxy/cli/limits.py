"""``pyproxyctl limits``: who is near to which limit, and that forgotten."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import click

from twistedproxy.cli.figures import NOTHING, age_text, size_text
from twistedproxy.cli.invocation import GroupWithDefault, Invocation, asks_the_daemon, pass_invocation
from twistedproxy.cli.output import Part, Table

if TYPE_CHECKING:
    from twistedproxy.control.types import LimitInForce, WhatIsLimited
    from twistedproxy.limits.state import ShareState

_LIMITS: Final = (
    *("limit", "per", "requests", "connections", "tunnels", "down", "up", "a day", "a month", "refused", "slowed"),
)
_SHARES: Final = (
    *("limit", "who", "taken", "requests", "connections", "tunnels", "waiting", "down", "up", "today", "this month"),
)
_WORDS: Final = frozenset({"limit", "per", "who"})


@click.group(cls=GroupWithDefault, default="list")
@asks_the_daemon
def limits() -> None:
    """Look at who is near to which limit, and let somebody begin anew.

    Without a command they are listed.
    """


@limits.command("list")
@click.argument("name", required=False, default="")
@click.option("--limit", "most", default=20, type=click.IntRange(1, 10_000), help="How many are listed; 20 by default.")
@asks_the_daemon
@pass_invocation
def show_limits(invocation: Invocation, name: str, most: int) -> None:
    """List the limits, or the limit NAME, and those who have taken up most of what they allow.

    100% is what may come at once, or what there may be; more is a debt, which has to be paid first.
    """
    answer = invocation.client().limits(most, name)
    invocation.show(answer, lambda: limits_parts(answer, time.time()))


@limits.command("reset")
@click.argument("name")
@click.argument("key", required=False, default="")
@asks_the_daemon
@pass_invocation
def reset(invocation: Invocation, name: str, key: str) -> None:
    """Let KEY begin anew under the limit NAME, or everybody: full buckets, and nothing used of quotas.

    KEY is what the list has as who: an address, 'user NAME', 'group NAME', 'rule NAME', all or others.
    """
    done = invocation.client().refill(name, key)
    invocation.show(done, lambda: [done.detail])


def limits_parts(answer: WhatIsLimited, now: float) -> list[Part]:
    """The limits and who is near to them, for a person. ``now`` is in seconds since 1970."""
    if not answer.limits:
        return ["there is no such limit, or none at all"]
    parts: list[Part] = [Table("", _LIMITS, [_limit(one) for one in answer.limits], frozenset(_LIMITS) - _WORDS)]
    if answer.shares:
        by_name = {one.name: one for one in answer.limits}
        rows = [_share(one, by_name.get(one.limit)) for one in answer.shares]
        parts.append(Table("", _SHARES, rows, frozenset(_SHARES) - _WORDS))
    else:
        parts.append("nobody has taken up anything")
    if any(one.daily for one in answer.limits):
        parts.append(f"the day ends in {age_text(answer.day_ends - now)}")
    if any(one.monthly for one in answer.limits):
        parts.append(f"the month ends in {age_text(answer.month_ends - now)}")
    return parts


def _limit(one: LimitInForce) -> tuple[str, ...]:
    requests = f"{one.requests_per_second:g}/s, {one.burst:g} at once" if one.requests_per_second else NOTHING
    rates = (f"{size_text(rate)}/s" if rate else NOTHING for rate in (one.download, one.upload))
    quotas = (size_text(quota) if quota else NOTHING for quota in (one.daily, one.monthly))
    counts = (str(count) if count else NOTHING for count in (one.connections, one.tunnels))
    per = one.per if one.everybody else f"{one.per}, by rule"
    return one.name, per, requests, *counts, *rates, *quotas, str(one.refusals), str(one.slowings)


def _share(one: ShareState, limit: LimitInForce | None) -> tuple[str, ...]:
    def part(share: float, wanted: float) -> str:
        return f"{share:.0%}" if wanted else NOTHING

    def of(count: int, most: int) -> str:
        return f"{count}/{most}" if most else str(count)

    def left(used: int, quota: int) -> str:
        return f"{size_text(used)}, {size_text(max(0, quota - used))} left" if quota else NOTHING

    if limit is None:
        # It has gone in this moment.
        return one.limit, one.key, *[NOTHING] * (len(_SHARES) - 2)
    return (
        one.limit,
        one.key,
        f"{one.taken:.0%}",
        part(one.requests, limit.requests_per_second),
        of(one.connections, limit.connections),
        of(one.tunnels, limit.tunnels),
        str(one.waiting),
        part(one.download, limit.download),
        part(one.upload, limit.upload),
        left(one.today, limit.daily),
        left(one.in_month, limit.monthly),
    )

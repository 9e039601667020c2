"""``pyproxyctl learned``: which clients do not take the proxy's certificates, and that forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from twistedproxy.cli.figures import age_text
from twistedproxy.cli.invocation import Invocation, asks_the_daemon, pass_invocation
from twistedproxy.cli.output import Part, Table

if TYPE_CHECKING:
    from twistedproxy.control.types import WhatWasLearned
    from twistedproxy.record.learned import Learned

_EVERY: Final = "*"
_HEADINGS: Final = ("client", "host", "refusals", "left alone", "for", "worker")
_FIGURES: Final = frozenset({"refusals", "for", "worker"})


@click.command()
@click.option("--host", metavar="HOST", help="Only this host.")
@click.option("--clear", is_flag=False, flag_value=_EVERY, metavar="[HOST]", help="Forget it, for HOST or for all.")
@asks_the_daemon
@pass_invocation
def learned(invocation: Invocation, host: str | None, clear: str | None) -> None:
    """List the clients that refuse the proxy's certificates.

    Those that have done so often enough are left alone: their tunnels to that host are not looked into.
    """
    client = invocation.client()
    if clear is None:
        answer = client.learned(host or "")
        invocation.show(answer, lambda: learned_parts(answer))
        return
    if host is not None:
        raise click.UsageError("--clear takes the host itself: --clear HOST")
    done = client.forget_learned("" if clear == _EVERY else clear)
    invocation.show(done, lambda: [done.detail])


def learned_parts(answer: WhatWasLearned) -> list[Part]:
    """What was learned, for a person."""
    if not answer.learned:
        return ["nothing was learned"]
    return [Table("", _HEADINGS, [_row(one) for one in answer.learned], _FIGURES)]


def _row(one: Learned) -> tuple[str, ...]:
    left_alone = "yes" if one.left_alone else "no"
    return one.client, one.host, str(one.times), left_alone, age_text(one.seconds), str(one.worker)

"""What changes how the daemon runs, and whether it does: reload, drain, upgrade, log-level, health, metrics."""

from __future__ import annotations

import os
import select
import time
from typing import TYPE_CHECKING, Final, cast

import click

from twistedproxy.cli.invocation import Invocation, asks_the_daemon, pass_invocation, seconds
from twistedproxy.cli.outcomes import REFUSED, ControlError, NotReached, Silent
from twistedproxy.cli.output import show_json

if TYPE_CHECKING:
    from twistedproxy.cli.client import Client
    from twistedproxy.control.types import Level, Status

LEVELS: Final = ("debug", "info", "warn", "error", "critical")
"""The levels of the operational log, by the API."""

_ASK_AGAIN: Final = 0.2
"""Seconds between two looks at whether a daemon has gone whose process cannot be watched."""


@click.command()
@asks_the_daemon
@pass_invocation
def reload(invocation: Invocation) -> None:
    """Read the settings again and go by them.

    Settings with a mistake change nothing, and each mistake is named.
    """
    answer = invocation.client().reload()
    invocation.show(answer, lambda: [answer.detail])


@click.command()
@click.option(
    "--timeout",
    metavar="DURATION",
    type=seconds(),
    help="How long what is under way may go on; by default service.drain_timeout.",
)
@click.option("--wait", is_flag=True, help="Return when the process has gone.")
@asks_the_daemon
@pass_invocation
def drain(invocation: Invocation, timeout: float | None, wait: bool) -> None:
    """Stop accepting, let what is under way end, then stop."""
    client = invocation.client()
    if not wait:
        answer = client.drain(timeout)
    else:
        departure = Departure(client, client.status())
        try:
            answer = client.drain(timeout)
            departure.await_it()
        finally:
            departure.close()
    invocation.show(answer, lambda: ["it has ended" if wait else answer.detail])


class Departure:
    """The end of a daemon's process, to be waited for.

    The kernel tells when a process ends, and without a chance to mistake a later one for it. That is only of use when
    its number means the same here as there: in a container it does not, and then the API is asked until it is gone.
    """

    def __init__(self, client: Client, status: Status) -> None:
        self._client = client
        self._pid = status.pid
        self._started = status.started
        self._process = -1
        if client.peer == status.pid and hasattr(os, "pidfd_open"):
            try:
                self._process = os.pidfd_open(status.pid)
            except OSError:
                pass  # a kernel without it, or gone already

    def __repr__(self) -> str:
        return f"<Departure of {self._pid}{' watched' if self._process >= 0 else ''}>"

    def await_it(self) -> None:
        """Return when the process has gone."""
        if self._process >= 0:
            select.select([self._process], [], [])
            return
        while self._is_there():
            time.sleep(_ASK_AGAIN)

    def _is_there(self) -> bool:
        try:
            status = self._client.status()
        except NotReached as error:
            return isinstance(error, Silent)
        except ControlError:
            return True  # it is about to end, or did while it was asked
        return (status.pid, status.started) == (self._pid, self._started)

    def close(self) -> None:
        """Watch no longer."""
        if self._process >= 0:
            os.close(self._process)
            self._process = -1


@click.command()
@asks_the_daemon
@pass_invocation
def upgrade(invocation: Invocation) -> None:
    """Hand over to the version that is installed now.

    It starts on the same sockets, then this one drains. When it does not become ready, this one goes on as it was.
    """
    answer = invocation.client().upgrade()
    invocation.show(answer, lambda: [answer.detail])


@click.command("log-level")
@click.argument("level", required=False, type=click.Choice(LEVELS))
@asks_the_daemon
@pass_invocation
def log_level(invocation: Invocation, level: str | None) -> None:
    """Show or set the LEVEL of the operational log.

    What is set holds until the next reload.
    """
    client = invocation.client()
    answer = client.log_level() if level is None else client.set_log_level(cast("Level", level))
    invocation.show(answer, lambda: [answer.level])


@click.command()
@asks_the_daemon
@pass_invocation
def health(invocation: Invocation) -> None:
    """Check whether the daemon takes new connections.

    The exit code is 0 when it does, 1 when it does not, 4 when it does not run: for the health check of a container.
    """
    is_ready, answer = invocation.client().readiness()
    invocation.show(answer, lambda: [answer.status])
    if not is_ready:
        raise SystemExit(REFUSED)


@click.command()
@asks_the_daemon
@pass_invocation
def metrics(invocation: Invocation) -> None:
    """Print the numbers as Prometheus reads them.

    With --json they are those of the status.
    """
    client = invocation.client()
    if invocation.json:
        show_json(client.status().statistics)
    else:
        click.echo(client.metrics(), nl=False)

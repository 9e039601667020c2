"""What every command has: where the daemon is, how long to wait for it, and in which form to print.

These options are taken before the command's name and after it, since people write them in either place.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from twistedproxy.cli.output import Part, show, show_json

if TYPE_CHECKING:
    from twistedproxy.cli.client import Client

F = TypeVar("F", bound=Callable[..., Any])

LONGEST: Final = 86400.0
"""Seconds; the API waits no longer for anything."""


def seconds(least: float = 0.0) -> Callable[[str], float]:
    """What reads an option's duration: a number of seconds, or one with a unit, and not less than ``least``."""

    def read(text: str) -> float:
        # Imported here: it comes with all of the settings.
        from twistedproxy.settings.quantities import parse_duration

        try:
            value = parse_duration(f"{text}s" if text[-1:].isdigit() else text)
        except ValueError:
            raise click.BadParameter(f"{text!r} is not a duration such as 10, 500ms, 30s or 5m") from None
        if not least <= value <= LONGEST:
            raise click.BadParameter(f"{text!r} is not from {least:g}s to {LONGEST:g}s")
        return value

    return read


class Invocation:
    """What was said about the daemon and the output, before the command and after it."""

    def __init__(self) -> None:
        self.socket = ""
        self.answer_timeout: float | None = None
        self.json = False

    def __repr__(self) -> str:
        return f"<Invocation socket={self.socket!r} json={self.json}>"

    def client(self) -> Client:
        """The API of the daemon that is meant."""
        # Imported here, so that --help and completion need not wait for it.
        from twistedproxy.cli.client import Client, sockets

        return Client(sockets(os.environ, os.geteuid() == 0, self.socket), self.answer_timeout)

    def show(self, answer: object, parts: Callable[[], Sequence[Part]]) -> None:
        """Print ``answer`` as JSON where that is wanted, else the ``parts``."""
        if self.json:
            show_json(answer)
        else:
            show(parts())


pass_invocation = click.make_pass_decorator(Invocation, ensure=True)


def _note(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Keep what was given; what was said last goes."""
    invocation = context.ensure_object(Invocation)
    if value and parameter.name:
        setattr(invocation, parameter.name, value)


def _option(*declarations: str, **attributes: Any) -> Callable[[F], F]:
    return click.option(*declarations, expose_value=False, callback=_note, **attributes)


_SOCKET = _option(
    "--socket",
    metavar="PATH",
    type=click.Path(),
    help="The daemon's socket; else the environment's PYPROXY_CONTROL_SOCKET, else looked for where it may be.",
)
_ANSWER_TIMEOUT = _option(
    "--answer-timeout",
    metavar="DURATION",
    type=seconds(0.001),
    help="How long to wait for each answer, such as 2s; by default 10s, and 2m where that takes work.",
)
_JSON = _option("--json", is_flag=True, help="Print the API's answer as JSON.")


def asks_the_daemon(command: F) -> F:
    """Give ``command`` the options that say where the daemon is and how to print its answer."""
    return _SOCKET(_ANSWER_TIMEOUT(_JSON(command)))


class GroupWithDefault(click.Group):
    """Commands of which one is meant where none is named."""

    def __init__(self, *arguments: Any, default: str, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self._default = default

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Put the default command's name where a command's name is missing."""
        named = any(one in self.commands for one in args) or args[:1] in ([one] for one in context.help_option_names)
        # Completion parses a beginning, after which any command may follow.
        if not named and not (context.resilient_parsing and not args):
            args = [self._default, *args]
        return super().parse_args(context, args)

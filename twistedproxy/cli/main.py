"""``pyproxyctl``: all commands together, the completion scripts, and how a run ends."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import click

from twistedproxy import __version__
from twistedproxy.cli.block import block
from twistedproxy.cli.ca import ca
from twistedproxy.cli.connections import connections
from twistedproxy.cli.environment import env
from twistedproxy.cli.explain import explain
from twistedproxy.cli.invocation import Invocation, asks_the_daemon
from twistedproxy.cli.learned import learned
from twistedproxy.cli.lifecycle import drain, health, log_level, metrics, reload, upgrade
from twistedproxy.cli.limits import limits
from twistedproxy.cli.outcomes import EXIT_CODES, UNEXPECTED, ControlError, Refused
from twistedproxy.cli.output import show_error, show_json
from twistedproxy.cli.passwd import passwd
from twistedproxy.cli.settings import settings
from twistedproxy.cli.status import status

PROGRAM: Final = "pyproxyctl"
SHELLS: Final = ("bash", "zsh", "fish")

_COMPLETION_VARIABLE: Final = "_PYPROXYCTL_COMPLETE"
_EXIT_CODES: Final = "\n".join(["\b", "Exit codes:", *(f"  {code}  {meaning}" for code, meaning in EXIT_CODES)])


class Later(click.Command):
    """A command of `twistedproxy.cli.installing`, which takes as long to import as all the others together."""

    def make_context(self, *arguments: Any, **more: Any) -> click.Context:
        """Begin to run it."""
        from twistedproxy.cli import installing

        command: click.Command = getattr(installing, (self.name or "").replace("-", "_"))
        return command.make_context(*arguments, **more)


class Commands(click.Group):
    """All commands; what goes wrong in one of them is said in a line, and the exit code tells its kind."""

    def invoke(self, context: click.Context) -> Any:
        """Run the command that was named."""
        try:
            return super().invoke(context)
        except ControlError as error:
            invocation = context.find_object(Invocation)
            if isinstance(error, Refused) and invocation is not None and invocation.json:
                from twistedproxy.control.types import Problem

                show_json(Problem(error.title, error.status, error.detail, problems=error.problems))
            show_error(error.lines)
            raise SystemExit(error.exit_code) from None


@click.group(
    cls=Commands,
    epilog=_EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.version_option(__version__, prog_name=PROGRAM)
@asks_the_daemon
def commands() -> None:
    """Look at a running pyproxy and steer it."""


@commands.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    bash, zsh:  eval "$(pyproxyctl completion bash)" in ~/.bashrc, or zsh in ~/.zshrc
    fish:       pyproxyctl completion fish > ~/.config/fish/completions/pyproxyctl.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"click knows no completion for {shell}")
    click.echo(kind(commands, {}, PROGRAM, _COMPLETION_VARIABLE).source())


for _command in (
    *(status, connections, settings, explain, reload, drain, upgrade),
    *(log_level, health, metrics, ca, learned, block, limits, env, passwd),
):
    commands.add_command(_command)

commands.add_command(Later("install-service", help="Make the proxy a service of systemd."))
commands.add_command(Later("uninstall-service", help="Stop the service and remove all that install-service has made."))


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run ``arguments``, by default those of the process, and exit."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal of another character set gets escapes, not a traceback.
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")
    try:
        commands.main(
            None if arguments is None else list(arguments), prog_name=PROGRAM, complete_var=_COMPLETION_VARIABLE
        )
    except Exception:
        import traceback

        show_error(["this is a fault of pyproxyctl itself; please report it with what follows"])
        traceback.print_exc()
        raise SystemExit(UNEXPECTED) from None
    raise SystemExit(0)

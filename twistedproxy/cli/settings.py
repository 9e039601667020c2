"""``pyproxyctl settings``: what is in force and why, and what another file would come to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from twistedproxy.cli.invocation import GroupWithDefault, Invocation, asks_the_daemon, pass_invocation
from twistedproxy.cli.outcomes import REFUSED
from twistedproxy.cli.output import Part, Table, show_error

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from twistedproxy.control.types import Candidate, Setting, SettingsInForce, Verdict

_DEFAULT = "default"
_STANDARD_INPUT = "-"


def complete_key(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str | CompletionItem]:
    """The keys that begin as what was typed."""
    from twistedproxy.settings.keys import keys

    return [key for key in keys() if key.startswith(incomplete)]


@click.group(cls=GroupWithDefault, default="show")
@asks_the_daemon
def settings() -> None:
    """Show the settings in force, judge a file, or go by one.

    Without a command they are shown: `pyproxyctl settings upstream`.
    """


@settings.command("show")
@click.option("--changed", is_flag=True, help="Only those that are not the default.")
@click.argument("keys", metavar="[KEY]...", nargs=-1, shell_complete=complete_key)
@asks_the_daemon
@pass_invocation
def show_settings(invocation: Invocation, changed: bool, keys: tuple[str, ...]) -> None:
    """Show the settings in force and where each comes from.

    A KEY is one setting, such as log.level, or a table, such as log.
    """
    answer = invocation.client().settings()
    unknown = [key for key in keys if not any(_is_meant(one, key) for one in answer.settings)]
    answer.settings = [
        one
        for one in answer.settings
        if (not changed or one.source != _DEFAULT) and (not keys or any(_is_meant(one, key) for key in keys))
    ]
    if unknown:
        show_error([f"no setting or table of settings is called {key}" for key in unknown])
        raise SystemExit(REFUSED)
    invocation.show(answer, lambda: settings_parts(answer))


@settings.command("validate")
@click.argument("file", required=False, type=click.Path())
@asks_the_daemon
@pass_invocation
def validate_settings(invocation: Invocation, file: str | None) -> None:
    """Judge FILE; nothing changes.

    `-` is the standard input. Without FILE it is the settings file as it is on the disk now.
    """
    verdict = invocation.client().validate(candidate_of(file))
    _conclude(invocation, verdict, ["the settings are valid"])


@settings.command("diff")
@click.argument("file", required=False, type=click.Path())
@asks_the_daemon
@pass_invocation
def diff_settings(invocation: Invocation, file: str | None) -> None:
    """Show what FILE would change; nothing changes.

    `-` is the standard input. Without FILE it is the settings file as it is on the disk now.
    """
    verdict = invocation.client().diff(candidate_of(file))
    _conclude(invocation, verdict, _changes(verdict, "nothing would change"))


@settings.command("apply")
@click.argument("file", type=click.Path())
@click.option("--persist", is_flag=True, help="Write it to the daemon's settings file, too.")
@asks_the_daemon
@pass_invocation
def apply_settings(invocation: Invocation, file: str, persist: bool) -> None:
    """Go by FILE from now on, as a reload would.

    `-` is the standard input. Without --persist the next reload goes back to the settings file.
    """
    verdict = invocation.client().apply(candidate_of(file, persist))
    done = "the settings are in force" + (" and in the settings file" if persist else "")
    _conclude(invocation, verdict, [done, *_changes(verdict, "nothing has changed")])


def candidate_of(file: str | None, persist: bool = False) -> Candidate:
    """What ``file`` holds, as something to send; wrong usage when it cannot be read."""
    from twistedproxy.control.types import Candidate

    if file is None:
        return Candidate(persist=persist)
    try:
        with click.open_file(file, "rb") as opened:
            return Candidate(opened.read().decode(), persist)
    except OSError as error:
        raise click.UsageError(f"{file} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        name = "the standard input" if file == _STANDARD_INPUT else file
        raise click.UsageError(f"{name} is not text in UTF-8: byte {error.start} is not") from None


def settings_parts(answer: SettingsInForce) -> list[Part]:
    """The settings, for a person."""
    # Imported here: it comes with all of the settings.
    from twistedproxy.settings.keys import keys
    from twistedproxy.settings.spelling import toml_value

    if not answer.settings:
        return ["all settings have their defaults"]
    known = keys()

    def spelled(one: Setting) -> str:
        # A newer daemon may have keys that are not known here.
        value = tuple(one.value) if isinstance(one.value, list) else one.value
        return known[one.key].kind.spell(value) if one.key in known else toml_value(one.value)

    rows = [(one.key, spelled(one), one.source) for one in answer.settings]
    return [Table("", ("key", "value", "from"), rows)]


def _is_meant(setting: Setting, key: str) -> bool:
    return setting.key == key or setting.key.startswith(f"{key}.")


def _changes(verdict: Verdict, none: str) -> list[Part]:
    if not verdict.changes:
        return [none]
    rows = [(one.key, one.running, one.candidate, one.source) for one in verdict.changes]
    return [Table("", ("key", "before", "after", "from"), rows)]


def _conclude(invocation: Invocation, verdict: Verdict, good: list[Part]) -> None:
    """Show ``verdict``, by ``good`` when it is, and end as it says."""
    warnings = [f"warning: {one}" for one in verdict.warnings]
    bad: list[Part] = ["the settings are not valid:", *(f"  {problem}" for problem in verdict.problems)]
    invocation.show(verdict, lambda: [*(good if verdict.valid else bad), *warnings])
    if not verdict.valid:
        raise SystemExit(REFUSED)

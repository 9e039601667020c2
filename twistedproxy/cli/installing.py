"""``install-service`` and ``uninstall-service``: the proxy as a service of systemd, in one command and back."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from twistedproxy.settings.load import DEFAULT, Loaded
from twistedproxy.settings.problems import SettingsError
from twistedproxy.settings.sources import Sources
from twistedproxy.systemd.installation import Wanted, installation
from twistedproxy.systemd.layout import Layout, system_layout, under, user_layout
from twistedproxy.systemd.program import Program, service_of, this_program
from twistedproxy.systemd.removal import removal
from twistedproxy.systemd.steps import InstallationError, Run, RunCommand, Step, shown, take
from twistedproxy.systemd.units import UNIT

_BOOTED: Final = Path("/run/systemd/system")
"""There when systemd is the system's init (sd_booted(3))."""

_CREDENTIAL: Final = re.compile(r"([A-Za-z0-9_.-]{1,64}):(/[^:]*)")

Credentials = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What the commands see of the machine, and do to it."""

    root: Path
    environment: Mapping[str, str]
    is_root: bool
    has_systemd: bool
    has_account: Callable[[str], bool]
    run: Run
    program: Callable[[], Program]

    def layout(self, system: bool | None) -> Layout:
        """Where things lie; root's commands are for the system unless they say otherwise."""
        if self.is_root if system is None else system:
            return system_layout()
        return user_layout(self.environment)


def this_machine() -> Machine:
    """The machine that this runs on."""
    return Machine(
        root=Path("/"),
        environment=os.environ,
        is_root=os.geteuid() == 0,
        has_systemd=_BOOTED.is_dir() and shutil.which("systemctl") is not None,
        has_account=_has_account,
        run=_run,
        program=this_program,
    )


def _has_account(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _run(command: Sequence[str]) -> tuple[int, str]:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    return done.returncode, done.stdout


def _credentials(_context: click.Context, _parameter: click.Parameter, given: Iterable[str]) -> Credentials:
    found = []
    for one in given:
        match = _CREDENTIAL.fullmatch(one)
        if match is None:
            raise click.ClickException(f"--credential takes NAME:PATH with an absolute path, not {one!r}")
        found.append((match[1], match[2]))
    return tuple(found)


_scope = click.option(
    "--system/--user",
    "system",
    default=None,
    help="For the whole machine, as an account of its own; or for you alone. root's default is --system, yours --user.",
)
_dry_run = click.option("--dry-run", is_flag=True, help="Show the steps and the files, and do nothing.")


@click.command("install-service")
@_scope
@click.option(
    "--socket-activation",
    is_flag=True,
    help="Let systemd hold the addresses of downstream.listen, so that clients wait, and are not refused, while the "
    "proxy starts anew. A port below 1024 then needs no capability.",
)
@click.option(
    "--credential",
    "credentials",
    multiple=True,
    metavar="NAME:PATH",
    callback=_credentials,
    help="A secret for the service: it finds root's file PATH as NAME in $CREDENTIALS_DIRECTORY. Can be given more "
    "than once.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="The settings file. By default pyproxy.toml in /etc/twistedproxy or $XDG_CONFIG_HOME/twistedproxy, which is "
    "written when there is none.",
)
@_dry_run
@click.option("--start/--no-start", default=True, show_default=True, help="Start it now, not only at the next boot.")
def install_service(
    system: bool | None,
    socket_activation: bool,
    credentials: Credentials,
    config: Path | None,
    dry_run: bool,
    start: bool,
) -> None:
    """Make the proxy a service of systemd.

    Writes the units, log rotation and an account for it, and settings where there are none; then enables and starts
    it. Running it again brings all of that up to date, and never touches settings that are there. uninstall-service
    takes everything away again.
    """
    machine = this_machine()
    layout = machine.layout(system)
    if layout.system and not machine.is_root and not dry_run:
        raise click.ClickException("only root can install a service for the system: use sudo, or --user")
    try:
        program = machine.program()
        path = Path(os.path.abspath(config)) if config is not None else layout.settings
        loaded = _settings(machine, path, must_exist=config is not None)
        wanted = Wanted(
            layout=layout,
            service=service_of(
                loaded.settings,
                program,
                layout,
                config=path,
                socket_activation=socket_activation,
                credentials=credentials,
            ),
            program=program,
            says_access_log=loaded.sources["log.access"] != DEFAULT,
            start=start,
            has_account=machine.has_account,
            root=machine.root,
        )
        left = _take(machine, installation(wanted), dry_run)
    except BrokenPipeError:
        # Whoever reads what is said has read enough, which click takes care of.
        raise
    except (InstallationError, OSError) as error:
        raise click.ClickException(str(error)) from None
    if left:
        click.echo("Everything is written. There is no systemd that runs here, so this is left for you:")
        for command in left:
            click.echo(f"    {command}")
    elif not dry_run:
        click.echo(f"{UNIT} is {'installed and started' if start else 'installed'}.")


@click.command("uninstall-service")
@_scope
@click.option(
    "--purge",
    is_flag=True,
    help="Also remove settings and changes of the units that you have made, which are kept else.",
)
@_dry_run
def uninstall_service(system: bool | None, purge: bool, dry_run: bool) -> None:
    """Stop the service and remove all that install-service has made.

    That is the units, log rotation, the account, and the directories of logs and state with what is in them.
    """
    machine = this_machine()
    layout = machine.layout(system)
    if layout.system and not machine.is_root and not dry_run:
        raise click.ClickException("only root can remove a service of the system: use sudo, or --user")
    try:
        steps = removal(layout, purge=purge, root=machine.root)
        _take(machine, steps, dry_run)
    except BrokenPipeError:
        # Whoever reads what is said has read enough, which click takes care of.
        raise
    except (InstallationError, OSError) as error:
        raise click.ClickException(str(error)) from None
    if not steps:
        click.echo(f"Nothing is installed: there is no {layout.manifest}.")
    elif not dry_run:
        click.echo(f"{UNIT} is removed.")


def _settings(machine: Machine, path: Path, *, must_exist: bool) -> Loaded:
    """The settings that the service will have: its file's and drop-ins', and the defaults where there are none yet."""
    found = under(machine.root, path)
    try:
        # The environment is that of whoever installs it, and not the service's.
        return Sources(str(found), needed=must_exist, environment={}).load()
    except SettingsError as error:
        first, *others = str(error).splitlines()
        more = f" (and {len(others)} more: see twistd pyproxy --check)" if others else ""
        raise InstallationError(first + more) from None


def _take(machine: Machine, steps: Sequence[Step], dry_run: bool) -> list[RunCommand]:
    if dry_run:
        for line in shown(steps):
            click.echo(line)
        return []
    return take(steps, run=machine.run, say=click.echo, root=machine.root, systemd=machine.has_systemd)

"""The plan by which the proxy becomes a service; what the machine has already is looked at, and nothing is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from twistedproxy.systemd.layout import Layout, under
from twistedproxy.systemd.manifest import Manifest, digest, manifest_text, read_manifest
from twistedproxy.systemd.program import Program
from twistedproxy.systemd.steps import (
    InstallationError,
    MakeDirectory,
    Note,
    Remove,
    RunCommand,
    Step,
    WriteFile,
)
from twistedproxy.systemd.units import (
    ACCESS_LOG,
    ACCOUNT,
    UNIT,
    Service,
    access_log_settings,
    account_file,
    logrotate_file,
    service_unit,
    settings_template,
    socket_unit,
)

SERVICE_UNIT: Final = f"{UNIT}.service"
SOCKET_UNIT: Final = f"{UNIT}.socket"
ACCESS_LOG_DROP_IN: Final = "00-access-log.toml"

WRITE_PLUGIN_CACHE: Final = (
    "from twisted.application.service import IServiceMaker; from twisted.plugin import getPlugins; "
    "list(getPlugins(IServiceMaker))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be installed.

    ``says_access_log`` is whether the settings in effect say where the access log goes. ``has_account`` tells whether
    an account of a name exists.
    """

    layout: Layout
    service: Service
    program: Program
    says_access_log: bool
    start: bool
    has_account: Callable[[str], bool]
    root: Path = Path("/")

    def exists(self, path: Path) -> bool:
        return under(self.root, path).exists()


def installation(wanted: Wanted) -> list[Step]:
    """The steps. `InstallationError` when there is something in the way, or the units cannot be written."""
    layout = wanted.layout
    earlier = read_manifest(under(wanted.root, layout.manifest)) or Manifest()
    files = [*_account(wanted, earlier), *_units(wanted), *_logrotate(layout)]
    settings = list(_settings(wanted))
    _refuse_strangers(wanted, earlier, files)
    written = [file.path for file in (*files, *settings)]
    directories = list(_missing_directories(wanted, [*written, layout.manifest]))
    caches = [str(path) for path in wanted.program.caches if not wanted.exists(path) or str(path) in earlier.files]
    units = [file.path.name for file in files if file.path.parent == layout.units]
    manifest = Manifest(
        files=(*(str(file.path) for file in files), *caches),
        # What was written once stays the installation's to remove.
        settings={**earlier.settings, **{str(file.path): digest(file.content.encode()) for file in settings}},
        directories=tuple(dict.fromkeys((*earlier.directories, *(str(step.path) for step in directories)))),
        units=tuple(units),
        account=ACCOUNT if any(file.path == layout.account for file in files) else "",
    )
    record = WriteFile(layout.manifest, manifest_text(manifest), "what uninstall-service has to remove", 0o600)
    return [
        *directories,
        record,
        *_no_longer(wanted, earlier, manifest),
        *files,
        *settings,
        *_commands(wanted, earlier, manifest),
        *_notes(wanted, files),
    ]


def _account(wanted: Wanted, earlier: Manifest) -> Iterator[WriteFile]:
    path = wanted.layout.account
    if path is not None and (earlier.account or not wanted.has_account(ACCOUNT)):
        yield WriteFile(path, account_file(), f"the account {ACCOUNT}, for systemd-sysusers")


def _units(wanted: Wanted) -> Iterator[WriteFile]:
    directory = wanted.layout.units
    try:
        yield WriteFile(directory / SERVICE_UNIT, service_unit(wanted.service), "the service")
        if wanted.service.socket_activation:
            yield WriteFile(
                directory / SOCKET_UNIT, socket_unit(wanted.service), "the sockets that systemd holds for it"
            )
    except ValueError as error:
        raise InstallationError(str(error)) from error


def _logrotate(layout: Layout) -> Iterator[WriteFile]:
    if layout.logrotate is not None:
        yield WriteFile(layout.logrotate, logrotate_file(), "how logrotate rotates the access log")


def _settings(wanted: Wanted) -> Iterator[WriteFile]:
    layout = wanted.layout
    log = ACCESS_LOG if layout.system else None
    if Path(wanted.service.config) != layout.settings:
        return
    if not wanted.exists(layout.settings):
        yield WriteFile(layout.settings, settings_template(log), "settings to begin with: every key, with its default")
    elif log and not wanted.says_access_log:
        why = "where the access log goes, since the settings do not say"
        yield WriteFile(layout.drop_ins / ACCESS_LOG_DROP_IN, access_log_settings(log), why)


def _refuse_strangers(wanted: Wanted, earlier: Manifest, files: Iterable[WriteFile]) -> None:
    """Nothing is written over that somebody else has put there."""
    for file in files:
        found = under(wanted.root, file.path)
        if str(file.path) not in earlier.files and found.exists() and found.read_bytes() != file.content.encode():
            raise InstallationError(f"{file.path} is there already, and not from install-service: move it away first")


def _missing_directories(wanted: Wanted, paths: Iterable[Path]) -> Iterator[MakeDirectory]:
    made: set[Path] = set()
    for path in paths:
        missing = [parent for parent in path.parents if parent not in made and not wanted.exists(parent)]
        for parent in reversed(missing):
            made.add(parent)
            yield MakeDirectory(parent, f"for {path.name}", 0o755 if wanted.layout.system else 0o700)


def _no_longer(wanted: Wanted, earlier: Manifest, manifest: Manifest) -> Iterator[Step]:
    """What an earlier installation has made and this one does without."""
    systemctl = wanted.layout.systemctl
    for unit in earlier.units:
        if unit not in manifest.units:
            why = "it is not wanted any more"
            yield RunCommand((*systemctl, "disable", "--now", unit), why, required=False, systemd=True)
    for file in earlier.files:
        if file not in manifest.files:
            yield Remove(Path(file), "it is not wanted any more")


def _commands(wanted: Wanted, earlier: Manifest, manifest: Manifest) -> Iterator[RunCommand]:
    layout = wanted.layout
    if manifest.account:
        yield RunCommand(("systemd-sysusers", str(layout.account)), f"makes the account {ACCOUNT}")
    yield RunCommand(
        (str(wanted.program.python), "-P", "-c", WRITE_PLUGIN_CACHE),
        "lets Twisted write down its plugins, which the service may not",
        required=False,
    )
    yield RunCommand((*layout.systemctl, "daemon-reload"), "lets systemd read the units", systemd=True)
    if wanted.start and SERVICE_UNIT in earlier.units and SOCKET_UNIT in set(manifest.units) - set(earlier.units):
        why = "closes its own sockets, since systemd does not open its beside them"
        yield RunCommand((*layout.systemctl, "stop", SERVICE_UNIT), why, systemd=True)
    now = ("--now",) if wanted.start else ()
    # The sockets go first: the service takes them, and would be started by them anyway.
    units = sorted(manifest.units, key=lambda unit: unit != SOCKET_UNIT)
    why = "starts it now and at every boot" if wanted.start else "starts it at every boot"
    yield RunCommand((*layout.systemctl, "enable", *now, *units), why, systemd=True)


def _notes(wanted: Wanted, files: Iterable[WriteFile]) -> Iterator[Note]:
    layout, service = wanted.layout, wanted.service
    systemctl = " ".join(layout.systemctl)
    for file in files:
        if file.path.parent == layout.units and wanted.exists(file.path):
            found = under(wanted.root, file.path).read_bytes()
            if found != file.content.encode():
                yield Note(f"A proxy that runs already goes by the new units after: {systemctl} restart {UNIT}")
                break
    if layout.system and Path(service.config) != layout.settings and not wanted.says_access_log:
        yield Note(f"The access log goes to the journal: for a file, set log.access to {ACCESS_LOG}")
    if not layout.system:
        yield Note("It runs while you are logged in; for longer: loginctl enable-linger")
        if service.privileged_ports:
            ports = " and ".join(map(str, service.privileged_ports))
            yield Note(
                f"A user's service cannot listen on port {ports}: install it with --system, or use one from 1024 on"
            )
    yield Note(f"The settings are in {service.config}; after a change: {systemctl} reload {UNIT}")

"""The plan by which the service goes away again, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from twistedproxy.systemd.layout import Layout, under
from twistedproxy.systemd.manifest import Manifest, digest, read_manifest
from twistedproxy.systemd.steps import Note, Remove, RunCommand, Step


def removal(layout: Layout, *, purge: bool, root: Path = Path("/")) -> list[Step]:
    """The steps; none when nothing is installed. ``purge`` also removes what the operator has written.

    Raises `InstallationError` when it cannot be found out what was installed.
    """
    manifest = read_manifest(under(root, layout.manifest))
    if manifest is None:
        return []
    return [
        *_units(layout, manifest, purge, root),
        *(Remove(Path(file), "install-service wrote it") for file in manifest.files),
        *(Remove(link, "it led to a unit") for link in layout.links),
        RunCommand((*layout.systemctl, "daemon-reload"), "lets systemd forget the units", required=False, systemd=True),
        *(Remove(path, "what the service has kept", whole=True) for path in layout.kept),
        *_settings(layout, manifest, purge, root),
        *_account(manifest),
        Remove(layout.manifest, "nothing that it names is left"),
        *(Remove(Path(one), "install-service made it", empty=True) for one in reversed(manifest.directories)),
    ]


def _units(layout: Layout, manifest: Manifest, purge: bool, root: Path) -> Iterator[Step]:
    if manifest.units:
        # The sockets too in one command, so that no client wakes the service meanwhile.
        command = (*layout.systemctl, "disable", "--now", *manifest.units)
        yield RunCommand(command, "stops it, after its drain", required=False, systemd=True)
        forget = (*layout.systemctl, "reset-failed", *manifest.units)
        yield RunCommand(forget, "forgets its failures", required=False, systemd=True)
    for unit in manifest.units:
        drop_ins = layout.units / f"{unit}.d"
        if not under(root, drop_ins).exists():
            continue
        if purge:
            yield Remove(drop_ins, "your changes of the unit", whole=True)
        else:
            yield Note(f"{drop_ins}/ has changes of yours, and is kept: --purge removes it too")


def _settings(layout: Layout, manifest: Manifest, purge: bool, root: Path) -> Iterator[Step]:
    for name, written in manifest.settings.items():
        path = Path(name)
        found = under(root, path)
        if purge or not found.exists():
            yield Remove(path, "the settings")
        elif digest(found.read_bytes()) == written:
            yield Remove(path, "the settings, in which nothing was changed")
        else:
            yield Note(f"{path} has been changed since it was written, and is kept: --purge removes it too")
    if purge:
        yield Remove(layout.drop_ins, "the settings beside it", whole=True)


def _account(manifest: Manifest) -> Iterator[Step]:
    if manifest.account:
        yield RunCommand(("userdel", manifest.account), "the account that install-service made", required=False)
        # Where userdel leaves it.
        yield RunCommand(("groupdel", manifest.account), "its group", required=False)

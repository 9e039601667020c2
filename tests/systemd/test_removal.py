"""Removing: nothing is left but what the operator has written."""

from __future__ import annotations

import pytest

from tests.systemd.recorded import RecordedMachine
from twistedproxy.systemd.removal import removal
from twistedproxy.systemd.steps import InstallationError

SETTINGS = "/etc/twistedproxy/pyproxy.toml"


def run_it(machine: RecordedMachine) -> None:
    """What systemd and the proxy leave behind when the service has run."""
    for directory in machine.layout.kept:
        machine.write(directory / "something", "kept")
    machine.write(machine.layout.units / "pyproxy.service.d" / "override.conf", "[Service]\nNice=1\n")
    for link in machine.layout.links:
        machine.path(link).parent.mkdir(parents=True)
        machine.path(link).symlink_to(machine.layout.units / link.name)
    machine.write("/opt/twistedproxy/dropin.cache", "plugins")


@pytest.mark.parametrize("scope", ["system", "user"])
def test_nothing_is_left(scope: str, request: pytest.FixtureRequest) -> None:
    machine: RecordedMachine = request.getfixturevalue(scope)
    before = machine.files()
    machine.install(activated=True)
    run_it(machine)
    machine.commands.run.clear()
    machine.uninstall(purge=True)
    left = [path for path in machine.files() if not path.endswith((".wants", "/opt/twistedproxy"))]
    # The directories of systemd's and of the machine's remain.
    assert [path for path in left if path not in before and machine.path(path).is_file()] == []
    systemctl = " ".join(machine.layout.systemctl)
    assert machine.commands.run[:3] == [
        f"{systemctl} disable --now pyproxy.service pyproxy.socket",
        f"{systemctl} reset-failed pyproxy.service pyproxy.socket",
        f"{systemctl} daemon-reload",
    ]
    assert machine.commands.run[3:] == (["userdel pyproxy", "groupdel pyproxy"] if scope == "system" else [])


def test_as_before(system: RecordedMachine) -> None:
    """The service has never run."""
    before = system.files()
    system.install()
    system.uninstall()
    assert system.files() == before


def test_what_the_operator_has_changed_stays(system: RecordedMachine) -> None:
    system.install()
    run_it(system)
    system.write(SETTINGS, "[log]\n")
    system.uninstall()
    assert system.read(SETTINGS) == "[log]\n"
    assert system.path("/etc/systemd/system/pyproxy.service.d/override.conf").exists()
    assert f"{SETTINGS} has been changed since it was written, and is kept: --purge removes it too" in system.said
    assert (
        "/etc/systemd/system/pyproxy.service.d/ has changes of yours, and is kept: --purge removes it too"
        in system.said
    )
    assert not system.path(system.layout.manifest).exists()
    assert not system.path("/var/log/twistedproxy").exists()


def test_purge_takes_it_too(system: RecordedMachine) -> None:
    system.install()
    system.write(SETTINGS, "[log]\n")
    system.write("/etc/twistedproxy/pyproxy.d/10-mine.toml", "")
    system.uninstall(purge=True)
    assert not system.path("/etc/twistedproxy").exists()


def test_account_of_somebody_else_stays(system: RecordedMachine) -> None:
    system.accounts.add("pyproxy")
    system.install()
    system.uninstall()
    assert not any("userdel" in command for command in system.commands.run)


def test_nothing_is_installed(system: RecordedMachine) -> None:
    assert removal(system.layout, purge=True, root=system.root) == []
    system.install()
    system.uninstall()
    assert removal(system.layout, purge=True, root=system.root) == []


def test_record_that_cannot_be_used(system: RecordedMachine) -> None:
    system.write(system.layout.manifest, "{")
    with pytest.raises(InstallationError, match="is no record of an installation"):
        removal(system.layout, purge=False, root=system.root)


def test_commands_that_fail_do_not_stop_it(system: RecordedMachine) -> None:
    system.install()
    system.commands.answers["systemctl"] = (1, "System has not been booted with systemd")
    system.commands.missing.update({"userdel", "groupdel"})
    system.uninstall()
    assert not system.path(system.layout.manifest).exists()

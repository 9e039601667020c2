"""Installing: what is written and run, a second time too, and what is in the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.systemd.recorded import RecordedMachine
from twistedproxy.settings.load import load
from twistedproxy.systemd.installation import WRITE_PLUGIN_CACHE, installation
from twistedproxy.systemd.manifest import read_manifest
from twistedproxy.systemd.steps import InstallationError, RunCommand, WriteFile

CACHE_COMMAND = f"/opt/twistedproxy/bin/python -P -c {WRITE_PLUGIN_CACHE}"
SETTINGS = "/etc/twistedproxy/pyproxy.toml"
DROP_IN = "/etc/twistedproxy/pyproxy.d/00-access-log.toml"
UNIT = "/etc/systemd/system/pyproxy.service"


def test_system(system: RecordedMachine) -> None:
    assert system.install() == []
    assert system.files() == [
        "/etc/logrotate.d/pyproxy",
        UNIT,
        "/etc/sysusers.d/pyproxy.conf",
        SETTINGS,
        "/run",
        "/var/lib/twistedproxy-install.json",
        "/var/log",
    ]
    assert system.commands.run == [
        "systemd-sysusers /etc/sysusers.d/pyproxy.conf",
        CACHE_COMMAND,
        "systemctl daemon-reload",
        "systemctl enable --now pyproxy.service",
    ]
    assert load(system.read(SETTINGS), "file").settings.log.access == "/var/log/twistedproxy/access.log"
    assert system.path("/var/lib/twistedproxy-install.json").stat().st_mode & 0o777 == 0o600
    assert system.said[-1] == f"The settings are in {SETTINGS}; after a change: systemctl reload pyproxy"


def test_user(user: RecordedMachine) -> None:
    user.install(start=False)
    assert user.files() == [
        "/me/.config/systemd/user/pyproxy.service",
        "/me/.config/twistedproxy/pyproxy.toml",
        "/me/.local/state/twistedproxy-install.json",
    ]
    assert user.commands.run == [
        CACHE_COMMAND,
        "systemctl --user daemon-reload",
        "systemctl --user enable pyproxy.service",
    ]
    assert load(user.read("/me/.config/twistedproxy/pyproxy.toml"), "file").settings.log.access == ""
    assert user.path("/me/.config").stat().st_mode & 0o777 == 0o700
    assert "It runs while you are logged in; for longer: loginctl enable-linger" in user.said


def test_second_time_changes_nothing(system: RecordedMachine) -> None:
    system.install()
    manifest = read_manifest(system.path(system.layout.manifest))
    system.said.clear()
    # By now it has settings, and they say it.
    system.install(says_access_log=True)
    assert [line for line in system.said if line.startswith(("wrote", "made", "removed"))] == []
    assert read_manifest(system.path(system.layout.manifest)) == manifest


def test_socket_activation_comes_and_goes(system: RecordedMachine) -> None:
    system.install()
    system.commands.run.clear()
    system.install(activated=True)
    assert system.commands.run[-3:] == [
        "systemctl daemon-reload",
        "systemctl stop pyproxy.service",
        "systemctl enable --now pyproxy.socket pyproxy.service",
    ]
    assert "ListenStream=127.0.0.1:8080" in system.read("/etc/systemd/system/pyproxy.socket")
    assert "A proxy that runs already goes by the new units after: systemctl restart pyproxy" in system.said
    system.commands.run.clear()
    system.install()
    assert system.commands.run[0] == "systemctl disable --now pyproxy.socket"
    assert not system.path("/etc/systemd/system/pyproxy.socket").exists()


def test_settings_that_are_there_stay(system: RecordedMachine) -> None:
    text = "[downstream]\nmax_fields = 64\n"
    system.write(SETTINGS, text)
    system.install()
    assert system.read(SETTINGS) == text
    # They do not say where the access log goes, and the journal is no place for it.
    assert load(system.read(DROP_IN), "file").settings.log.access == "/var/log/twistedproxy/access.log"
    # Again, when they say it by the very drop-in.
    system.install(says_access_log=True)
    assert system.path(DROP_IN).exists()
    system.uninstall()
    assert system.read(SETTINGS) == text
    assert not system.path(DROP_IN).parent.exists()


def test_settings_that_say_it_get_no_drop_in(system: RecordedMachine) -> None:
    system.write(SETTINGS, '[log]\naccess = "off"\n')
    system.install(says_access_log=True)
    assert not system.path(DROP_IN).exists()


def test_settings_elsewhere(system: RecordedMachine) -> None:
    system.install(config="/srv/proxy.toml")
    assert not system.path(SETTINGS).exists()
    assert not system.path(DROP_IN).exists()
    assert "--config /srv/proxy.toml" in system.read(UNIT)
    assert any("for a file, set log.access to /var/log/twistedproxy/access.log" in line for line in system.said)


def test_account_that_is_there(system: RecordedMachine) -> None:
    system.accounts.add("pyproxy")
    system.install()
    assert not system.path("/etc/sysusers.d/pyproxy.conf").exists()
    manifest = read_manifest(system.path(system.layout.manifest))
    assert manifest is not None
    assert manifest.account == ""


def test_plugin_cache_that_is_there_is_not_ours(system: RecordedMachine) -> None:
    system.write("/opt/twistedproxy/dropin.cache", "old")
    system.install()
    system.uninstall()
    assert system.path("/opt/twistedproxy/dropin.cache").exists()


def test_unit_of_somebody_else(system: RecordedMachine) -> None:
    system.write(UNIT, "[Service]\n")
    before = system.files()
    with pytest.raises(InstallationError) as raised:
        system.install()
    assert str(raised.value) == f"{UNIT} is there already, and not from install-service: move it away first"
    assert system.files() == before
    assert system.commands.run == []


def test_without_systemd_the_commands_are_left(system: RecordedMachine) -> None:
    system.systemd = False
    left = system.install()
    assert list(map(str, left)) == ["systemctl daemon-reload", "systemctl enable --now pyproxy.service"]
    assert system.path(UNIT).exists()


def test_failure_says_what_and_can_be_undone(system: RecordedMachine) -> None:
    before = system.files()
    system.commands.answers["systemctl enable"] = (1, "Job for pyproxy.service failed.\nSee the journal.\n")
    with pytest.raises(InstallationError) as raised:
        system.install()
    assert str(raised.value) == "systemctl enable --now pyproxy.service failed: See the journal."
    system.uninstall()
    assert system.files() == before


def test_plan_does_nothing_and_explains_itself(system: RecordedMachine) -> None:
    before = system.files()
    steps = installation(system.wanted())
    assert system.files() == before
    record = next(number for number, step in enumerate(steps) if isinstance(step, WriteFile))
    written = steps[record]
    # The record of what there is to remove goes before all that.
    assert isinstance(written, WriteFile)
    assert written.path == system.layout.manifest
    assert all(step.why for step in steps if isinstance(step, RunCommand | WriteFile))


def test_units_that_cannot_be_written(system: RecordedMachine) -> None:
    with pytest.raises(InstallationError, match="control characters"):
        installation(system.wanted(config="/etc/a\nUser=root"))


def test_privileged_port_of_a_user(user: RecordedMachine) -> None:
    wanted = user.wanted()
    object.__setattr__(wanted.service, "listen", ("tcp:80",))
    assert "cannot listen on port 80" in str(installation(wanted))


def test_plugin_cache_is_written(tmp_path: Path) -> None:
    """The command itself, in the interpreter of the tests."""
    import subprocess
    import sys

    from twistedproxy.systemd.program import this_program

    done = subprocess.run([sys.executable, "-P", "-c", WRITE_PLUGIN_CACHE], cwd=tmp_path, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert any(cache.exists() for cache in this_program().caches)

"""The units: what stands in them, and what systemd's own tools say of them."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from twistedproxy.settings.load import DEFAULT, load
from twistedproxy.systemd.units import (
    ACCESS_LOG,
    Service,
    access_log_settings,
    account_file,
    logrotate_file,
    quoted,
    service_unit,
    settings_template,
    socket_unit,
    specified,
)

EXPOSURE = 2.0
"""The most that ``systemd-analyze security`` may say."""

HOME = "/" + "home/alice/proxy"


def service(**different: Any) -> Service:
    usual = {
        "twistd": "/opt/twistedproxy/bin/twistd",
        "config": "/etc/twistedproxy/pyproxy.toml",
        "listen": ("tcp:8080",),
    }
    return Service(**{**usual, **different})


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "privileged": {"listen": ("tcp:80", "tls:/etc/keys")},
    "activated": {"listen": ("tcp:80", r"tcp6:81:interface=\:\:1"), "socket_activation": True},
    "everything": {
        "listen": ("tcp:8080", "tcp:0", "unix:/run/twistedproxy/a.sock:mode=660", "unix:/run/b.sock:mode=606"),
        "socket_activation": True,
        "drain": 3600.5,
        "credentials": (("api-token", "/etc/keys/token"), ("tls.key", "/etc/keys/100%")),
        "code": (HOME, "/opt/twistedproxy", "/tmp/a b"),
        "writable": ("/srv/logs", "/srv/more logs"),
    },
    "user": {"system": False, "listen": ("tcp:8080",)},
    "activated_user": {"system": False, "socket_activation": True, "listen": ("tcp:8080", "unix:/run/a.sock")},
}


def values(unit: str, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", unit, re.MULTILINE)


def analyze(tmp_path: Path, *arguments: str) -> str:
    """What systemd-analyze says, which must be well."""
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(["systemd-analyze", *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def written(variant: str, directory: Path) -> list[str]:
    """The unit files of a variant, with a program that is there."""
    twistd = directory / "twistd"
    twistd.touch(0o755)
    made = service(**{**VARIANTS[variant], "twistd": str(twistd)})
    (directory / "pyproxy.service").write_text(service_unit(made))
    if made.socket_activation:
        (directory / "pyproxy.socket").write_text(socket_unit(made))
    return [str(path) for path in sorted(directory.glob("pyproxy.*"))]


@pytest.mark.parametrize("variant", VARIANTS)
def test_systemd_finds_no_fault(variant: str, tmp_path: Path) -> None:
    manager = "--user" if "user" in variant else "--system"
    assert analyze(tmp_path, manager, "verify", *written(variant, tmp_path)) == ""


@pytest.mark.parametrize("variant", [name for name in VARIANTS if "user" not in name])
def test_exposure(variant: str, tmp_path: Path) -> None:
    written(variant, tmp_path)
    said = analyze(tmp_path, "security", "--offline=true", "--no-pager", str(tmp_path / "pyproxy.service"))
    found = re.search(r"Overall exposure level for pyproxy.service: ([0-9.]+)", said)
    assert found is not None, said
    assert float(found[1]) <= EXPOSURE


def test_how_it_runs() -> None:
    unit = service_unit(service())
    assert values(unit, "Type") == ["notify"]
    assert values(unit, "NotifyAccess") == ["all"]
    assert values(unit, "ExecStart") == [
        "/opt/twistedproxy/bin/twistd --nodaemon --pidfile= pyproxy --config /etc/twistedproxy/pyproxy.toml"
    ]
    assert values(unit, "ExecReload") == ["/bin/kill -HUP $MAINPID"]
    assert values(unit, "KillMode") == ["mixed"]
    assert values(unit, "Restart") == ["on-failure"]
    assert values(unit, "User") == values(unit, "Group") == ["pyproxy"]
    for directory in ("State", "Logs", "Runtime", "Configuration"):
        assert values(unit, f"{directory}Directory") == ["twistedproxy"]
    assert values(unit, "WantedBy") == ["multi-user.target"]


@pytest.mark.parametrize(("drain", "stop"), [(0.0, "15"), (30.0, "45"), (0.25, "16"), (3600.0, "3615")])
def test_stop_is_longer_than_the_drain(drain: float, stop: str) -> None:
    assert values(service_unit(service(drain=drain)), "TimeoutStopSec") == [stop]


@pytest.mark.parametrize(
    ("listen", "activated", "capabilities"),
    [
        (("tcp:8080",), False, ""),
        (("tcp:0", "unix:/run/a.sock"), False, ""),
        (("tcp:8080", "tcp6:1023"), False, "CAP_NET_BIND_SERVICE"),
        (("tls:/etc/keys",), False, "CAP_NET_BIND_SERVICE"),
        (("tcp:80",), True, ""),
        # The socket unit cannot hold the second.
        (("tcp:8080", "tcp:80:interface=proxy.example"), True, "CAP_NET_BIND_SERVICE"),
    ],
)
def test_capability_for_low_ports_only(listen: tuple[str, ...], activated: bool, capabilities: str) -> None:
    unit = service_unit(service(listen=listen, socket_activation=activated))
    assert values(unit, "CapabilityBoundingSet") == values(unit, "AmbientCapabilities") == [capabilities]
    # In a user namespace of its own it would have no power over the system's ports.
    assert values(unit, "PrivateUsers") == ([] if capabilities else ["yes"])


def test_tls_needs_callbacks_made_at_run_time() -> None:
    """pyOpenSSL's callbacks are cffi's, which want memory that is written and executed."""
    assert values(service_unit(service()), "MemoryDenyWriteExecute") == ["no"]


def test_program_in_a_home() -> None:
    unit = service_unit(service(code=(HOME, "/opt/twistedproxy", "/tmp/a b")))
    assert values(unit, "ProtectHome") == ["tmpfs"]
    assert values(unit, "BindReadOnlyPaths") == [f'{HOME} "/tmp/a b"']
    unit = service_unit(service(code=("/opt/twistedproxy", "/homely")))
    assert values(unit, "ProtectHome") == ["yes"]
    assert values(unit, "BindReadOnlyPaths") == []


def test_places_to_write() -> None:
    assert values(service_unit(service(writable=("/srv/a", "/srv/b c"))), "ReadWritePaths") == ['-/srv/a -"/srv/b c"']
    assert values(service_unit(service()), "ReadWritePaths") == []


def test_credentials() -> None:
    unit = service_unit(service(credentials=(("a", "/etc/a"), ("b", "/etc/100%"))))
    assert values(unit, "LoadCredential") == ["a:/etc/a", "b:/etc/100%%"]


def test_users_unit() -> None:
    unit = service_unit(service(system=False, config=f"{HOME}/pyproxy.toml"))
    assert values(unit, "WantedBy") == ["default.target"]
    # A user's systemd fails on what needs a capability.
    for name in ("User", "CapabilityBoundingSet", "PrivateDevices", "ProtectKernelModules", "ProtectClock"):
        assert values(unit, name) == []
    assert "systemctl --user edit pyproxy.service" in unit
    assert values(unit, "LogsDirectory") == []


def test_socket_unit() -> None:
    unit = socket_unit(service(**VARIANTS["everything"]))
    assert values(unit, "ListenStream") == ["0.0.0.0:8080", "/run/twistedproxy/a.sock", "/run/b.sock"]
    assert values(unit, "FileDescriptorName") == ["pyproxy"]
    assert values(unit, "Backlog") == ["1024"]
    # The tightest of the two.
    assert values(unit, "SocketMode") == ["0600"]
    assert values(unit, "SocketUser") == ["pyproxy"]
    assert "# The proxy opens this one itself: tcp:0" in unit
    unit = service_unit(service(**VARIANTS["everything"]))
    assert values(unit, "Requires") == values(unit, "Also") == ["pyproxy.socket"]
    assert values(unit, "RuntimeDirectoryPreserve") == ["yes"]
    assert values(socket_unit(service(listen=("tcp:1:backlog=5",))), "Backlog") == ["5"]


@pytest.mark.parametrize("listen", [(), ("tcp:0", "onion:80"), ("systemd:domain=INET:name=web",)])
def test_socket_unit_without_sockets(listen: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="none of the endpoints in"):
        socket_unit(service(listen=listen))


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("/opt/a-b_c.d/bin/twistd", "/opt/a-b_c.d/bin/twistd"),
        ("--pidfile=", "--pidfile="),
        ("/opt/a b", '"/opt/a b"'),
        ("/opt/100%", "/opt/100%%"),
        ("/opt/$HOME", '"/opt/$$HOME"'),
        ('/opt/"a"', '"/opt/\\"a\\""'),
        ("/opt/a\\b", '"/opt/a\\\\b"'),
        ("", '""'),
        (";", '";"'),
    ],
)
def test_words_of_a_command_line(word: str, expected: str) -> None:
    assert quoted(word) == expected


@pytest.mark.parametrize("text", ["/opt/a\nUser=root", "\0", "\x1b"])
def test_nothing_adds_a_line(text: str) -> None:
    with pytest.raises(ValueError, match="control characters"):
        specified(text)
    with pytest.raises(ValueError, match="control characters"):
        service_unit(service(config=text))


def test_odd_paths_are_what_systemd_runs(tmp_path: Path) -> None:
    odd = tmp_path / "a b;100%n {c}"
    odd.mkdir()
    (odd / "twistd").touch(0o755)
    (odd / "pyproxy.service").write_text(service_unit(service(twistd=str(odd / "twistd"))))
    assert analyze(tmp_path, "verify", str(odd / "pyproxy.service")) == ""


@pytest.mark.parametrize("character", "\"'$\\")
def test_path_that_systemd_does_not_run(character: str) -> None:
    with pytest.raises(ValueError, match="systemd runs no program with quotes"):
        service_unit(service(twistd=f"/opt/{character}/twistd"))


def test_logrotate() -> None:
    text = logrotate_file()
    assert text.count("{") == text.count("}") == 1
    assert f"{os.path.dirname(ACCESS_LOG)}/*.log {{" in text
    assert "systemctl kill --kill-whom=main --signal=USR1 pyproxy.service" in text


def test_account(tmp_path: Path) -> None:
    """systemd's own tool makes the account of it."""
    (tmp_path / "etc").mkdir()
    file = tmp_path / "pyproxy.conf"
    file.write_text(account_file())
    subprocess.run(["systemd-sysusers", f"--root={tmp_path}", str(file)], check=True, capture_output=True)
    (line,) = (line for line in (tmp_path / "etc/passwd").read_text().splitlines() if line.startswith("pyproxy:"))
    assert line.split(":")[4:] == ["twistedproxy", "/var/lib/twistedproxy", "/usr/sbin/nologin"]


def test_template_is_the_defaults() -> None:
    loaded = load(settings_template(), "template")
    assert set(loaded.sources.values()) == {DEFAULT}
    assert "\n[downstream]\n" in settings_template()
    assert '\n#listen = ["tcp:8080:interface=127.0.0.1"]\n' in settings_template()


def test_template_without_its_marks_is_the_defaults_too() -> None:
    uncommented = re.sub(r"^#(?=\S)", "", settings_template(), flags=re.MULTILINE)
    loaded = load(uncommented, "template")
    assert DEFAULT not in set(loaded.sources.values())
    assert loaded.settings == load("", "nothing").settings


def test_access_log() -> None:
    for text in (settings_template(ACCESS_LOG), access_log_settings(ACCESS_LOG)):
        loaded = load(text, "file")
        assert loaded.settings.log.access == ACCESS_LOG
        assert [path for path, source in loaded.sources.items() if source != DEFAULT] == ["log.access"]

"""``pyproxyctl env``: what each shell takes, and the files that the variables name."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.cli.api import API, answer
from tests.cli.samples import SETTINGS, STATUS
from twistedproxy.cli import environment
from twistedproxy.cli.environment import SHELLS, system_bundle
from twistedproxy.control.types import Setting, SettingsInForce
from twistedproxy.portal.variables import ADDING, BUNDLE, CERTIFICATE, REPLACING

SYSTEM = "-----BEGIN CERTIFICATE-----\nsystem\n-----END CERTIFICATE-----"
OURS = "-----BEGIN CERTIFICATE-----\nours\n-----END CERTIFICATE-----\n"


@pytest.fixture
def listening(api: API, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets where the daemon listens; the system's certificates are one made-up file."""

    def listen(addresses: list[str], described: list[str | int]) -> None:
        api.answers["GET", "/api/v1/status"] = answer(msgspec.structs.replace(STATUS, listeners=addresses))
        setting = Setting("downstream.listen", described, "default")
        api.answers["GET", "/api/v1/settings"] = answer(SettingsInForce(1, "", [*SETTINGS.settings, setting]))

    api.answers["GET", "/api/v1/ca/certificate?format=pem"] = answer(OURS, kind="application/x-pem-file")
    (tmp_path / "system.pem").write_text(SYSTEM)
    monkeypatch.setattr(environment, "SYSTEM_BUNDLES", ("/nowhere", str(tmp_path / "system.pem")))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    listen(["127.0.0.1:8080"], ["tcp:8080:interface=127.0.0.1"])
    return listen


def found(run: Callable[..., Any], *arguments: str) -> dict[str, str]:
    ended = run("env", "--json", *arguments)
    assert (ended.code, ended.err) == (0, "")
    variables: dict[str, str] = json.loads(ended.out)
    return variables


def test_variables(listening: Callable[..., None], run: Callable[..., Any], tmp_path: Path) -> None:
    variables = found(run)
    place = tmp_path / "data" / "twistedproxy"
    url = "http://127.0.0.1:8080"
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        assert variables.pop(name) == url
    for name in ("no_proxy", "NO_PROXY"):
        assert variables.pop(name) == "localhost,127.0.0.1,::1"
    assert variables.pop("NODE_USE_ENV_PROXY") == "1"
    expected = dict.fromkeys(ADDING, str(place / CERTIFICATE)) | dict.fromkeys(REPLACING, str(place / BUNDLE))
    assert variables == expected
    assert (place / CERTIFICATE).read_text() == OURS
    assert (place / BUNDLE).read_text() == f"{SYSTEM}\n{OURS}"
    assert {path.name for path in place.iterdir()} == {CERTIFICATE, BUNDLE}
    assert [stat.S_IMODE(path.stat().st_mode) for path in place.iterdir()] == [0o644, 0o644]


@pytest.mark.parametrize(
    ("addresses", "described", "url"),
    [
        (["0.0.0.0:3128"], ["tcp:3128"], "http://127.0.0.1:3128"),
        (["[::]:3128"], ["tcp6:3128"], "http://[::1]:3128"),
        (["[2001:db8::1]:80"], ["tcp6:80:interface=2001\\:db8\\:\\:1"], "http://[2001:db8::1]:80"),
        (["/run/proxy.sock", "192.0.2.7:8443"], ["unix:/run/proxy.sock", "ssl:8443"], "https://192.0.2.7:8443"),
        (["127.0.0.1:1", "127.0.0.1:2"], ["tls:x"], "http://127.0.0.1:1"),
    ],
)
def test_where_the_proxy_is(
    listening: Callable[..., None], run: Callable[..., Any], addresses: list[str], described: list[str], url: str
) -> None:
    listening(addresses, described)
    assert found(run)["https_proxy"] == url


def test_proxy_that_is_named(listening: Callable[..., None], run: Callable[..., Any]) -> None:
    listening(["/run/proxy.sock"], ["unix:/run/proxy.sock"])
    ended = run("env")
    assert (ended.code, ended.out) == (2, "")
    assert "no listener with an address and a port: name it with --proxy URL" in ended.err
    assert found(run, "--proxy", "http://proxy.test:8080")["http_proxy"] == "http://proxy.test:8080"


def test_without_the_systems_certificates(
    listening: Callable[..., None], run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle of ours alone would leave programs without trust in any other server."""
    monkeypatch.setattr(environment, "SYSTEM_BUNDLES", ("/nowhere", str(tmp_path)))
    ended = run("env")
    assert ended.err == (
        "pyproxyctl: the system's certificates were not found: the variables that replace them are left out\n"
    )
    assert [name for name in REPLACING if name in ended.out] == []
    assert "NODE_EXTRA_CA_CERTS" in ended.out


def test_systems_certificates() -> None:
    assert system_bundle(()) is None
    assert system_bundle(("/nowhere", __file__)) == Path(__file__)


def test_directory(listening: Callable[..., None], run: Callable[..., Any], tmp_path: Path) -> None:
    variables = found(run, "--directory", str(tmp_path / "here"))
    assert variables["SSL_CERT_FILE"] == str(tmp_path / "here" / BUNDLE)
    ended = run("env", "--directory", str(tmp_path / "system.pem" / "below"))
    assert ended.code == 2
    assert "cannot be written: Not a directory" in ended.err


AWKWARD = 'http://it\'s.test/ "$(x)" `y` \\ %z'


def test_shells_take_it(listening: Callable[..., None], run: Callable[..., Any]) -> None:
    script = run("env", "--proxy", AWKWARD).out
    for shell in filter(shutil.which, ("sh", "bash", "dash", "zsh", "ksh")):
        done = subprocess.run(
            [shell, "-c", f'{script}\nprintf %s "$https_proxy"'], capture_output=True, text=True, timeout=50
        )
        assert (done.stdout, done.stderr) == (AWKWARD, "")


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("sh", "export a='it'\"'\"'s \\'"),
        ("fish", "set -gx a 'it\\'s \\\\'"),
        ("powershell", "$env:a = 'it''s \\'"),
    ],
)
def test_quoting(shell: str, line: str) -> None:
    assert SHELLS[shell]("a", "it's \\") == line


@pytest.mark.parametrize(("shell", "start"), [("fish", "set -gx http_proxy '"), ("powershell", "$env:http_proxy = '")])
def test_other_shells(shell: str, start: str, listening: Callable[..., None], run: Callable[..., Any]) -> None:
    assert run("env", "--shell", shell).out.startswith(start)


def test_on_a_terminal(
    listening: Callable[..., None], run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "on_terminal", lambda: True)
    place = tmp_path / "data" / "twistedproxy" / BUNDLE
    assert run("env").err == f"{place} is {tmp_path}/system.pem and the authority, as they are now\n"


def test_failed_writing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        environment.write(tmp_path / "a" / "file", b"x")
    assert list((tmp_path / "a").iterdir()) == []

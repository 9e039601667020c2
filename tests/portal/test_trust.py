"""The instructions: each system has some, and no name of an authority breaks a command."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest
import trustme

from twistedproxy.portal.trust import CER, PEM, SYSTEMS, instructions


@pytest.mark.parametrize("system", SYSTEMS)
def test_steps(system: str) -> None:
    steps = instructions("CN=twistedproxy CA 12ab34cd", [system])[system]
    # It begins with the file that the other steps use, and ends with the way back.
    file = CER if system in ("windows", "android", "ios") else PEM
    assert SYSTEMS[system].file == file
    assert steps[0] == f"pyproxyctl ca export --format {'cer' if file == CER else 'pem'} {file}"
    assert any(file in step for step in steps[1:])
    assert steps[-1].startswith("to undo: ")
    assert [step for step in steps if "{" in step or "}" in step] == []


def test_the_file_is_carried_to_what_cannot_fetch_it() -> None:
    assert [name for name, system in SYSTEMS.items() if system.carrying] == ["android", "ios"]
    assert instructions("CN=a", ["ios"])["ios"][1] == SYSTEMS["ios"].carrying


@pytest.mark.parametrize("system", ["debian", "fedora", "alpine", "macos", "chromium", "java"])
def test_commands_are_shell(system: str) -> None:
    named = SYSTEMS[system].named("CN=it's $(mine); `me`,O=x")
    commands = [step.text for step in (*named.steps, named.undo) if step.is_command]
    done = subprocess.run(["bash", "-n"], input="\n".join(commands), capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (0, "")
    if system in ("macos", "chromium"):
        assert any("it's $(mine); `me`" in shlex.split(one) for one in commands)


@pytest.mark.parametrize(
    ("there", "used"),
    [
        ([], ".local/share/pki/nssdb"),
        ([".local/share/pki/nssdb"], ".local/share/pki/nssdb"),
        ([".pki/nssdb"], ".pki/nssdb"),
        ([".pki/nssdb", ".local/share/pki/nssdb"], ".pki/nssdb"),
    ],
)
def test_chromium_has_a_database_in_either_of_two_places(tmp_path: Path, there: list[str], used: str) -> None:
    """The commands do what they say, also before Chromium has ever been started."""

    def shell(*commands: str) -> str:
        environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
        how = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True, "timeout": 50}
        return subprocess.run(["sh", "-e", "-c", "\n".join(commands)], check=True, **how).stdout

    for directory in there:
        (tmp_path / directory).mkdir(parents=True)
    trustme.CA().cert_pem.write_to_path(str(tmp_path / PEM))
    told = SYSTEMS["chromium"].named("CN=it's mine")
    shell(*(step.text for step in told.steps if step.is_command))
    listed = f"certutil -d sql:{used} -L"
    assert "it's mine" in shell(listed)
    shell(f"{told.undo.text} || true")
    assert "it's mine" not in shell(listed)


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        ("CN=a", "a"),
        ("O=x,CN=a b", "'a b'"),
        ("CN=a\\,b,O=x", "a,b"),
        ("CN=a+O=x", "a"),
        ("O=only", "O=only"),
    ],
)
def test_common_name(subject: str, name: str) -> None:
    assert f" -n {name} -i " in "\n".join(instructions(subject, ["chromium"])["chromium"])


def test_windows_gets_a_harmless_name() -> None:
    steps = instructions('CN=a" & del *', ["windows"])["windows"]
    assert steps[-1] == 'to undo: certutil -delstore Root "a  del "'

"""``pyproxyctl settings``."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.cli.api import API, answer, problem
from tests.cli.samples import SETTINGS
from twistedproxy.control.types import Change, Verdict

PLAIN = """\
key                   value               from
log.level             "info"              default
log.format            "json"              /etc/twistedproxy/pyproxy.toml:9
access.connect_ports  [443, "8000-8999"]  --set
upstream.pool         true                default
"""
GOOD = Verdict(True, [], [Change("log.level", '"info"', '"debug"', "pyproxy.toml:3")], ["anybody may use it"])
BAD = Verdict(False, ["line 3: log.levle is unknown; log.level?", "line 9: \x1b"], [], [])
TEXT = '[log]\nlevel = "debug" # ☃\n'


@pytest.fixture
def shown(api: API) -> API:
    api.answers["GET", "/api/v1/settings"] = answer(SETTINGS)
    return api


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "candidate.toml"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.mark.parametrize("arguments", [("settings",), ("settings", "show")])
def test_show(arguments: tuple[str, ...], shown: API, run: Callable[..., Any]) -> None:
    ended = run(*arguments)
    assert ended.out == PLAIN
    assert (ended.code, ended.err) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        ((), ["log.level", "log.format", "access.connect_ports", "upstream.pool"]),
        (("--changed",), ["log.format", "access.connect_ports"]),
        (("log",), ["log.level", "log.format"]),
        (("log.level", "upstream"), ["log.level", "upstream.pool"]),
        (("--changed", "log"), ["log.format"]),
        (("--changed", "upstream"), []),
    ],
)
def test_some_of_them(arguments: tuple[str, ...], keys: list[str], shown: API, run: Callable[..., Any]) -> None:
    ended = run("settings", "--json", *arguments)
    assert ended.code == 0
    given = json.loads(ended.out)
    assert [one["key"] for one in given["settings"]] == keys
    assert (given["generation"], given["file"]) == (3, "/etc/twistedproxy/pyproxy.toml")


def test_all_of_them_as_json(shown: API, run: Callable[..., Any]) -> None:
    assert run("settings", "show", "--json").out == msgspec.json.encode(SETTINGS).decode() + "\n"


def test_none_changed(shown: API, run: Callable[..., Any]) -> None:
    assert run("settings", "show", "--changed", "upstream").out == "all settings have their defaults\n"


def test_unknown_key(shown: API, run: Callable[..., Any]) -> None:
    ended = run("settings", "log", "lo", "log.leve\x1b")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == (
        "pyproxyctl: no setting or table of settings is called lo\n"
        "no setting or table of settings is called log.leve\\x1b\n"
    )


@pytest.mark.parametrize(
    ("command", "first"),
    [
        ("validate", "the settings are valid\n"),
        ("diff", 'key        before  after    from\nlog.level  "info"  "debug"  pyproxy.toml:3\n'),
        ("apply", "the settings are in force\n\nkey        before  after    from\n"),
    ],
)
def test_candidate(command: str, first: str, api: API, run: Callable[..., Any], file: Path) -> None:
    api.answers["POST", f"/api/v1/settings/{command}"] = answer(GOOD)
    ended = run("settings", command, str(file))
    assert ended.code == 0
    assert ended.out.startswith(first)
    assert ended.out.endswith("warning: anybody may use it\n")
    assert json.loads(api.requests[0][2]) == {"toml": TEXT, "persist": False}
    assert run("settings", command, str(file), "--json").out == msgspec.json.encode(GOOD).decode() + "\n"


@pytest.mark.parametrize("command", ["validate", "diff", "apply"])
@pytest.mark.parametrize("status", [200, 422])
def test_candidate_that_is_not_valid(command: str, status: int, api: API, run: Callable[..., Any], file: Path) -> None:
    api.answers["POST", f"/api/v1/settings/{command}"] = answer(BAD, status)
    ended = run("settings", command, str(file))
    assert (ended.code, ended.err) == (1, "")
    assert ended.out == ("the settings are not valid:\n  line 3: log.levle is unknown; log.level?\n  line 9: \\x1b\n")
    ended = run("settings", command, str(file), "--json")
    assert (ended.code, msgspec.json.decode(ended.out, type=Verdict)) == (1, BAD)


@pytest.mark.parametrize("command", ["validate", "diff"])
def test_what_is_on_the_disk(command: str, api: API, run: Callable[..., Any]) -> None:
    api.answers["POST", f"/api/v1/settings/{command}"] = answer(Verdict(True, [], [], []))
    ended = run("settings", command)
    assert ended.code == 0
    assert ended.out in ("the settings are valid\n", "nothing would change\n")
    assert json.loads(api.requests[0][2]) == {"toml": None, "persist": False}


def test_apply_and_persist_the_standard_input(
    api: API, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    api.answers["POST", "/api/v1/settings/apply"] = answer(Verdict(True, [], [], []))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TEXT.encode())))
    ended = run("settings", "apply", "-", "--persist")
    assert (ended.code, ended.out) == (0, "the settings are in force and in the settings file\nnothing has changed\n")
    assert json.loads(api.requests[0][2]) == {"toml": TEXT, "persist": True}


def test_problem_details(api: API, run: Callable[..., Any], file: Path) -> None:
    refusal = problem("Conflict", 409, "the file cannot be written", ["a", "b\x07"])
    api.answers["POST", "/api/v1/settings/apply"] = refusal
    ended = run("settings", "apply", str(file))
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "pyproxyctl: Conflict: the file cannot be written\n  a\n  b\\x07\n"
    ended = run("settings", "apply", str(file), "--json")
    assert json.loads(ended.out) == {
        "title": "Conflict",
        "status": 409,
        "detail": "the file cannot be written",
        "problems": ["a", "b\x07"],
    }
    assert ended.code == 1


def test_files_that_cannot_be_used(
    api: API, run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "latin1").write_bytes("# é".encode("latin1"))
    for name, why in (
        (str(tmp_path / "none"), "cannot be read: No such file or directory"),
        (str(tmp_path), "cannot be read: Is a directory"),
        (str(tmp_path / "latin1"), "is not text in UTF-8: byte 2 is not"),
    ):
        ended = run("settings", "validate", name)
        assert ended.code == 2
        assert f"Error: {name} {why}" in ended.err
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff")))
    assert "Error: the standard input is not text in UTF-8" in run("settings", "apply", "-").err
    assert run("settings", "apply").code == 2
    assert api.requests == []


def test_options_before_the_command(api: API, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    api.answers["POST", "/api/v1/settings/validate"] = answer(Verdict(True, [], [], []))
    monkeypatch.delenv("PYPROXY_CONTROL_SOCKET")
    ended = run("settings", "--socket", str(api.path), "validate")
    assert (ended.code, ended.out) == (0, "the settings are valid\n")


@pytest.mark.parametrize(
    ("arguments", "usage"),
    [
        (("--help",), "settings [OPTIONS] COMMAND [ARGS]..."),
        (("log", "--help"), "settings show [OPTIONS] [KEY]..."),
        (("--changed", "-h"), "settings show [OPTIONS] [KEY]..."),
        (("diff", "-h"), "settings diff [OPTIONS] [FILE]"),
    ],
)
def test_help(arguments: tuple[str, ...], usage: str, run: Callable[..., Any]) -> None:
    ended = run("settings", *arguments)
    assert ended.code == 0
    assert ended.out.startswith(f"Usage: pyproxyctl {usage}\n")


def test_keys_are_completed(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_PYPROXYCTL_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "pyproxyctl settings show log.le")
    monkeypatch.setenv("COMP_CWORD", "3")
    assert run().out == "plain,log.level\n"
    monkeypatch.setenv("COMP_WORDS", "pyproxyctl settings ")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert run().out.split() == ["plain,apply", "plain,diff", "plain,show", "plain,validate"]

"""What every command has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from tests.cli.api import API, Silence, answer
from twistedproxy.cli.invocation import Invocation, seconds
from twistedproxy.control.types import LogLevel


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0.0), ("10", 10.0), ("1.5", 1.5), ("250ms", 0.25), ("30s", 30.0), ("5m", 300.0), ("1d", 86400.0)],
)
def test_seconds(text: str, expected: float) -> None:
    assert seconds()(text) == expected


@pytest.mark.parametrize("text", ["", "x", "-1", "10 parsecs", "nan", "inf", "\x1b", "1e400"])
def test_no_seconds(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a duration such as 10, 500ms, 30s or 5m"):
        seconds()(text)


@pytest.mark.parametrize(("text", "least"), [("2d", 0.0), ("86401", 0.0), ("0", 0.001)])
def test_seconds_out_of_bounds(text: str, least: float) -> None:
    with pytest.raises(click.BadParameter, match=f"is not from {least:g}s to 86400s"):
        seconds(least)(text)


def test_socket_before_and_after_the_command(
    api: API, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    api.answers["GET", "/api/v1/log-level"] = answer(LogLevel("warn"))
    monkeypatch.setenv("PYPROXY_CONTROL_SOCKET", str(tmp_path / "none"))
    here, none = str(api.path), str(tmp_path / "none")
    assert run("log-level").code == 4
    assert run("--socket", here, "log-level").out == "warn\n"
    assert run("log-level", "--socket", here).out == "warn\n"
    # What was said last goes.
    assert run("--socket", none, "log-level", "--socket", here).out == "warn\n"
    assert run("--socket", here, "log-level", "--socket", none).code == 4


def test_answer_timeout(api: API, run: Callable[..., Any]) -> None:
    api.answers["GET", "/api/v1/log-level"] = Silence()
    ended = run("log-level", "--answer-timeout", "20ms")
    assert (ended.code, ended.out) == (4, "")
    assert "gave no answer within 0.02 s" in ended.err


def test_repr() -> None:
    assert repr(Invocation()) == "<Invocation socket='' json=False>"

"""``docs/settings.md`` is what the types say."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from twistedproxy.settings.keys import keys, tables
from twistedproxy.settings.load import load
from twistedproxy.settings.reference import reference_markdown
from twistedproxy.settings.types import Settings

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "docs"


@pytest.fixture(scope="module")
def script() -> Any:
    """scripts/docs as a module."""
    return SimpleNamespace(**runpy.run_path(str(SCRIPT)))


def test_the_page_in_the_repository_is_current() -> None:
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == reference_markdown()


def test_every_table_and_every_key_has_its_heading() -> None:
    text = reference_markdown()
    assert re.findall(r"^### (\S+)$", text, re.MULTILINE) == list(keys())
    assert re.findall(r"^## (\w+)$", text, re.MULTILINE) == list(tables())
    for key in keys().values():
        assert f"{key.meta.description}\n\n- Value: " in text
        assert f"- Default: `{key.kind.spell(key.default)}`\n" in text


def test_the_links_lead_to_the_headings() -> None:
    assert re.findall(r"\]\(#(\w+)\)", reference_markdown()) == list(tables())


def test_the_file_at_its_end_loads_as_the_defaults() -> None:
    [text] = re.findall(r"```toml\n(.*?)```\n", reference_markdown(), re.DOTALL)
    assert load(text, "docs/settings.md").settings == Settings()


def test_the_script_writes_the_page_and_finds_it_stale(
    script: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "settings.md"
    assert script.main(["--check"], tmp_path) == 1
    assert "docs/settings.md is stale: run scripts/docs\n" in capsys.readouterr().err
    assert not page.exists()
    assert script.main([], tmp_path) == 0
    assert page.read_text(encoding="utf-8") == reference_markdown()
    assert "docs/settings.md written\n" in capsys.readouterr().out
    assert script.main(["--check"], tmp_path) == 0
    assert script.main([], tmp_path) == 0
    page.write_text("old")
    assert script.main(["--check"], tmp_path) == 1
    assert page.read_text() == "old"


def test_the_script_says_how_it_is_used(script: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(["--chekc"], tmp_path) == 2
    assert "scripts/docs --check" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_script_runs() -> None:
    finished = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")

"""A file that is replaced: its content and mode, what is beside it, and what a failure leaves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from twistedproxy.replacing import replace_content


@pytest.mark.parametrize("durable", [True, False])
def test_replaces_in_one_step(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with path.open() as reader:
        replace_content(path, b"new", lambda file: os.fchmod(file, 0o640), prefix=".part-", durable=durable)
        # Whoever has it open goes on with the old one.
        assert reader.read() == "old"
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o7777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_is_whole_before_it_has_the_name(tmp_path: Path) -> None:
    path = tmp_path / "file"
    seen: list[tuple[bytes, bool]] = []

    def look(file: int) -> None:
        seen.append((os.pread(file, 100, 0), path.exists()))

    replace_content(path, b"content", look, prefix=".part-")
    assert seen == [(b"content", False)]


def test_failure_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def refuse(_file: int) -> None:
        raise PermissionError

    with pytest.raises(PermissionError):
        replace_content(path, b"new", refuse, prefix=".part-")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]

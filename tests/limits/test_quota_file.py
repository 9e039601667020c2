"""The file of quotas: what is added, read, forgotten, and what becomes of a file that is none."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path

import pytest

from twistedproxy.limits.quota_file import Damaged, Entry, QuotaFile

NOW = 1_800_000_000.0
DAY = Entry("a", "192.0.2.1", "2027-01-15", 100, NOW + 50_000)
MONTH = Entry("a", "192.0.2.1", "2027-01", 100, NOW + 1_500_000)


@pytest.fixture
def file(tmp_path: Path) -> QuotaFile:
    return QuotaFile(tmp_path / "limits" / "quotas.sqlite")


def test_what_is_added_is_added_up(file: QuotaFile) -> None:
    assert file.read(["a"], ["2027-01"]) == []
    assert not file.path.exists()
    assert file.add([DAY, MONTH], NOW) == [100, 100]
    assert file.add([DAY._replace(bytes=5), DAY._replace(key="user ann", bytes=7)], NOW) == [105, 7]
    assert sorted(file.read(["a", "b"], ["2027-01-15", "2027-01"])) == [
        MONTH,
        DAY._replace(bytes=105),
        DAY._replace(key="user ann", bytes=7),
    ]
    assert file.read(["b"], ["2027-01"]) == file.read(["a"], ["2027-02"]) == file.read([], []) == []


def test_only_its_owner_may_read_it(file: QuotaFile) -> None:
    before = os.umask(0)
    try:
        file.add([DAY], NOW)
        with sqlite3.connect(file.path) as table:
            table.execute("SELECT * FROM used")
            modes = {path.name: path.stat().st_mode & 0o777 for path in file.path.parent.iterdir()}
        table.close()
    finally:
        os.umask(before)
    assert set(modes.values()) == {0o600}
    assert "quotas.sqlite-wal" in modes
    assert file.path.parent.stat().st_mode & 0o777 == 0o700


def test_periods_that_are_over_are_forgotten(file: QuotaFile) -> None:
    file.add([DAY, MONTH], NOW)
    file.add([], DAY.ends)
    assert file.read(["a"], [DAY.period, MONTH.period]) == [MONTH]


def test_what_somebody_has_used_can_be_forgotten(file: QuotaFile) -> None:
    file.forget("a", "")
    others = [DAY._replace(key="x"), DAY._replace(limit="b")]
    file.add([DAY, MONTH, *others], NOW)
    file.forget("a", "192.0.2.1")
    assert sorted(file.read(["a", "b"], [DAY.period, MONTH.period])) == sorted(others)
    file.forget("a", "")
    assert file.read(["a", "b"], [DAY.period]) == [DAY._replace(limit="b")]


@pytest.mark.parametrize("attempt", range(10))
def test_several_may_add_at_the_same_time(file: QuotaFile, attempt: int) -> None:
    """From the first moment on, in which there is no file yet."""
    ready = threading.Barrier(6)

    def add() -> None:
        ready.wait()
        for _ in range(5):
            QuotaFile(file.path).add([DAY._replace(bytes=1)], NOW)

    threads = [threading.Thread(target=add) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert file.read(["a"], [DAY.period]) == [DAY._replace(bytes=30)]
    assert [path.name for path in file.path.parent.iterdir()] == ["quotas.sqlite"]


@pytest.mark.parametrize("content", [b"no table of anything" * 500, b"SQLite format 3\0" + b"\xff" * 8176])
def test_a_file_that_is_damaged_is_set_aside(file: QuotaFile, content: bytes) -> None:
    file.path.parent.mkdir()
    file.path.write_bytes(content)
    Path(f"{file.path}-wal").write_bytes(b"x")
    with pytest.raises(Damaged) as caught:
        file.read(["a"], ["2027-01"])
    assert str(caught.value) == f"{file.path}.damaged"
    assert Path(str(caught.value)).read_bytes() == content
    assert file.add([DAY], NOW) == [100]


def test_a_place_that_cannot_be_written_to(file: QuotaFile, tmp_path: Path) -> None:
    (tmp_path / "limits").write_text("a file")
    with pytest.raises(OSError, match="limits"):
        file.add([DAY], NOW)
    directory = QuotaFile(tmp_path)
    with pytest.raises(OSError, match=r"."):
        directory.add([DAY], NOW)


def test_another_table_of_that_name(file: QuotaFile) -> None:
    file.path.parent.mkdir()
    with sqlite3.connect(file.path) as table:
        table.execute("CREATE TABLE used (x)")
    table.close()
    with pytest.raises(OSError, match="used"):
        file.add([DAY], NOW)
    assert repr(file) == f"<QuotaFile {file.path}>"


def test_sums_have_an_end(file: QuotaFile) -> None:
    huge = DAY._replace(bytes=1 << 62)
    file.add([huge], NOW)
    assert file.add([huge], NOW) == [1 << 62]

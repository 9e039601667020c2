"""What has been used of quotas, in a file: a table of SQLite, which several daemons may add to.

Each call opens the file, so that it may come from any thread, and a file that was replaced is found. Sums are made in
the table itself: two daemons, of which one gives way to the other, both add what they have moved.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Final, NamedTuple

PATIENCE: Final = 5.0
"""Seconds that another daemon's write is waited for."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS used (
    "limit" TEXT NOT NULL, "key" TEXT NOT NULL, period TEXT NOT NULL, bytes INTEGER NOT NULL, ends REAL NOT NULL,
    PRIMARY KEY ("limit", "key", period)
) WITHOUT ROWID
"""
_ADD: Final = """
INSERT INTO used VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET bytes = min(bytes + excluded.bytes, 4611686018427387904)
"""
_SUM: Final = 'SELECT CAST(bytes AS INTEGER) FROM used WHERE "limit" = ? AND "key" = ? AND period = ?'
_READ: Final = """
SELECT CAST("limit" AS TEXT), CAST("key" AS TEXT), CAST(period AS TEXT), CAST(bytes AS INTEGER), CAST(ends AS REAL)
FROM used WHERE "limit" IN ({}) AND period IN ({})
"""


class Entry(NamedTuple):
    """The bytes that ``key`` has used of ``limit`` in a day or month, which ends in seconds since 1970."""

    limit: str
    key: str
    period: str
    bytes: int
    ends: float


class Damaged(Exception):
    """The file is no such table, or not whole; it was moved to the path that is the text."""


class QuotaFile:
    """The table at ``path``, which is made when it is first needed, for its owner only."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"<QuotaFile {self.path}>"

    def read(self, limits: Sequence[str], periods: Sequence[str]) -> list[Entry]:
        """What was used of ``limits`` in ``periods``. Raises `Damaged` and `OSError`."""
        if not self.path.exists():
            return []
        marks = (", ".join("?" * len(names)) for names in (limits, periods))
        with self._opened() as table:
            return [Entry(*row) for row in table.execute(_READ.format(*marks), (*limits, *periods))]

    def add(self, entries: Sequence[Entry], now: float) -> list[int]:
        """Add the bytes of ``entries``; what each comes to then. Periods that are over ``now`` are forgotten.

        Raises as `read` does.
        """
        with self._opened() as table:
            table.execute("BEGIN IMMEDIATE")
            table.executemany(_ADD, entries)
            sums = [int(table.execute(_SUM, entry[:3]).fetchone()[0]) for entry in entries]
            table.execute("DELETE FROM used WHERE ends <= ?", (now,))
            table.execute("COMMIT")
            return sums

    def forget(self, limit: str, key: str) -> None:
        """Forget what ``key`` has used of ``limit``, or everybody when it is empty. Raises as `read` does."""
        if not self.path.exists():
            return
        with self._opened() as table:
            table.execute('DELETE FROM used WHERE "limit" = ? AND ("key" = ? OR ? = \'\')', (limit, key, key))

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        os.makedirs(self.path.parent, mode=0o700, exist_ok=True)
        try:
            if not self.path.exists():
                self._make()
            with _connected(self.path) as table:
                yield table
        except sqlite3.OperationalError as error:
            raise OSError(f"{self.path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise Damaged(self._set_aside()) from error

    def _make(self) -> None:
        """Make an empty one, whole or not at all: who makes a file ready does not wait for another who does."""
        new = self.path.with_name(f"{self.path.name}.{token_hex(8)}")
        try:
            # SQLite gives the files beside it the mode of this one.
            os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            with _connected(new):
                pass
            with suppress(FileExistsError):
                os.link(new, self.path)
        finally:
            new.unlink(missing_ok=True)

    def _set_aside(self) -> str:
        """Move the file out of the way, and the files beside it, which mean nothing without it."""
        aside = f"{self.path}.damaged"
        os.replace(self.path, aside)
        for beside in ("-wal", "-shm"):
            Path(f"{self.path}{beside}").unlink(missing_ok=True)
        return aside


@contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)) as table:
        # What a killed process had written is there; only a machine that fails may lose the last of it.
        table.execute("PRAGMA journal_mode = WAL")
        table.execute("PRAGMA synchronous = NORMAL")
        table.execute(_SCHEMA)
        yield table

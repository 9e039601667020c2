"""The memory in which workers see how many connections the others have."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from twistedproxy.headcount import ABSENT, Headcount
from twistedproxy.settings.kinds import MOST_WORKERS


@pytest.fixture
def headcount() -> Iterator[Headcount]:
    headcount = Headcount.new()
    yield headcount
    headcount.close()


def test_everybody_is_absent_at_first(headcount: Headcount) -> None:
    assert headcount.all(MOST_WORKERS) == [ABSENT] * MOST_WORKERS
    assert repr(headcount) == "<Headcount []>"


def test_others_see_what_one_tells(headcount: Headcount) -> None:
    """Another process has a descriptor of its own for the same memory."""
    other = Headcount(os.dup(headcount.descriptor))
    headcount.tell(1, 70_000)
    other.tell(MOST_WORKERS - 1, 3)
    assert other.all(3) == [ABSENT, 70_000, ABSENT]
    assert repr(headcount) == "<Headcount [70000, 3]>"
    headcount.tell(1, ABSENT)
    assert other.all(2) == [ABSENT, ABSENT]
    other.close()


def test_without_memory_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel has none, a file that nobody finds does."""
    monkeypatch.delattr(os, "memfd_create")
    headcount = Headcount.new()
    headcount.tell(0, 1)
    assert headcount.all(1) == [1]
    assert os.fstat(headcount.descriptor).st_nlink == 0
    headcount.close()


def test_parent_and_child_share_it(headcount: Headcount) -> None:
    pid = os.fork()
    if not pid:
        headcount.tell(5, 42)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert headcount.all(6)[5] == 42

"""Changes to a file of accounts."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.accounts.editing import line_of, names_in, read, store, taking_turns, with_line
from twistedproxy.accounts.files import LARGEST

FILE = b"# accounts\n\nann:one\n broken line\n  bob:two  \r\n# end"


@pytest.mark.parametrize(
    ("name", "line", "after", "count"),
    [
        (b"ann", b"ann:new", b"# accounts\n\nann:new\n broken line\n  bob:two  \r\n# end\n", 1),
        (b"bob", b"bob:new", b"# accounts\n\nann:one\n broken line\nbob:new\n# end\n", 1),
        (b"eve", b"eve:new", b"# accounts\n\nann:one\n broken line\n  bob:two  \r\n# end\neve:new\n", 0),
        (b"ann", None, b"# accounts\n\n broken line\n  bob:two  \r\n# end\n", 1),
        (b"eve", None, b"# accounts\n\nann:one\n broken line\n  bob:two  \r\n# end\n", 0),
    ],
)
def test_one_line_changes(name: bytes, line: bytes | None, after: bytes, count: int) -> None:
    assert with_line(FILE, line_of(name), line) == (after, count)


def test_of_several_lines_one_is_left() -> None:
    assert with_line(b"a:1\nb:2\na:3\n", line_of(b"a"), b"a:4") == (b"a:4\nb:2\n", 2)
    assert with_line(b"a:1\nb:2\na:3\n", line_of(b"a"), None) == (b"b:2\n", 2)


def test_a_realm_is_a_part_of_the_name() -> None:
    content = b"a:x:1\na:y:2\na:x:y:3\n"
    assert with_line(content, line_of(b"a", b"y"), b"new") == (b"a:x:1\nnew\na:x:y:3\n", 1)
    assert with_line(content, line_of(b"a", b"x:y"), None) == (b"a:x:1\na:y:2\n", 1)


def test_an_empty_file_gets_a_line() -> None:
    assert with_line(b"", line_of(b"a"), b"a:1") == (b"a:1\n", 0)
    assert with_line(b"", line_of(b"a"), None) == (b"", 0)


def test_names_are_told_with_their_lines() -> None:
    assert list(names_in(FILE)) == [(3, b"ann", b"one"), (5, b"bob", b"two")]


@given(st.binary(max_size=60))
def test_all_other_lines_stay(content: bytes) -> None:
    after, count = with_line(content, line_of(b"no such name"), b"x:y")
    assert count == 0
    assert after == content.removesuffix(b"\n") + (b"\nx:y\n" if content else b"x:y\n") or after == content + b"x:y\n"


def test_a_new_file_is_its_owners_only(tmp_path: Path) -> None:
    path = tmp_path / "accounts"
    assert read(path) == b""
    store(path, b"a:1\n")
    assert (path.stat().st_mode & 0o777, read(path)) == (0o600, b"a:1\n")
    assert os.listdir(tmp_path) == ["accounts"]


@pytest.mark.parametrize(("before", "after"), [(0o640, 0o640), (0o644, 0o640), (0o777, 0o660), (0o400, 0o400)])
def test_a_file_that_is_there_keeps_its_mode_but_is_not_for_others(tmp_path: Path, before: int, after: int) -> None:
    path = tmp_path / "accounts"
    path.write_bytes(b"")
    path.chmod(before)
    store(path, b"a:1\n")
    assert path.stat().st_mode & 0o777 == after


def test_a_link_stays_one(tmp_path: Path) -> None:
    path, link = tmp_path / "accounts", tmp_path / "link"
    link.symlink_to(path)
    store(link, b"a:1\n")
    assert link.is_symlink()
    assert read(path) == b"a:1\n"


def test_what_cannot_be_read_is_not_taken_for_empty(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no regular file"):
        read(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="no regular file"):
        read(tmp_path / "fifo")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(OSError, match="too large"):
        read(tmp_path / "large")


def test_two_that_change_it_take_turns(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    with taking_turns(tmp_path / "accounts"), pytest.raises(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)

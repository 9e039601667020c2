"""Files that are read whole: which are, and what is said of the others."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from twistedproxy.reading import EXPOSED, Unreadable, read_regular, stamp


def test_what_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    path.chmod(0o644)
    assert read_regular(str(path), 5) == b"12345"
    with pytest.raises(Unreadable) as raised:
        read_regular(str(path), 4)
    assert str(raised.value) == f"{path} is larger than 4 bytes"


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601])
def test_secrets_are_not_for_everybody(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    path.chmod(mode)
    with pytest.raises(Unreadable) as raised:
        read_regular(str(path), 9, secret="is the key to it all")
    assert str(raised.value) == f"{path} is the key to it all"
    path.chmod(0o640)
    assert read_regular(str(path), 9, secret=EXPOSED) == b"x"


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    """And nothing is waited for."""
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(Unreadable, match=r" is no regular file\Z"):
            read_regular(str(path), 9)


@pytest.mark.parametrize(
    ("path", "why"),
    [("missing", "No such file or directory"), ("", "No such file or directory"), ("a\0b", "embedded null byte")],
)
def test_what_cannot_be_opened(path: str, why: str) -> None:
    with pytest.raises(Unreadable) as raised:
        read_regular(path, 9)
    assert str(raised.value) == f"{path} cannot be read: {why}"


def test_nothing_stays_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for largest in (0, 4096):
        for path in (tmp_path, Path(__file__)):
            try:
                read_regular(str(path), largest)
            except Unreadable:
                continue
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_stamp_tells_files_apart(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert stamp(str(path)) is None
    assert stamp("a\0b") is None
    path.write_bytes(b"x")
    first = stamp(str(path))
    assert first == stamp(str(path))
    other = tmp_path / "other"
    other.write_bytes(b"x")
    os.utime(other, ns=(0, path.stat(follow_symlinks=False)[stat.ST_MTIME] * 10**9))
    os.replace(other, path)
    assert stamp(str(path)) != first

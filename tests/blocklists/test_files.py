"""The files of the lists."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import LoggedErrors
from twistedproxy.access.blocklists.image import NoImage, compile_list
from twistedproxy.access.blocklists.lists import Listed
from twistedproxy.blocklists.files import (
    BlocklistError,
    ListFiles,
    ListOrder,
    ListOrders,
    Opened,
    Unpacking,
    blocks_of,
    open_image,
    write_image,
)

PRIME = 576460752303423433


def image(path: Path, content: bytes, prime: int = PRIME) -> str:
    _, pieces = compile_list([content], format="auto", subdomains=True, prime=prime, source="")
    write_image(path, pieces)
    return str(path)


def order(name: str, path: str) -> ListOrder:
    return ListOrder(name, "", "block", False, True, (), path)


def test_the_prime_is_kept_and_secret(tmp_path: Path) -> None:
    files = ListFiles(tmp_path / "lists")
    prime = files.prime()
    assert files.prime() == ListFiles(tmp_path / "lists").prime() == prime
    assert os.stat(tmp_path / "lists" / "prime").st_mode & 0o777 == 0o600
    assert os.stat(tmp_path / "lists").st_mode & 0o777 == 0o700
    for nonsense in ("", "7", "x" * 100, str(prime + 1)):
        (tmp_path / "lists" / "prime").write_text(nonsense)
        assert files.prime() != prime


def test_images_are_opened_once_and_anew_when_they_are_others(tmp_path: Path) -> None:
    opened = Opened()
    path = image(tmp_path / "a.image", b"a.example")
    orders = ListOrders(PRIME, (order("a", path),))
    first, second = opened.lists(orders), opened.lists(orders)
    assert first is not None
    assert second is not None
    assert first._lists[0].image is second._lists[0].image
    image(tmp_path / "a.image", b"b.example")
    third = opened.lists(orders)
    assert third is not None
    assert (third.judge("a.example"), third.judge("b.example")) == (None, Listed("a", "", "b.example", True))
    # The file that was mapped is still there for those who have it.
    assert first.judge("a.example") is not None
    assert repr(opened) == "<Opened 1>"
    assert opened.lists(ListOrders()) is None


@pytest.mark.parametrize("content", [None, b"", b"x" * 10000])
def test_a_list_that_cannot_be_opened_is_left_out(
    tmp_path: Path, content: bytes | None, logged_errors: LoggedErrors
) -> None:
    broken = tmp_path / "b.image"
    if content is not None:
        broken.write_bytes(content)
    path = image(tmp_path / "a.image", b"a.example")
    lists = Opened().lists(ListOrders(PRIME, (order("b", str(broken)), order("a", path))))
    assert repr(lists) == "<Blocklists a>"
    (message,) = logged_errors.flush_messages()
    assert message.startswith("the list b cannot be opened: ")


def test_an_image_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    def pieces() -> object:
        yield b"x"
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        write_image(tmp_path / "a.image", pieces())  # type: ignore[arg-type]  # of bytes, as far as it goes
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "empty").touch()
    with pytest.raises(NoImage, match="empty"):
        open_image(tmp_path / "empty", PRIME)


@given(st.binary(max_size=2000), st.integers(1, 3), st.integers(1, 500))
def test_what_is_packed_is_unpacked(content: bytes, members: int, size: int) -> None:
    packed = gzip.compress(content) * members + bytes(7)
    unpacking = Unpacking()
    found = b"".join(
        piece for start in range(0, len(packed), size) for piece in unpacking.feed(packed[start : start + size])
    )
    unpacking.end()
    assert found == content * members


def test_files_are_read_in_bounds(tmp_path: Path) -> None:
    plain, packed = tmp_path / "plain", tmp_path / "packed"
    plain.write_bytes(b"x" * 1000)
    packed.write_bytes(gzip.compress(b"y" * 10**7))
    assert b"".join(blocks_of(plain, 1000)) == b"x" * 1000
    assert sum(map(len, blocks_of(packed, 10**7))) == 10**7
    assert max(map(len, blocks_of(packed, 10**7))) <= 1 << 18
    for path, most in ((plain, 999), (packed, 10**7 - 1)):
        with pytest.raises(BlocklistError, match=f"larger than {most} bytes"):
            list(blocks_of(path, most))


PACKED = gzip.compress(b"x" * 100, mtime=0)


@pytest.mark.parametrize("content", [PACKED[:-5], PACKED[:15] + b"\xff" * 50], ids=["cut short", "damaged"])
def test_damaged_packs_are_told_of(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "packed").write_bytes(content)
    with pytest.raises(BlocklistError, match=r"end is missing|cannot be unpacked"):
        list(blocks_of(tmp_path / "packed", 10**6))


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(BlocklistError, match="no regular file"):
        list(blocks_of(tmp_path / "fifo", 1000))


def test_what_is_of_no_use_is_removed(tmp_path: Path) -> None:
    files = ListFiles(tmp_path)
    files.prime()
    for name in ("a.list", "a.json", "b.list", "b.json", "a.1.image", "b.2.image", ".a.x", "notes"):
        (tmp_path / name).touch()
    files.forget(["a"], [str(tmp_path / "a.1.image")])
    assert {path.name for path in tmp_path.iterdir()} == {"a.list", "a.json", "a.1.image", ".a.x", "notes", "prime"}
    files.clear()
    assert not (tmp_path / ".a.x").exists()
    assert files.beside(tmp_path / "a.list").name.startswith(".a.list-")
    ListFiles(tmp_path / "none").forget([], [])
    ListFiles(tmp_path / "none").clear()
    assert repr(files) == f"<ListFiles {tmp_path}>"

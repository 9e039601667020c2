"""Leaves in a directory: bounded, private, shared by workers, and never believed more than they deserve."""

from __future__ import annotations

import os
import stat
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.tls.certificates import pem_of
from twistedproxy.tls import leaf_files
from twistedproxy.tls.authority import Authority, AuthorityError, make_authority
from twistedproxy.tls.leaf_files import KEY_FILE, LeafFiles
from twistedproxy.tls.leaves import sign_leaf
from twistedproxy.tls.names import asked_for


@pytest.fixture
def leaf(authority: Authority, now: datetime) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return sign_leaf(authority, key, asked_for("a.test"), now, timedelta(days=5))


def place(directory: Path) -> Path:
    [found] = (directory / "leaves").iterdir()
    return found


def pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_kept_and_found(directory: Path, authority: Authority, leaf: x509.Certificate) -> None:
    files = LeafFiles(directory, authority, 10)
    assert files.find("a") is None
    files.keep("a", leaf)
    assert files.find("a") == leaf
    again = LeafFiles(directory, authority, 10)
    assert again.find("a") == leaf
    assert pem(again.key()) == pem(files.key())
    assert pem(files.key()) != pem(authority.key)  # type: ignore[arg-type]  # it is one on a curve, as ours are
    here = place(directory)
    assert repr(files) == f"<LeafFiles {here} about 1>"
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in here.iterdir()} == {
        KEY_FILE: 0o600,
        "a.der": 0o600,
    }
    for made in (directory, here.parent, here):
        assert stat.S_IMODE(made.stat().st_mode) == 0o700


def test_the_oldest_go(directory: Path, authority: Authority, leaf: x509.Certificate) -> None:
    files = LeafFiles(directory, authority, 8)
    for number in range(8):
        files.keep(str(number), leaf)
        os.utime(place(directory) / f"{number}.der", (1000 + number, 1000 + number))
    files.keep("3", leaf)
    assert files.find("0")
    files.keep("new", leaf)
    left = {path.stem for path in place(directory).glob("*.der")}
    assert left == {"2", "3", "4", "5", "6", "7", "new"}
    for number in range(100):
        files.keep(f"more{number}", leaf)
        assert len(list(place(directory).glob("*.der"))) <= 8
    assert files.lost == 0


def test_bound_holds_for_what_others_wrote(directory: Path, authority: Authority, leaf: x509.Certificate) -> None:
    files, other = LeafFiles(directory, authority, 4), LeafFiles(directory, authority, 4)
    (place(directory) / ".new-left").write_bytes(b"half")
    for number in range(40):
        (files if number % 2 else other).keep(str(number), leaf)
        assert len(list(place(directory).iterdir())) <= 2 * 4 + 2
    assert not (place(directory) / ".new-left").exists()


def test_one_of_them_that_another_worker_removed(
    directory: Path, authority: Authority, leaf: x509.Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = LeafFiles(directory, authority, 2)
    files.keep("a", leaf)
    monkeypatch.setattr(files, "_leaves", lambda: [place(directory) / "gone.der", place(directory) / "a.der"])
    files._count = 2
    files.keep("b", leaf)
    assert (files.find("b"), files.lost) == (leaf, 0)


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x30\x82\xff\xff", b"x" * 100_000, b"version"])
def test_garbage(directory: Path, authority: Authority, content: bytes) -> None:
    files = LeafFiles(directory, authority, 10)
    if content == b"version":
        content = authority.export("der").replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x47", 1)
    (place(directory) / "a.der").write_bytes(content)
    assert files.find("a") is None
    (place(directory) / "b.der").mkdir()
    assert files.find("b") is None


@pytest.mark.parametrize("content", [b"", b"garbage", b"other kind", b"readable"])
def test_key_that_cannot_be_used(directory: Path, authority: Authority, content: bytes) -> None:
    key = LeafFiles(directory, authority, 10).key()
    path = place(directory) / KEY_FILE
    if content == b"readable":
        path.chmod(0o644)
    else:
        path.write_bytes(pem_of(ec.generate_private_key(ec.SECP384R1())) if content == b"other kind" else content)
    again = LeafFiles(directory, authority, 10).key()
    assert pem(again) != pem(key)
    assert path.read_bytes() == pem(again)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_first_key_stays(directory: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another worker makes one between our look and our writing."""
    first = LeafFiles(directory, authority, 10).key()
    looks = []

    def look(self: LeafFiles) -> ec.EllipticCurvePrivateKey | None:
        looks.append(1)
        return None if len(looks) == 1 else first

    monkeypatch.setattr(LeafFiles, "_read_key", look)
    assert pem(LeafFiles(directory, authority, 10).key()) == pem(first)
    assert [path.name for path in place(directory).iterdir()] == [KEY_FILE]


def test_leaves_of_another_authority_go(directory: Path, authority: Authority, now: datetime) -> None:
    LeafFiles(directory, authority, 10)
    old = place(directory)
    LeafFiles(directory, make_authority(now), 10)
    assert not old.exists()


def test_disk_that_takes_no_more(
    directory: Path, authority: Authority, leaf: x509.Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = LeafFiles(directory, authority, 10)

    def fail(*arguments: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(leaf_files, "write_file", fail)
    files.keep("a", leaf)
    assert (files.find("a"), files.lost) == (None, 1)


def test_directory_that_cannot_be_used(tmp_path: Path, authority: Authority) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AuthorityError, match=f"{tmp_path}/file"):
        LeafFiles(tmp_path / "file", authority, 10)
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o777)
    with pytest.raises(AuthorityError, match="other users may write to"):
        LeafFiles(tmp_path / "shared", authority, 10)

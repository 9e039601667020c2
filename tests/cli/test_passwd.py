"""``pyproxyctl passwd``: accounts that are added, changed, checked, listed and taken out, without a daemon."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from twistedproxy.accounts.files import read_digests, read_hashes
from twistedproxy.accounts.hashes import verify
from twistedproxy.http.digest import digest_of

PROGRAM = Path(sys.executable).with_name("pyproxyctl")
Run = Callable[..., Any]


@pytest.fixture
def passwd(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs it with a password on the standard input, where there are no settings but those in ``tmp_path``."""
    monkeypatch.setenv("CONFIGURATION_DIRECTORY", str(tmp_path))

    def run_with(*words: str | Path, password: bytes | None = b"secret\n") -> Any:
        if password is None:
            return run("passwd", *map(str, words))
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(password)))
        return run("passwd", "--stdin", "--cost", "10", *map(str, words))

    return run_with


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "accounts"


def test_an_account_is_added_changed_and_deleted(passwd: Run, file: Path) -> None:
    file.write_text("# who\nbob:$5$x\n")
    ended = passwd(file, "ann")
    assert (ended.code, ended.out, ended.err) == (0, f"ann has an account in {file}\n", "")
    first = file.read_bytes()
    assert first.startswith(b"# who\nbob:$5$x\nann:$2b$10$")
    assert file.stat().st_mode & 0o777 == 0o640
    assert passwd(file, "ann", password=b"other\r\n").out == f"ann has another password in {file}\n"
    hashed = file.read_bytes().splitlines()[2].partition(b":")[2]
    assert verify(hashed, b"other")
    assert passwd(file, "ann", "--delete").out == f"ann has no account any more in {file}\n"
    assert file.read_bytes() == b"# who\nbob:$5$x\n"
    ended = passwd(file, "ann", "--delete")
    assert (ended.code, ended.err) == (1, f"pyproxyctl: ann has no account in {file}\n")


def test_a_new_file(passwd: Run, file: Path) -> None:
    assert passwd(file, "Jörg M.").code == 0
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(read_hashes("f", file.read_bytes())) == ["Jörg M.".encode()]


def test_scrypt(passwd: Run, file: Path) -> None:
    assert passwd(file, "ann", "--scheme", "scrypt", "--cost", "14").code == 0
    assert file.read_bytes().startswith(b"ann:$scrypt$ln=14,r=8,p=3$")
    assert passwd(file, "ann", "--check").out == "that is the password of ann\n"


def test_checking(passwd: Run, file: Path) -> None:
    passwd(file, "ann")
    assert passwd(file, "ann", "--check").code == 0
    ended = passwd(file, "ann", "--check", password=b"guess\n")
    assert (ended.code, ended.err) == (1, "pyproxyctl: that is not the password of ann\n")
    ended = passwd(file, "eve", "--check")
    assert (ended.code, ended.err) == (1, f"pyproxyctl: eve has no account in {file}\n")
    file.write_text("ann:$apr1$x\n")
    ended = passwd(file, "ann", "--check")
    assert ended.err == (
        "pyproxyctl: ann cannot be let in: the hash is Apache's MD5 (apr1), which is found out too fast\n"
    )


def test_listing(passwd: Run, file: Path) -> None:
    passwd(file, "ann")
    passwd(file, "bob")
    ended = passwd(file, "--list", password=None)
    assert (ended.code, ended.out, ended.err) == (0, "ann\nbob\n", "")
    with file.open("a") as opened:
        opened.write("eve:{SHA}x\nnonsense\n")
    ended = passwd(file, "--list", password=None)
    assert (ended.code, ended.out) == (1, "ann\nbob\neve\n")
    assert f'{file}:3: the account "eve": its hash is SHA-1 without a salt' in ended.err
    assert f"{file}:4: an account's name" in ended.err


def test_digests(passwd: Run, file: Path) -> None:
    assert passwd(file, "ann", "--digest", "--realm", "x").code == 0
    assert passwd(file, "ann", "--digest").code == 0
    content = file.read_bytes()
    assert read_digests("f", content, b"proxy") == {b"ann": digest_of(b"ann", b"proxy", b"secret")}
    assert read_digests("f", content, b"x") == {b"ann": digest_of(b"ann", b"x", b"secret")}
    assert passwd(file, "ann", "--digest", "--check").code == 0
    assert passwd(file, "ann", "--digest", "--check", password=b"guess\n").code == 1
    assert passwd(file, "--digest", "--list", password=None).out == "ann\n"
    assert passwd(file, "ann", "--digest", "--delete").code == 0
    assert read_digests("f", file.read_bytes(), b"proxy") == {}
    assert len(read_digests("f", file.read_bytes(), b"x")) == 1


def test_the_settings_name_the_file(passwd: Run, file: Path, tmp_path: Path) -> None:
    (tmp_path / "pyproxy.toml").write_text(
        f'[accounts]\nhtpasswd_file = "{file}"\ndigest_file = "{file}.digest"\nrealm = "here"\nschemes = ["digest"]\n'
    )
    assert passwd("ann").out == f"ann has an account in {file}\n"
    assert passwd("ann", "--digest").out == f"ann has an account in {file}.digest\n"
    assert list(read_digests("f", Path(f"{file}.digest").read_bytes(), b"here")) == [b"ann"]
    assert passwd("--list", password=None).out == "ann\n"


@pytest.mark.parametrize(
    ("words", "password", "said"),
    [
        (("ann",), b"x\n", "name a FILE: the settings have no accounts.htpasswd_file"),
        ((), b"x\n", "say whose password it is"),
        (("a", "b", "c"), b"x\n", "say whose password it is"),
        (("--list", "a", "b"), b"", "--list takes a FILE only"),
        (("f", "a:b"), b"x\n", "expected a name of printable characters"),
        (("f", "ann"), b"", "the password is empty"),
        (("f", "ann"), b"\n", "the password is empty"),
        (("f", "ann"), b"x" * 73 + b"\n", "bcrypt takes passwords of 72 bytes at most"),
        (("f", "ann"), b"x" * 2000, "the password is longer than 1024 bytes"),
        (("f", "ann"), b"a\tb\n", "the password has a control character"),
        (("f", "ann", "--cost", "31"), b"x\n", "the cost of bcrypt is from 10 to 16"),
        (("f", "ann", "--realm", "x"), b"x\n", "--realm goes with --digest"),
        (("f", "ann", "--digest", "--realm", 'a"b'), b"x\n", "--realm: expected a realm of 1 to 64"),
        (("f", "ann", "--scheme", "md5"), b"x\n", "'md5' is not one of"),
        (("$CREDENTIALS_DIRECTORY/f", "ann"), b"x\n", "expected the variable CREDENTIALS_DIRECTORY to be set"),
    ],
)
def test_wrong_usage(
    words: tuple[str, ...], password: bytes, said: str, passwd: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = passwd(*words, password=password)
    assert ended.code == 2
    assert said in ended.err
    assert not (tmp_path / "f").exists()


def test_a_file_that_cannot_be_changed(passwd: Run, tmp_path: Path) -> None:
    for path, why in ((tmp_path, "it is no regular file"), (tmp_path / "no" / "file", "No such file or directory")):
        ended = passwd(path, "ann")
        assert (ended.code, why in ended.err) == (1, True), ended


def test_settings_that_cannot_be_used(passwd: Run, file: Path, tmp_path: Path) -> None:
    (tmp_path / "pyproxy.toml").write_text("[accounts]\nrealm = 3\n")
    ended = passwd("ann")
    assert (ended.code, "name a FILE: the settings cannot be used: " in ended.err) == (1, True)
    assert passwd(file, "ann", "--digest").code == 0


def test_the_password_is_asked_for_twice_without_an_echo(file: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [PROGRAM, "passwd", "--cost", "10", str(file), "ann"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    said = b""
    expired = threading.Timer(30, process.kill)
    expired.start()
    for prompt in (b"Password for ann: ", b"Repeat for confirmation: "):
        while prompt not in said:
            said += os.read(ours, 1024)
        os.write(ours, b"pass word\n")
    while b"has an account" not in said:
        said += os.read(ours, 1024)
    assert process.wait(30) == 0
    expired.cancel()
    expired.join()
    os.close(ours)
    assert b"pass word" not in said
    assert verify(file.read_bytes().partition(b":")[2].strip(), b"pass word")

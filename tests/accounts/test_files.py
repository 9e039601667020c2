"""The files with accounts, digests and groups: what they hold, and what is said of a mistake."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.accounts.samples import quick_hash
from twistedproxy.accounts.files import (
    AccountsError,
    located,
    read_content,
    read_digests,
    read_groups,
    read_hashes,
)

HASH = quick_hash(b"secret")
DIGEST = b"0123456789abcdef" * 4


def test_accounts() -> None:
    content = b"# who\r\n\nann:" + HASH + b"\r\n  \nJ\xc3\xb6rg M.:" + HASH + b" \n"
    assert read_hashes("f", content) == {b"ann": HASH, "Jörg M.".encode(): HASH}
    assert read_hashes("f", b"") == {}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"ann", "an account's name, in printable UTF-8, and a colon have to stand at the beginning"),
        (b":" + HASH, "an account's name, in printable UTF-8, and a colon have to stand at the beginning"),
        (b"a\xffn:" + HASH, "an account's name, in printable UTF-8, and a colon have to stand at the beginning"),
        (b"a\x07n:" + HASH, "an account's name, in printable UTF-8, and a colon have to stand at the beginning"),
        (b"n" * 256 + b":" + HASH, "an account's name, in printable UTF-8, and a colon have to stand at the beginning"),
        (b"bob:" + HASH, 'the account "bob" is there twice'),
        (
            b"ann:$apr1$x$y",
            (
                'the account "ann": its hash is Apache\'s MD5 (apr1), which is found out too fast; '
                "pyproxyctl passwd makes a new one"
            ),
        ),
        (
            b"ann:opensesame",
            (
                'the account "ann": its hash is of no kind that this proxy knows, or a plain password; '
                "pyproxyctl passwd makes a new one"
            ),
        ),
    ],
)
def test_mistakes_are_told_with_their_line_and_account(line: bytes, message: str) -> None:
    with pytest.raises(AccountsError) as raised:
        read_hashes("/etc/accounts", b"bob:" + HASH + b"\n" + line + b"\n")
    assert str(raised.value) == f"/etc/accounts:2: {message}"
    assert "opensesame" not in str(raised.value)


def test_all_mistakes_are_told_up_to_a_bound() -> None:
    with pytest.raises(AccountsError) as raised:
        read_hashes("f", b"bad\n" * 25)
    lines = str(raised.value).splitlines()
    assert (lines[0][:4], lines[9][:5], lines[10]) == ("f:1:", "f:10:", "f: and 15 more")


def test_digests_are_those_of_the_realm() -> None:
    content = b"ann:proxy:" + DIGEST.upper() + b"\nann:other:" + DIGEST + b"\nbob:a:b:" + DIGEST
    assert read_digests("f", content, b"proxy") == {b"ann": DIGEST}
    assert read_digests("f", content, b"a:b") == {b"bob": DIGEST}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"ann:proxy:" + b"0" * 32, "its digest is MD5; pyproxyctl passwd --digest makes one with SHA-256"),
        (b"ann:" + DIGEST, "a realm and a digest of 64 hexadecimal digits have to follow"),
        (b"ann:proxy:" + HASH, "a realm and a digest of 64 hexadecimal digits have to follow"),
    ],
)
def test_mistakes_in_digests(line: bytes, message: str) -> None:
    with pytest.raises(AccountsError, match=re.escape(f'f:1: the account "ann": {message}')):
        read_digests("f", line, b"proxy")


def test_groups() -> None:
    content = b"staff: ann bob\n# none\nadmins:ann\nempty:\nstaff: eve\n"
    assert read_groups("f", content) == {b"ann": {"staff", "admins"}, b"bob": {"staff"}, b"eve": {"staff"}}
    with pytest.raises(AccountsError, match="f:1: a group's name"):
        read_groups("f", b"two words: ann")
    with pytest.raises(AccountsError, match="f:1: a group's name"):
        read_groups("f", b"staff")


@given(st.binary(max_size=200))
def test_any_content_is_read_or_refused(content: bytes) -> None:
    for read in (read_hashes, read_groups, lambda path, said: read_digests(path, said, b"proxy")):
        said = ""
        try:
            read("f", content)
        except AccountsError as error:
            said = str(error)
        assert all(line.isprintable() for line in said.splitlines())


def test_secret_files_are_not_everybodys(tmp_path: Path) -> None:
    path = tmp_path / "accounts"
    path.write_text("x")
    path.chmod(0o604)
    with pytest.raises(AccountsError, match="can be read by everybody: chmod o-rwx it"):
        read_content(str(path))
    assert read_content(str(path), secret=False) == b"x"
    path.chmod(0o640)
    assert read_content(str(path)) == b"x"


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(AccountsError, match="is no regular file"):
        read_content(str(tmp_path / "fifo"))
    with pytest.raises(AccountsError, match="is no regular file"):
        read_content(str(tmp_path))
    with pytest.raises(AccountsError, match="cannot be read: No such file"):
        read_content(str(tmp_path / "missing"))


def test_credentials_of_systemd() -> None:
    assert located("$CREDENTIALS_DIRECTORY/a", {"CREDENTIALS_DIRECTORY": "/run/c"}) == "/run/c/a"
    assert located("/etc/a", {}) == "/etc/a"
    with pytest.raises(AccountsError, match="expected the variable CREDENTIALS_DIRECTORY"):
        located("$CREDENTIALS_DIRECTORY/a", {})

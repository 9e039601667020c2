"""The files with accounts, digests and groups: read whole, and every mistake told with its line and its account.

``name:hash``           as htpasswd writes it
``name:realm:digest``   as htdigest writes it, but with SHA-256
``group: name name``    as web servers read it

Empty lines and those that begin with ``#`` say nothing. A password, or what may be one, is in no message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from twistedproxy.accounts import hashes
from twistedproxy.reading import EXPOSED, Unreadable, Unusable, read_regular
from twistedproxy.settings.account_entries import check_group, check_name
from twistedproxy.settings.paths import expand_credential
from twistedproxy.settings.problems import Unfit
from twistedproxy.settings.spelling import printable, toml_string

LARGEST: Final = 16 * 1024 * 1024
"""Bytes of a file."""

_MOST_TOLD: Final = 10
_DIGEST: Final = re.compile(rb"[0-9a-fA-F]{64}")
_MD5: Final = re.compile(rb"[0-9a-fA-F]{32}")


class AccountsError(Unusable):
    """The accounts that the settings name cannot be used. The text says which, and why, a line for each mistake."""


class Mistake(Exception):
    """One line of a file cannot be used. The text says why."""


def located(path: str, environment: Mapping[str, str]) -> str:
    """``path`` with the directory of systemd's credentials. Raises `AccountsError`."""
    try:
        return expand_credential(path, environment)
    except Unfit as unfit:
        raise AccountsError(f"expected {unfit.expected}") from None


def read_content(path: str, *, secret: bool = True) -> bytes:
    """What is in a file; one that is ``secret`` must not be readable by everybody. Raises `AccountsError`."""
    try:
        return read_regular(path, LARGEST, secret=EXPOSED if secret else "")
    except Unreadable as error:
        raise AccountsError(str(error)) from None


def read_hashes(path: str, content: bytes) -> dict[bytes, bytes]:
    """The hashes in the ``content`` of the file at ``path``, by the account's name. Raises `AccountsError`."""
    found: dict[bytes, bytes] = {}

    def take(line: bytes) -> None:
        name, hashed = split_account(line)
        why = hashes.unusable(hashed)
        if why:
            raise Mistake(f"{_account(name)}: its hash {why}; pyproxyctl passwd makes a new one")
        if name in found:
            raise Mistake(f"{_account(name)} is there twice")
        found[name] = hashed

    _take_lines(path, content, take)
    return found


def read_digests(path: str, content: bytes, realm: bytes) -> dict[bytes, bytes]:
    """The digests of ``realm`` in a file, by the account's name. Raises `AccountsError`."""
    found: dict[bytes, bytes] = {}

    def take(line: bytes) -> None:
        name, rest = split_account(line)
        of, _, digest = rest.rpartition(b":")
        if _MD5.fullmatch(digest):
            raise Mistake(f"{_account(name)}: its digest is MD5; pyproxyctl passwd --digest makes one with SHA-256")
        if not of or not _DIGEST.fullmatch(digest):
            raise Mistake(f"{_account(name)}: a realm and a digest of 64 hexadecimal digits have to follow")
        if of == realm:
            if name in found:
                raise Mistake(f"{_account(name)} is there twice")
            found[name] = digest.lower()

    _take_lines(path, content, take)
    return found


def read_groups(path: str, content: bytes) -> dict[bytes, set[str]]:
    """The groups in a file, by the names of the accounts that are in them. Raises `AccountsError`."""
    found: dict[bytes, set[str]] = {}

    def take(line: bytes) -> None:
        name, colon, members = line.partition(b":")
        try:
            group = name.decode("utf-8").strip()
            check_group(group)
        except (UnicodeDecodeError, Unfit):
            colon = b""
        if not colon:
            raise Mistake("a group's name, without spaces, and a colon have to stand at the beginning")
        for member in members.split():
            found.setdefault(member, set()).add(group)

    _take_lines(path, content, take)
    return found


def split_account(line: bytes) -> tuple[bytes, bytes]:
    """The name at the beginning of a line, and what follows its colon. Raises `Mistake`."""
    name, colon, rest = line.partition(b":")
    try:
        check_name(name.decode("utf-8"))
    except (UnicodeDecodeError, Unfit):
        colon = b""
    if not colon:
        raise Mistake("an account's name, in printable UTF-8, and a colon have to stand at the beginning")
    return name, rest.strip()


def lines_of(content: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines that say something, with their numbers from 1."""
    for number, line in enumerate(content.split(b"\n"), 1):
        line = line.strip(b" \t\r")
        if line and not line.startswith(b"#"):
            yield number, line


def _take_lines(path: str, content: bytes, take: Callable[[bytes], None]) -> None:
    mistakes: list[str] = []
    for number, line in lines_of(content):
        try:
            take(line)
        except Mistake as mistake:
            mistakes.append(f"{printable(path)}:{number}: {mistake}")
    if mistakes:
        more = len(mistakes) - _MOST_TOLD
        raise AccountsError(
            "\n".join(mistakes[:_MOST_TOLD]) + (f"\n{printable(path)}: and {more} more" if more > 0 else "")
        )


def _account(name: bytes) -> str:
    return f"the account {toml_string(name.decode('utf-8'))}"

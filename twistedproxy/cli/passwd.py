"""``pyproxyctl passwd``: the file with accounts, without the daemon, which reads it again by itself."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from twistedproxy.cli.outcomes import REFUSED
from twistedproxy.cli.output import show_error

if TYPE_CHECKING:
    from twistedproxy.settings.accounts import AccountsSettings

SCHEMES: Final = ("bcrypt", "scrypt")


class _Place(NamedTuple):
    """The file that is meant, and whether it has digests of a realm."""

    path: Path
    realm: bytes | None


@click.command("passwd")
@click.argument("words", metavar="[FILE] [NAME]", nargs=-1)
@click.option("--delete", "what", flag_value="delete", help="Take the account NAME out of the file.")
@click.option("--check", "what", flag_value="check", help="Say whether a password is that of NAME, and change nothing.")
@click.option("--list", "what", flag_value="list", help="List the accounts, and what is wrong with any.")
@click.option("--stdin", is_flag=True, help="Take the password from the first line of the standard input.")
@click.option("--scheme", type=click.Choice(SCHEMES), default="bcrypt", show_default=True, help="What to hash it with.")
@click.option("--cost", type=int, help="The work that the hash takes, as a power of two: 12 by default, 15 for scrypt.")
@click.option("--digest", is_flag=True, help="FILE is for the scheme Digest: accounts.digest_file.")
@click.option("--realm", help="The realm of --digest; else that of accounts.realm.")
def passwd(
    words: Sequence[str],
    what: str | None,
    stdin: bool,
    scheme: str,
    cost: int | None,
    digest: bool,
    realm: str | None,
) -> None:
    """Give the account NAME a password, or a new one.

    FILE is one that the proxy reads accounts from; without it, it is the one that accounts.htpasswd_file of the
    settings names. The password is asked for, and not shown. A running proxy reads the file again by itself.
    """
    if what == "list":
        if len(words) > 1:
            raise click.UsageError("--list takes a FILE only")
        _list(_place(words[0] if words else None, digest, realm))
        return
    if not 1 <= len(words) <= 2:
        raise click.UsageError("say whose password it is: [FILE] NAME")
    name = _name(words[-1])
    place = _place(words[0] if len(words) == 2 else None, digest, realm)
    try:
        if what == "delete":
            _delete(place, name)
        elif what == "check":
            _check(place, name, _password(words[-1], stdin, new=False))
        else:
            _set(place, name, _password(words[-1], stdin, new=True), scheme, cost)
    except OSError as error:
        raise click.ClickException(f"{place.path}: {error.strerror or error}") from None


def _set(place: _Place, name: bytes, password: bytes, scheme: str, cost: int | None) -> None:
    from twistedproxy.accounts.editing import line_of, read, store, taking_turns, with_line
    from twistedproxy.accounts.hashes import make
    from twistedproxy.http.digest import digest_of

    try:
        if place.realm is not None:
            line = b"%b:%b:%b" % (name, place.realm, digest_of(name, place.realm, password))
        else:
            line = b"%b:%b" % (name, make(password, scheme, cost))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    with taking_turns(place.path):
        content, before = with_line(read(place.path), line_of(name, place.realm), line)
        store(place.path, content)
    click.echo(f"{_shown(name)} has {'another password' if before else 'an account'} in {place.path}")


def _delete(place: _Place, name: bytes) -> None:
    from twistedproxy.accounts.editing import line_of, read, store, taking_turns, with_line

    with taking_turns(place.path):
        content, before = with_line(read(place.path), line_of(name, place.realm), None)
        if before:
            store(place.path, content)
    if not before:
        _refuse(f"{_shown(name)} has no account in {place.path}")
    click.echo(f"{_shown(name)} has no account any more in {place.path}")


def _check(place: _Place, name: bytes, password: bytes) -> None:
    from hmac import compare_digest

    from twistedproxy.accounts.editing import line_of, names_in, read
    from twistedproxy.accounts.hashes import unusable, verify
    from twistedproxy.http.digest import digest_of

    belongs = line_of(name, place.realm)
    for _, there, rest in names_in(read(place.path)):
        if not belongs(there + b":" + rest):
            continue
        if place.realm is not None:
            known = rest.rpartition(b":")[2].lower()
            right = compare_digest(known, digest_of(name, place.realm, password))
        else:
            if why := unusable(rest):
                _refuse(f"{_shown(name)} cannot be let in: the hash {why}")
            right = verify(rest, password)
        if not right:
            _refuse(f"that is not the password of {_shown(name)}")
        click.echo(f"that is the password of {_shown(name)}")
        return
    _refuse(f"{_shown(name)} has no account in {place.path}")


def _list(place: _Place) -> None:
    from twistedproxy.accounts.editing import names_in, read
    from twistedproxy.accounts.files import AccountsError, read_digests, read_hashes

    try:
        content = read(place.path)
    except OSError as error:
        raise click.ClickException(f"{place.path}: {error.strerror or error}") from None
    for _, name, rest in names_in(content):
        if place.realm is None or rest.rpartition(b":")[0] == place.realm:
            click.echo(_shown(name))
    try:
        if place.realm is None:
            read_hashes(str(place.path), content)
        else:
            read_digests(str(place.path), content, place.realm)
    except AccountsError as error:
        show_error(str(error).splitlines())
        raise SystemExit(REFUSED) from None


def _name(text: str) -> bytes:
    from twistedproxy.settings.account_entries import check_name
    from twistedproxy.settings.problems import Unfit

    try:
        check_name(text)
    except Unfit as unfit:
        raise click.UsageError(f"expected {unfit.expected}") from None
    return text.encode()


def _place(file: str | None, digest: bool, realm: str | None) -> _Place:
    if digest:
        realm = realm if realm is not None else _settings(needed=file is None).realm
    elif realm is not None:
        raise click.UsageError("--realm goes with --digest")
    if file is None:
        settings = _settings(needed=True)
        file = settings.digest_file if digest else settings.htpasswd_file
        if not file:
            key = "digest_file" if digest else "htpasswd_file"
            raise click.UsageError(f"name a FILE: the settings have no accounts.{key}")
    return _Place(_located(file), None if realm is None else _realm(realm))


def _realm(realm: str) -> bytes:
    from twistedproxy.settings.account_entries import check_realm
    from twistedproxy.settings.problems import Unfit

    try:
        check_realm(realm)
    except Unfit as unfit:
        raise click.UsageError(f"--realm: expected {unfit.expected}") from None
    return realm.encode("ascii")


def _settings(*, needed: bool) -> AccountsSettings:
    """Those of the proxy on this machine; where they are not ``needed`` the defaults do as well."""
    from twistedproxy.places import settings_file
    from twistedproxy.settings.accounts import AccountsSettings
    from twistedproxy.settings.problems import SettingsError
    from twistedproxy.settings.sources import Sources

    path = settings_file(os.environ, os.geteuid() == 0)
    try:
        return Sources(str(path), needed=False, environment=os.environ).load().settings.accounts
    except SettingsError as error:
        if needed:
            first = str(error).splitlines()[0]
            raise click.ClickException(f"name a FILE: the settings cannot be used: {first}") from None
        return AccountsSettings()


def _located(file: str) -> Path:
    from twistedproxy.accounts.files import AccountsError, located

    try:
        return Path(located(file, os.environ))
    except AccountsError as error:
        raise click.UsageError(str(error)) from None


def _password(name: str, stdin: bool, *, new: bool) -> bytes:
    """The password, asked for without an echo. Raises `click.UsageError` for one that no client could send."""
    from twistedproxy.http.credentials import LONGEST_PASSWORD

    if stdin:
        password = sys.stdin.buffer.readline(LONGEST_PASSWORD + 2).rstrip(b"\r\n")
    else:
        try:
            text: str = click.prompt(f"Password for {name}", hide_input=True, confirmation_prompt=new, err=True)
        except click.Abort:
            raise click.UsageError("no password was given; --stdin takes it from the standard input") from None
        password = text.encode()
    if not password:
        raise click.UsageError("the password is empty")
    if len(password) > LONGEST_PASSWORD:
        raise click.UsageError(f"the password is longer than {LONGEST_PASSWORD} bytes")
    if any(octet < 0x20 or octet == 0x7F for octet in password):
        raise click.UsageError("the password has a control character, which no client can send")
    return password


def _refuse(why: str) -> None:
    show_error([why])
    raise SystemExit(REFUSED)


def _shown(name: bytes) -> str:
    return name.decode("utf-8")

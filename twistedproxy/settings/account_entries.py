"""What may stand in the lists of ``accounts``: accounts, groups and certificates as tables, and words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final

from twistedproxy.settings.entries import check_keys
from twistedproxy.settings.paths import check_credential
from twistedproxy.settings.problems import Unfit
from twistedproxy.settings.spelling import toml_string

SCHEMES: Final = ("digest", "basic")

CERTIFICATE_FIELDS: Final = ("cn", "email", "dns", "uri")
"""Where the name of an account may stand in a certificate: the common name of its subject, and alternative names."""

LONGEST_NAME: Final = 255
"""Bytes in UTF-8 of an account's name."""

_DOTTED: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
_SHA256: Final = re.compile(r"[0-9a-fA-F]{2}(?::?[0-9a-fA-F]{2}){31}")
_REALM: Final = re.compile(r"[ !#-\[\]-~]{1,64}")

Checks = Mapping[str, Callable[[object], None]]


def check_name(value: object) -> None:
    """Accept the name of an account; else `Unfit` says why not. RFC 7617 section 2: no colon, no control characters."""
    if not isinstance(value, str):
        raise Unfit('a name such as "ann"')
    if not value or ":" in value or not value.isprintable() or value != value.strip():
        raise Unfit("a name of printable characters, without a colon, that neither begins nor ends with a space")
    if len(value.encode()) > LONGEST_NAME:
        raise Unfit(f"a name of {LONGEST_NAME} bytes at most")


def check_group(value: object) -> None:
    """Accept the name of a group, which is one word; else `Unfit` says why not."""
    check_name(value)
    if len(str(value).split()) != 1:
        raise Unfit("the name of a group, without spaces")


def check_realm(value: object) -> None:
    """Accept a realm (RFC 9110 section 11.5); else `Unfit` says why not."""
    if not isinstance(value, str):
        raise Unfit
    if not _REALM.fullmatch(value) or value != value.strip():
        raise Unfit("a realm of 1 to 64 printable ASCII characters, without double quotes and backslashes")


def check_scheme(value: object) -> None:
    """Accept the name of a scheme."""
    if value not in SCHEMES:
        close = get_close_matches(value.lower(), SCHEMES, 1) if isinstance(value, str) else []
        raise Unfit('"basic" or "digest"', f"did you mean {toml_string(close[0])}?" if close else "")


def check_dotted(value: object) -> None:
    """Accept the dotted name of something in a module."""
    if not isinstance(value, str) or not _DOTTED.fullmatch(value):
        raise Unfit('a dotted name such as "example_site.directory.Checker"')


def check_static_account(entry: object) -> None:
    """Accept one table of ``accounts.static``; else `Unfit` says what is wrong, and in which of its keys."""
    table = check_table(entry, _STATIC, 'a table such as { name = "ci", password_file = "$CREDENTIALS_DIRECTORY/ci" }')
    if ("hash" in table) == ("password_file" in table):
        raise Unfit("either the key hash or the key password_file")


def check_account_group(entry: object) -> None:
    """Accept one table of ``accounts.groups``; else `Unfit` says what is wrong, and in which of its keys."""
    table = check_table(entry, _GROUP, 'a table such as { name = "staff", members = ["ann"] }')
    if "members" not in table:
        raise Unfit("the key members, with the names of the accounts")


def check_certificate_account(entry: object) -> None:
    """Accept one table of ``accounts.certificates``; else `Unfit` says what is wrong, and in which of its keys."""
    table = check_table(entry, _CERTIFICATE, 'a table such as { name = "build", subject = "CN=build,OU=ci" }')
    if sum(key in table for key in CERTIFICATE_KEYS) != 1:
        raise Unfit(f"one of the keys {', '.join(CERTIFICATE_KEYS)}")


def check_certificate_field(value: object) -> None:
    """Accept the name of a field of a certificate."""
    if value not in CERTIFICATE_FIELDS:
        close = get_close_matches(value.lower(), CERTIFICATE_FIELDS, 1) if isinstance(value, str) else []
        hint = f"did you mean {toml_string(close[0])}?" if close else ""
        raise Unfit('"cn", "email", "dns" or "uri"', hint)


def check_table(entry: object, checks: Checks, noun: str, needed: str = "name") -> Mapping[str, object]:
    """Accept a table with the key ``needed``, and no other keys than those of ``checks``, which look at the values."""
    if isinstance(entry, Mapping) and "password" in entry:
        raise Unfit(message="a password must not stand in the settings: use hash or password_file", within="password")
    table = check_keys(entry, checks, noun)
    if needed not in table:
        raise Unfit(f"the key {needed}")
    for name, value in table.items():
        _within(checks[name], name, value)
    return table


def _within(check: Callable[[object], None], name: str, value: object) -> None:
    try:
        check(value)
    except Unfit as unfit:
        place = f"{name}{unfit.within}" if unfit.within else name
        if unfit.message:
            raise Unfit(message=unfit.message, within=place) from None
        said = unfit.value if unfit.within else value
        raise Unfit(unfit.expected or "a string", unfit.hint, within=place, value=said) from None


def each_of(check: Callable[[object], None]) -> Callable[[object], None]:
    """What accepts a list of what ``check`` accepts."""

    def check_list(value: object) -> None:
        if not isinstance(value, (list, tuple)):
            raise Unfit("a list")
        for number, one in enumerate(value):
            _within(check, f"[{number}]", one)

    return check_list


def _hash(value: object) -> None:
    # Whether it can be used is looked at where it is used. What stands there may be a password: it is not repeated.
    if not isinstance(value, str) or not value.startswith("$") or not value.isascii() or not value.isprintable():
        raise Unfit(message='expected the hash of a password, such as "$2b$12$...": pyproxyctl passwd makes one')


def _text(value: object) -> None:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise Unfit("what stands in the certificate, in printable characters")


def _fingerprint(value: object) -> None:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise Unfit("the SHA-256 of a certificate: 64 hexadecimal digits, with colons between pairs or without")


CERTIFICATE_KEYS: Final = ("subject", "email", "dns", "uri", "sha256")
"""By what a table of ``accounts.certificates`` may know a certificate."""

_CERTIFICATE: Final[Checks] = MappingProxyType(
    {"name": check_name, "groups": each_of(check_group), "sha256": _fingerprint}
    | dict.fromkeys(CERTIFICATE_KEYS[:-1], _text)
)
_STATIC: Final[Checks] = MappingProxyType(
    {"name": check_name, "hash": _hash, "password_file": check_credential, "groups": each_of(check_group)}
)
_GROUP: Final[Checks] = MappingProxyType({"name": check_group, "members": each_of(check_name)})

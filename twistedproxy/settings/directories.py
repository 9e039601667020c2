"""Directories of LDAP in the settings: one table of ``accounts.ldap`` for each, and what may stand in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_address
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

import msgspec

from twistedproxy.settings.account_entries import Checks, check_table
from twistedproxy.settings.paths import check_credential
from twistedproxy.settings.problems import Unfit

NAME: Final = "{name}"
DN: Final = "{dn}"
"""What stands in a template for the name that a client gives, and for the entry that it is the name of."""

LONGEST_TIMEOUT: Final = 10
"""Seconds; a check is given up after 30, and may ask several times."""

_ATTRIBUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_PLACEHOLDER: Final = re.compile(r"\{[^}]*\}")


class Directory(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A directory that knows accounts. Either ``dn`` is not empty, or ``base``."""

    url: str
    plain: bool = False
    anchors: str = ""
    dn: str = ""
    base: str = ""
    filter: str = "(uid={name})"
    service_dn: str = ""
    service_password_file: str = ""
    name_attribute: str = "uid"
    group_attribute: str = "memberOf"
    group_base: str = ""
    group_filter: str = "(member={dn})"
    timeout: int = 5

    @property
    def loopback_only(self) -> bool:
        """Whether it is on this machine for certain."""
        host = urlsplit(self.url).hostname or ""
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    @property
    def secured(self) -> bool:
        """Whether what is said there can be read on the way by nobody."""
        return not self.plain or self.url.startswith("ldaps:")


def check_directory(entry: object) -> None:
    """Accept one table of ``accounts.ldap``; else `Unfit` says what is wrong, and in which of its keys."""
    noun = 'a table such as { url = "ldaps://ldap.example.com", dn = "uid={name},ou=people,dc=example,dc=com" }'
    table = check_table(entry, _CHECKS, noun, "url")
    if ("dn" in table) == ("base" in table):
        raise Unfit("either the key dn or the key base")
    if ("service_dn" in table) != ("service_password_file" in table):
        raise Unfit("both keys service_dn and service_password_file, or none")
    if "dn" in table and ("filter" in table or ("service_dn" in table and "group_base" not in table)):
        raise Unfit("no filter and no service_dn with dn, which says where an account is")
    if "group_filter" in table and "group_base" not in table:
        raise Unfit("the key group_base, since there is group_filter")


def _url(value: object) -> None:
    expected = "a URL such as ldaps://ldap.example.com or ldap://ldap.example.com:389"
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value:
        raise Unfit(expected)
    try:
        parts = urlsplit(value)
        usable = bool(parts.hostname) and parts.username is None and (parts.port is None or parts.port > 0)
    except ValueError:
        raise Unfit(expected) from None
    if not usable or parts.scheme not in ("ldap", "ldaps") or value != f"{parts.scheme}://{parts.netloc}":
        raise Unfit(expected)


def _flag(value: object) -> None:
    if not isinstance(value, bool):
        raise Unfit("true or false")


def _text(value: object) -> None:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise Unfit("a string of printable characters")


def _attribute(value: object) -> None:
    if not isinstance(value, str) or not _ATTRIBUTE.fullmatch(value):
        raise Unfit('the name of an attribute, such as "uid"')


def _template(*needed: str) -> Callable[[object], None]:
    def check(value: object) -> None:
        _text(value)
        found = set(_PLACEHOLDER.findall(str(value)))
        if not found & set(needed) or not found <= set(needed):
            raise Unfit(f"a template with {' or '.join(needed)} in it, and no other braces")

    return check


def _filter(*needed: str) -> Callable[[object], None]:
    template = _template(*needed)

    def check(value: object) -> None:
        template(value)
        text = str(value)
        # RFC 4515: filter = LPAREN filtercomp RPAREN; parentheses in values are escaped.
        if not (text.startswith("(") and text.endswith(")")) or text.count("(") != text.count(")"):
            raise Unfit('a filter in parentheses, such as "(uid={name})"')

    return check


def _timeout(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LONGEST_TIMEOUT:
        raise Unfit(f"a number of seconds from 1 to {LONGEST_TIMEOUT}")


_CHECKS: Final[Checks] = MappingProxyType(
    {
        "url": _url,
        "plain": _flag,
        "anchors": check_credential,
        "dn": _template(NAME),
        "base": _text,
        "filter": _filter(NAME),
        "service_dn": _text,
        "service_password_file": check_credential,
        "name_attribute": _attribute,
        "group_attribute": _attribute,
        "group_base": _text,
        "group_filter": _filter(NAME, DN),
        "timeout": _timeout,
    }
)

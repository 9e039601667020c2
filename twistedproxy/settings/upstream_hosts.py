"""What may stand in one table of ``upstream_tls.hosts``, the servers that are treated in their own way."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from twistedproxy.settings.entries import check_keys, check_within
from twistedproxy.settings.hosts import DEFAULTS, check_host
from twistedproxy.settings.paths import check_credential
from twistedproxy.settings.problems import Unfit

_PIN: Final = re.compile(r"sha256/([A-Za-z0-9+/]{43}=)")


def check_upstream_host(entry: object) -> None:
    """Accept one such table; else `Unfit` says what is wrong, and in which of its keys."""
    entry = check_keys(entry, _CHECKS, 'a table such as { names = ["a.example"], verify = false }')
    for name, value in entry.items():
        _CHECKS[name](name, value)
    if "names" not in entry:
        raise Unfit("the key names, with the hosts that this is for")
    if entry.get("verify") is False:
        for number, host in enumerate(entry["names"]):
            if not _is_one_host(host):
                # One that stands for many would let them go unverified without anybody having named them.
                raise Unfit(
                    "a single host, by its name or address, where verify is false",
                    within=f"names[{number}]",
                    value=host,
                )
        if "anchors" in entry:
            raise Unfit("no anchors where verify is false", within="anchors", value=entry["anchors"])
    if "key" in entry and "certificate" not in entry:
        raise Unfit("the key certificate too, which the private key is for")


def pin_bytes(pin: str) -> bytes:
    """The digest that a pin is. Raises `Unfit`."""
    match = _PIN.fullmatch(pin)
    try:
        if match is not None:
            return base64.b64decode(match[1], validate=True)
    except binascii.Error:
        pass
    raise Unfit('"sha256/" and the SHA-256 of a public key (SubjectPublicKeyInfo) in base64, 44 characters')


def _is_one_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return not host.startswith(".") and not set(host) & set("*?")
    return True


def _host(value: object) -> None:
    if not isinstance(value, str) or value == DEFAULTS:
        raise Unfit('a string such as "example.com"')
    check_host(value)


def _pin(value: object) -> None:
    if not isinstance(value, str):
        raise Unfit('a string such as "sha256/..."')
    pin_bytes(value)


def _list_of(check: Callable[[object], None]) -> Callable[[str, object], None]:
    def check_list(name: str, value: object) -> None:
        if not isinstance(value, (list, tuple)) or not value:
            raise Unfit("a list with one entry at least", within=name, value=value)
        for number, one in enumerate(value):
            check_within(check, f"{name}[{number}]", one)

    return check_list


def _flag(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise Unfit("true or false", within=name, value=value)


def _path(name: str, value: object) -> None:
    check_within(check_credential, name, value)


_CHECKS: Final[Mapping[str, Callable[[str, object], None]]] = MappingProxyType(
    {
        "names": _list_of(_host),
        "verify": _flag,
        "pins": _list_of(_pin),
        "anchors": _list_of(check_credential),
        "certificate": _path,
        "key": _path,
    }
)

"""Request targets and authorities (RFC 9112 section 3.2, RFC 9110 section 4.2)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from ipaddress import IPv6Address
from typing import NamedTuple

from twistedproxy.errors import NotAProxyRequest, SchemeNotImplemented, TargetError

_HTTP = ("http", 80)
_SCHEMES = {b"http": _HTTP, b"https": ("https", 443)}
_HTTP_ORIGIN = b"http://"

# A registered name is held to what host names are made of (letters, digits, hyphens, dots, and the underscore that is
# seen in practice). RFC 3986 would allow percent-encoding and sub-delims, which recipients read in different ways.
_AUTHORITY = re.compile(rb"(?:(\[[0-9A-Fa-f:.]{2,45}\])|([0-9A-Za-z_.-]{1,255}))(?:(:)([0-9]{0,5}))?")
_LONGEST_AUTHORITY = 255 + len(":65535")
_ABSOLUTE = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]*):(?://([^/?]*)(.*))?", re.DOTALL)


class Form(Enum):
    """The four forms of a request target."""

    ORIGIN = "origin"
    ABSOLUTE = "absolute"
    AUTHORITY = "authority"
    ASTERISK = "asterisk"


_ABSOLUTE_FORM = Form.ABSOLUTE
_QUERY = ord("?")


class Authority(NamedTuple):
    """Where an authority leads.

    ``host`` is in lower case, without the brackets of an IPv6 address. ``port`` is 0 when none was given. ``text`` is
    what a Host field says: as received, without an empty port.
    """

    host: str
    port: int
    text: bytes


@dataclass(slots=True)
class Target:
    """A request target that the proxy can act on. Nobody changes it.

    ``path`` is what the next server is asked for: path and query, ``*``, or nothing for CONNECT. ``host`` is empty
    in the asterisk form, which speaks of the proxy itself.
    """

    form: Form
    scheme: str
    host: str
    port: int
    path: bytes
    authority: bytes

    def at(self, address: str) -> Target:
        """The same at ``address``, the canonical spelling of what its host is."""
        if address == self.host:
            return self
        host = f"[{address}]" if ":" in address else address
        is_default = bool(self.scheme) and self.port == _SCHEMES[self.scheme.encode("ascii")][1]
        authority = host if is_default else f"{host}:{self.port}"
        return replace(self, host=address, authority=authority.encode("ascii"))


def parse_authority(text: bytes) -> Authority | None:
    """Read ``host [ ":" port ]``; None when it is not valid, has user information, or an empty host."""
    # Nothing longer is remembered: it would fill memory.
    return _read_authority(text) if len(text) <= _LONGEST_AUTHORITY else None


@lru_cache(maxsize=4096)
def _read_authority(text: bytes) -> Authority | None:
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        return None
    literal, name, colon, digits = match.groups()
    if literal is not None:
        host = literal[1:-1].decode("ascii").lower()
        try:
            IPv6Address(host)
        except ValueError:
            return None
    else:
        host = name.decode("ascii").lower()
        labels = host.removesuffix(".").split(".")
        if any(not 0 < len(label) < 64 for label in labels):
            return None
    port = int(digits) if digits else 0
    if digits and not 0 < port < 65536:
        return None
    return Authority(host, port, text if digits or not colon else text[:-1])


def parse_target(method: bytes, target: bytes) -> Target:
    """Read the target of a request that was sent to a proxy.

    Raises `TargetError` when it is not valid for the method, `SchemeNotImplemented` for a scheme other than http and
    https, and `NotAProxyRequest` when the request is meant for the proxy itself.
    """
    if method == b"CONNECT":
        return _authority_form(target)
    if target == b"*":
        if method != b"OPTIONS":
            raise TargetError('the target "*" goes with OPTIONS only')
        return Target(Form.ASTERISK, "", "", 0, b"*", b"")
    if target.startswith(b"/"):
        raise NotAProxyRequest("the target is a path, without the scheme and host of the server it is for")
    where = None
    known = _HTTP
    if target.startswith(_HTTP_ORIGIN):
        # As nearly always; what follows would find the same, and whatever is wrong.
        end = target.find(b"/", len(_HTTP_ORIGIN))
        if end > 0:
            where = parse_authority(target[len(_HTTP_ORIGIN) : end])
            path = target[end:]
    if where is None:
        known, where, path = _absolute_form(target)
    if not path:
        path = b"*" if method == b"OPTIONS" else b"/"
    elif path[0] == _QUERY:
        path = b"/" + path
    return Target(_ABSOLUTE_FORM, known[0], where.host, where.port or known[1], path, where.text)


def _absolute_form(target: bytes) -> tuple[tuple[str, int], Authority, bytes]:
    """The scheme with its port, the authority, and the rest."""
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        raise TargetError("the target is not an absolute URI")
    scheme, authority, path = match.groups()
    known = _SCHEMES.get(scheme) or _SCHEMES.get(scheme.lower())
    if known is None:
        if authority is None and parse_authority(target) is not None:
            raise TargetError("the target is not an absolute URI")
        raise SchemeNotImplemented(f"the scheme is {scheme[:32].decode('ascii').lower()}")
    if not authority:
        raise TargetError("the target's host is empty")
    where = parse_authority(authority)
    if where is None:
        raise TargetError(
            "the target has user information" if b"@" in authority else "the target's authority is not valid"
        )
    return known, where, path


def _authority_form(target: bytes) -> Target:
    authority = parse_authority(target)
    if authority is None:
        raise TargetError("the target of CONNECT is not host:port")
    if not authority.port:
        # RFC 9110 section 9.3.6: there is no default port.
        raise TargetError("the target of CONNECT has no port")
    return Target(Form.AUTHORITY, "", authority.host, authority.port, b"", authority.text)

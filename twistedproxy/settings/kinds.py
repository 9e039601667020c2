"""The kinds of value that a key can have: how each is read, what it is called, and how it is written in TOML.

A key's type in `types` carries a ``msgspec.Meta`` made by one of the functions here. ``Meta.extra["kind"]``
names the kind; limits stand in the ``Meta`` itself, where msgspec enforces them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import IPv6Address
from types import MappingProxyType
from typing import Final

from msgspec import Meta

from twistedproxy.settings import quantities
from twistedproxy.settings.access_rules import check_access_rule, check_zone
from twistedproxy.settings.account_entries import (
    check_account_group,
    check_certificate_account,
    check_certificate_field,
    check_dotted,
    check_realm,
    check_scheme,
    check_static_account,
)
from twistedproxy.settings.blocklist_tables import check_blocklist
from twistedproxy.settings.directories import check_directory
from twistedproxy.settings.endpoints import parse_endpoint
from twistedproxy.settings.excepted_hosts import check_excepted_host
from twistedproxy.settings.field_names import check_field_line, check_field_name
from twistedproxy.settings.hosts import check_host
from twistedproxy.settings.limit_tables import check_limit
from twistedproxy.settings.name_servers import check_name_server, check_resolver_domain
from twistedproxy.settings.networks import CLIENT_SETS, DESTINATION_SETS, check_network, check_own_address
from twistedproxy.settings.parents import check_route, check_route_name
from twistedproxy.settings.paths import check_credential, check_path
from twistedproxy.settings.ports import check_port
from twistedproxy.settings.problems import Unfit
from twistedproxy.settings.spelling import toml_string, toml_value
from twistedproxy.settings.upstream_hosts import check_upstream_host

YEAR: Final = 365 * 86400
_KIB: Final = 1024
MOST_WORKERS: Final = 64

_LONGEST_SOCKET_PATH: Final = 107
"""Bytes; Linux keeps the path of a Unix socket in 108, with a zero at its end."""

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,255}"
# received-by = pseudonym [ ":" port ], pseudonym = token (RFC 9110 section 7.6.3); and IPv6 literals.
_RECEIVED_BY = re.compile(rf"(?:{_TOKEN}|\[([0-9A-Fa-f:.]{{2,45}})\])(?::([0-9]{{1,5}}))?")
_WHOLE = re.compile(r"[0-9]+[a-z]+")

Read = Callable[[object], object]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of value.

    ``noun`` is what it is called in a message. ``read`` turns what stands in the file into what `Settings`
    holds; it raises `Unfit`, or any ValueError where noun and limits say enough, and msgspec then checks
    type and limits. ``each`` does the same for one entry of a list, and ``distinct`` forbids a second one
    like it. ``unit`` writes a limit, and ``spell`` a value as TOML.
    """

    name: str
    noun: str
    read: Read
    each: Read | None = None
    distinct: bool = False
    unit: Callable[[float], str] = str
    spell: Callable[[object], str] = toml_value


# ---------------------------------------------------------------- what a key's type is annotated with


def duration(description: str, *, least: float = 0.001, most: float = YEAR, examples: Sequence[str] = ()) -> Meta:
    """A duration, in seconds once it is read."""
    return Meta(description=description, ge=least, le=most, examples=[*examples], extra={"kind": "duration"})


def size(description: str, *, least: int, most: int = 16 * _KIB * _KIB, examples: Sequence[str] = ()) -> Meta:
    """A size, in bytes once it is read."""
    return Meta(description=description, ge=least, le=most, examples=[*examples], extra={"kind": "size"})


def count(description: str, *, least: int = 1, most: int = 1_000_000, examples: Sequence[int] = ()) -> Meta:
    """A number of things."""
    return Meta(description=description, ge=least, le=most, examples=[*examples], extra={"kind": "count"})


def flag(description: str) -> Meta:
    """True or false."""
    return Meta(description=description, examples=[False], extra={"kind": "flag"})


def switch(description: str) -> Meta:
    """True or false, of which false is the default."""
    return Meta(description=description, examples=[True], extra={"kind": "flag"})


def choice(description: str, choices: Sequence[str], *, examples: Sequence[str] = ()) -> Meta:
    """One of a few words."""
    extra = {"kind": "choice", "choices": tuple(choices)}
    return Meta(description=description, examples=[*examples], extra=extra)


def special(kind: str, description: str, *, examples: Sequence[object]) -> Meta:
    """A value of the kind that is called ``kind`` in `KINDS`."""
    return Meta(description=description, examples=[*examples], extra={"kind": kind})


# ---------------------------------------------------------------- how values are read


def _as_it_is(value: object) -> object:
    return value


def _pseudonym(value: object) -> object:
    if not isinstance(value, str):
        raise Unfit
    if value:
        match = _RECEIVED_BY.fullmatch(value)
        if match is None or (match[2] is not None and not 1 <= int(match[2]) <= 65535):
            raise Unfit('a token of RFC 9110, host, or host:port, such as "proxy-1"')
        if match[1] is not None:
            try:
                IPv6Address(match[1])
            except ValueError:
                raise Unfit("an IPv6 address between the brackets") from None
    return value


def _log_path(value: object) -> object:
    if not isinstance(value, str):
        raise Unfit
    if not value.isprintable():
        raise Unfit("a path of printable characters")
    if value != value.strip():
        raise Unfit("a path that neither begins nor ends with a space")
    return value


def _socket_path(value: object) -> object:
    if not isinstance(value, str):
        raise Unfit
    if value not in ("", "off"):
        if not value.startswith("/"):
            hint = f'did you mean "{value.lower()}"?' if value.lower() == "off" else ""
            raise Unfit('an absolute path, "off", or nothing', hint)
        if not value.isprintable() or value != value.rstrip():
            raise Unfit("a path of printable characters that does not end with a space")
        if value.endswith("/"):
            raise Unfit("a path that does not end with a slash")
        if len(value.encode()) > _LONGEST_SOCKET_PATH:
            raise Unfit(f"a path of {_LONGEST_SOCKET_PATH} bytes at most: a Unix socket cannot have a longer one")
    return value


def _file_path(value: object) -> object:
    check_path(value)
    return value


def _credential_path(value: object) -> object:
    if value != "":
        check_credential(value)
    return value


def _realm(value: object) -> object:
    check_realm(value)
    return value


def _workers(value: object) -> object:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_WORKERS):
        return value
    hint = ""
    if isinstance(value, str):
        if value.lower() == "auto":
            hint = 'did you mean "auto"?'
        elif value.isascii() and value.isdigit():
            hint = "a number is written without quotes"
    raise Unfit(hint=hint)


def _endpoint(value: object) -> object:
    if not isinstance(value, str):
        raise Unfit('a string such as "tcp:8080"')
    parse_endpoint(value)
    return value


def _port(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise Unfit('a port such as 443, a range such as "8000-8999" or "all"')
    check_port(value)
    return value


def _host(value: object) -> object:
    if not isinstance(value, str):
        raise Unfit('a string such as "example.com"')
    check_host(value)
    return value


def _network(words: Mapping[str, str]) -> Read:
    def read(value: object) -> object:
        if not isinstance(value, str):
            raise Unfit('a string such as "loopback" or "10.0.0.0/8"')
        check_network(value, words)
        return value

    return read


def _list(value: object) -> tuple[object, ...]:
    if not isinstance(value, (list, tuple)):
        raise Unfit
    return tuple(value)


def _source_addresses(value: object) -> object:
    entries = _list(value)
    assert isinstance(entries, tuple)
    if any(sum(isinstance(entry, str) and (":" in entry) is six for entry in entries) > 1 for six in (False, True)):
        raise Unfit("one address of IPv4 and one of IPv6 at most")
    return entries


def _named_apart(what: str) -> Read:
    def read(value: object) -> object:
        entries = _list(value)
        assert isinstance(entries, tuple)
        names = [entry.get("name") for entry in entries if isinstance(entry, Mapping)]
        if any(names.count(name) > 1 for name in names):
            raise Unfit(f"a name of its own for each {what}")
        return entries

    return read


def _route(value: object) -> object:
    check_route_name(value)
    return value


def _zone(value: object) -> object:
    check_zone(value)
    return value


def _some(value: object) -> object:
    entries = _list(value)
    if not entries:
        raise Unfit("at least one endpoint")
    return entries


def _schemes(value: object) -> object:
    entries = _list(value)
    if not entries:
        raise Unfit("at least one scheme")
    if len({str(entry) for entry in entries}) < len(entries):
        raise Unfit("each scheme only once")
    return entries


def _fields(value: object) -> object:
    entries = _list(value)
    assert isinstance(entries, tuple)
    if not entries or len({str(entry) for entry in entries}) < len(entries):
        raise Unfit("at least one field, each only once")
    return entries


def _spell_duration(value: object) -> str:
    assert isinstance(value, float)
    text = quantities.duration_text(value)
    # What needs a fraction stays a number: it is what the operator wrote, and TOML keeps all of its digits.
    return toml_string(text) if _WHOLE.fullmatch(text) else toml_value(value)


def _spell_size(value: object) -> str:
    assert isinstance(value, int)
    text = quantities.size_text(value)
    return toml_string(text) if text.endswith("iB") else toml_value(value)


KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            Kind(
                "duration",
                'a duration such as 10 (seconds), "250ms" or "5m"',
                quantities.parse_duration,
                unit=lambda seconds: quantities.duration_text(float(seconds)),
                spell=_spell_duration,
            ),
            Kind(
                "size",
                'a size such as 65536 (bytes) or "64KiB"',
                quantities.parse_size,
                unit=lambda size: quantities.size_text(int(size)),
                spell=_spell_size,
            ),
            Kind("count", "an integer", _as_it_is),
            Kind("flag", "true or false", _as_it_is),
            Kind("choice", "one of the words", _as_it_is),
            Kind("pseudonym", "a string", _pseudonym),
            Kind("log path", "a string", _log_path),
            Kind("socket path", "a string", _socket_path),
            Kind("file path", "a string", _file_path),
            Kind("file paths", 'a list such as ["/etc/ssl/internal.pem"]', _list, each=check_credential),
            Kind("upstream hosts", "a list of tables", _list, each=check_upstream_host),
            Kind("name servers", 'a list such as ["192.0.2.53"]', _list, each=check_name_server),
            Kind("resolver domains", "a list of tables", _list, each=check_resolver_domain),
            Kind("access rules", "a list of tables", _list, each=check_access_rule),
            Kind("credential path", "a string", _credential_path),
            Kind("static accounts", "a list of tables", _list, each=check_static_account),
            Kind("account groups", "a list of tables", _list, each=check_account_group),
            Kind("directories", "a list of tables", _list, each=check_directory),
            Kind("certificate accounts", "a list of tables", _list, each=check_certificate_account),
            Kind("certificate fields", 'a list such as ["cn", "email"]', _fields, each=check_certificate_field),
            Kind("dotted names", 'a list such as ["example_site.Checker"]', _list, each=check_dotted),
            Kind("schemes", 'a list such as ["digest", "basic"]', _schemes, each=check_scheme),
            Kind("realm", "a string", _realm),
            Kind("blocklists", "a list of tables", _named_apart("list"), each=check_blocklist),
            Kind("limits", "a list of tables", _named_apart("limit"), each=check_limit),
            Kind("route", 'the name of a route such as "direct"', _route),
            Kind("routes", "a list of tables", _named_apart("route"), each=check_route),
            Kind("time zone", "a string", _zone),
            Kind("workers", f'an integer from 1 to {MOST_WORKERS}, or "auto"', _workers),
            Kind(
                "endpoints or none",
                'a list of endpoints such as ["tcp:9180:interface=127.0.0.1"]',
                _list,
                each=_endpoint,
                distinct=True,
            ),
            Kind("endpoints", 'a list of endpoints such as ["tcp:8080"]', _some, each=_endpoint, distinct=True),
            Kind("ports", 'a list of ports such as [443, "8000-8999"]', _list, each=_port),
            Kind("hosts", 'a list such as ["example.com", ".example.org"]', _list, each=_host),
            Kind(
                "source addresses",
                'a list such as ["192.168.7.2", "2001:db8:7::2"]',
                _source_addresses,
                each=check_own_address,
            ),
            Kind("excepted hosts", 'a list such as ["example.com", ".example.org"]', _list, each=check_excepted_host),
            Kind("field names", 'a list such as ["X-Device-Id", "X-Corp-*"]', _list, each=check_field_name),
            Kind("field lines", 'a list such as ["User-Agent: browser"]', _list, each=check_field_line),
            Kind("clients", 'a list such as ["loopback", "10.0.0.0/8"]', _list, each=_network(CLIENT_SETS)),
            Kind(
                "destinations",
                'a list such as ["link-local", "10.0.0.0/8"]',
                _list,
                each=_network(DESTINATION_SETS),
            ),
        )
    }
)


def kind_of(meta: Meta) -> Kind:
    """The kind that ``meta`` names."""
    return KINDS[(meta.extra or {})["kind"]]


def choices(meta: Meta) -> tuple[str, ...]:
    """The words that may be chosen; none where it is no choice."""
    words: tuple[str, ...] = (meta.extra or {}).get("choices", ())
    return words


def expectation(meta: Meta) -> str:
    """What may stand there, in words: ``an integer from 1 to 100``."""
    kind = kind_of(meta)
    if words := choices(meta):
        return "one of " + ", ".join(map(toml_string, words))
    span = limits(meta)
    if not span:
        return kind.noun
    return f"{kind.noun} {span}" if kind.unit is str else f"{kind.noun}, {span}"


def limits(meta: Meta) -> str:
    """The limits of a number, in words: ``from 1 to 100``; empty where it has none."""
    if meta.ge is None or meta.le is None:
        return ""
    unit = kind_of(meta).unit
    return f"from {unit(meta.ge)} to {unit(meta.le)}"


def nearest_choice(meta: Meta, value: object) -> str:
    """The word that was probably meant, as a hint for a message; empty where there is none."""
    if isinstance(value, str):
        for close in get_close_matches(value.lower(), choices(meta), 1, 0.5):
            return f'did you mean "{close}"?'
    return ""

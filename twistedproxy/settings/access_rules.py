"""What may stand in one table of ``access.rules``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from twistedproxy.settings.endpoints import parse_endpoint
from twistedproxy.settings.entries import check_keys, check_within
from twistedproxy.settings.hosts import DEFAULTS, check_host
from twistedproxy.settings.networks import CLIENT_SETS, DESTINATION_SETS, check_network
from twistedproxy.settings.ports import check_port
from twistedproxy.settings.problems import Unfit
from twistedproxy.settings.spelling import toml_string

ACTIONS: Final = ("allow", "deny", "ask", "set")
WAYS: Final = ("plain", "tunnel", "intercepted")
SCHEMES: Final = ("http", "https")
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

GIVEN: Final = ("intercept", "log", "route", "blocklists", "limits")
"""The keys that give something to the client."""
ABOUT_URLS: Final = ("paths", "not_paths", "urls", "not_urls")
ABOUT_DESTINATIONS: Final = ("destinations", "not_destinations")

_REGEX: Final = "~"
_LONGEST_TEXT: Final = 2000
_LONGEST_PATTERN: Final = 1000
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_DAYS: Final = re.compile(rf"({'|'.join(DAYS)})(?:-({'|'.join(DAYS)}))?")
_HOURS: Final = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_access_rule(entry: object) -> None:
    """Accept one such table; else `Unfit` says what is wrong, and in which of its keys."""
    entry = check_keys(entry, _CHECKS, 'a table such as { hosts = [".games.example"], action = "deny" }')
    for name, value in entry.items():
        _CHECKS[name](name, value)
    action = entry.get("action")
    if action is None:
        raise Unfit(f"the key action, one of {_listed(ACTIONS)}")
    _check_together(entry, action)


def _check_together(entry: Mapping[str, object], action: object) -> None:
    """Refuse keys that mean nothing beside others."""
    for name in ("status", "text"):
        if name in entry and action != "deny":
            raise Unfit(f"no {name} where the action is not deny", within=name, value=entry[name])
    given = [name for name in GIVEN if name in entry]
    if given and action not in ("set", "allow"):
        raise Unfit(f"no {given[0]} where the action is neither set nor allow", within=given[0], value=entry[given[0]])
    if action == "set" and not given:
        raise Unfit(f"one of {_listed(GIVEN)} where the action is set")
    late = [name for name in ABOUT_DESTINATIONS if name in entry]
    if late and (given or action == "ask"):
        # They are needed before the name is looked up.
        raise Unfit(f"no {late[0]} where something is set or asked for", within=late[0], value=entry[late[0]])
    if "zone" in entry and not any(name in entry for name in ("days", "hours", "not_hours")):
        raise Unfit("days or hours too, which the zone is for", within="zone", value=entry["zone"])
    if entry.get("ways") in (["tunnel"], ("tunnel",)):
        for name in ABOUT_URLS:
            if name in entry:
                raise Unfit(f"no {name} in a rule for tunnels, which have none", within=name, value=entry[name])


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(map(toml_string, words))


# ---------------------------------------------------------------- single values


def _text_of(value: object, longest: int, what: str) -> str:
    if not isinstance(value, str) or not value or len(value) > longest or not value.isprintable():
        raise Unfit(f"{what} of 1 to {longest} printable characters")
    return value


def _client(value: object) -> None:
    if not isinstance(value, str):
        raise Unfit('a string such as "loopback" or "10.0.0.0/8"')
    check_network(value, CLIENT_SETS)


def _destination(value: object) -> None:
    if not isinstance(value, str):
        raise Unfit('a string such as "private" or "10.0.0.0/8"')
    check_network(value, (*DESTINATION_SETS, "all"))


def _who(value: object) -> None:
    _text_of(value, 256, 'a name, or "*",')


def _days(value: object) -> None:
    if not isinstance(value, str) or _DAYS.fullmatch(value) is None:
        raise Unfit('a day or days such as "sat" or "mon-fri"')


def _hours(value: object) -> None:
    if not isinstance(value, str) or _HOURS.fullmatch(value) is None:
        raise Unfit('hours such as "08:00-17:30", or "22:00-06:00" over midnight')
    start, _, end = value.partition("-")
    if start == end:
        raise Unfit("hours that end at another time than they begin")


def _method(value: object) -> None:
    if not isinstance(value, str) or _TOKEN.fullmatch(value) is None:
        raise Unfit('a method such as "GET"')
    if value != value.upper():
        raise Unfit('a method as it is sent, such as "GET"', f"did you mean {toml_string(value.upper())}?")


def _host(value: object) -> None:
    if not isinstance(value, str) or value == DEFAULTS:
        raise Unfit('a string such as ".example.com"')
    if value.startswith(_REGEX):
        _regex(value)
    else:
        check_host(value)


def _port(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise Unfit('a port such as 443, a range such as "8000-8999" or "all"')
    check_port(value)


def _path(value: object) -> None:
    text = _pattern_text(value)
    if text.startswith(_REGEX):
        _regex(text)
    elif not text.startswith(("/", "*")):
        raise Unfit('a path that begins with "/", or with "*" for any beginning, or a regular expression after "~"')


def _url(value: object) -> None:
    text = _pattern_text(value)
    if text.startswith(_REGEX):
        _regex(text)
    elif "://" not in text and not text.startswith("*"):
        raise Unfit('a URL with its scheme, such as "http://example.com/*", or a regular expression after "~"')


def _field(value: object) -> None:
    text = _pattern_text(value)
    if text.startswith(_REGEX):
        _regex(text)


def _pattern_text(value: object) -> str:
    return _text_of(value, _LONGEST_PATTERN, "a pattern")


def _regex(text: str) -> None:
    _text_of(text, _LONGEST_PATTERN, "a pattern")
    try:
        re.compile(text.removeprefix(_REGEX))
    except (re.error, OverflowError, RecursionError) as error:
        raise Unfit(message=f"not a regular expression: {error}") from None
    if text == _REGEX:
        raise Unfit('a regular expression after the "~"')


def _listener(value: object) -> None:
    if not isinstance(value, str):
        raise Unfit('a string such as "tcp:8080"')
    parse_endpoint(value)


def _word(*words: str) -> Callable[[object], None]:
    def check(value: object) -> None:
        if value not in words:
            close = get_close_matches(value.lower(), words, 1, 0.5) if isinstance(value, str) else []
            raise Unfit(f"one of {_listed(words)}", f"did you mean {toml_string(close[0])}?" if close else "")

    return check


def _plain_name(value: object) -> None:
    if not isinstance(value, str) or _NAME.fullmatch(value) is None:
        raise Unfit("a name of letters, digits, dots, dashes and underscores")


def check_zone(value: object) -> None:
    """Accept the name of a time zone; else `Unfit` says what is wrong."""
    try:
        ZoneInfo(_text_of(value, 64, "the name of a time zone"))
    except (ValueError, OSError, KeyError):
        raise Unfit('a time zone such as "Europe/Berlin" or "UTC"') from None


def _status(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value not in _STATUSES:
        raise Unfit(f"one of {', '.join(map(str, _STATUSES))}")


_STATUSES: Final = (403, 404, 410, 429, 451, 503)
"""With which a denial may be answered: none that means something else to a client or a cache (401, 407, 421)."""


def _flag(value: object) -> None:
    if not isinstance(value, bool):
        raise Unfit("true or false")


def _name(value: object) -> None:
    _text_of(value, 64, "a name")
    assert isinstance(value, str)
    if value.startswith("access."):
        raise Unfit('a name that does not begin with "access."')


def _comment(value: object) -> None:
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
        raise Unfit(f"a text of up to {_LONGEST_TEXT} characters")


def _page_text(value: object) -> None:
    _text_of(value, _LONGEST_TEXT, "a text")


# ---------------------------------------------------------------- the keys


def _single(check: Callable[[object], None]) -> Callable[[str, object], None]:
    return lambda name, value: check_within(check, name, value)


def _list_of(check: Callable[[object], None]) -> Callable[[str, object], None]:
    def check_list(name: str, value: object) -> None:
        if not isinstance(value, (list, tuple)) or not value:
            raise Unfit("a list with one entry at least", within=name, value=value)
        for number, one in enumerate(value):
            check_within(check, f"{name}[{number}]", one)

    return check_list


def _fields(name: str, value: object) -> None:
    if not isinstance(value, Mapping) or not value:
        raise Unfit('a table such as { User-Agent = ["curl/*"] }', within=name, value=value)
    for field, patterns in value.items():
        if _TOKEN.fullmatch(field) is None:
            raise Unfit("the names of fields, such as User-Agent", within=name, value=field)
        _list_of(_field)(f"{name}.{field}", patterns)


_CHECKS: Final[Mapping[str, Callable[[str, object], None]]] = MappingProxyType(
    {
        "name": _single(_name),
        "comment": _single(_comment),
        "clients": _list_of(_client),
        "not_clients": _list_of(_client),
        "users": _list_of(_who),
        "not_users": _list_of(_who),
        "groups": _list_of(_who),
        "not_groups": _list_of(_who),
        "days": _list_of(_days),
        "hours": _list_of(_hours),
        "not_hours": _list_of(_hours),
        "zone": _single(check_zone),
        "ways": _list_of(_word(*WAYS)),
        "listeners": _list_of(_listener),
        "not_listeners": _list_of(_listener),
        "methods": _list_of(_method),
        "not_methods": _list_of(_method),
        "schemes": _list_of(_word(*SCHEMES)),
        "hosts": _list_of(_host),
        "not_hosts": _list_of(_host),
        "ports": _list_of(_port),
        "not_ports": _list_of(_port),
        "paths": _list_of(_path),
        "not_paths": _list_of(_path),
        "urls": _list_of(_url),
        "not_urls": _list_of(_url),
        "fields": _fields,
        "not_fields": _fields,
        "destinations": _list_of(_destination),
        "not_destinations": _list_of(_destination),
        "action": _single(_word(*ACTIONS)),
        "status": _single(_status),
        "text": _single(_page_text),
        "intercept": _single(_flag),
        "log": _single(_flag),
        "route": _single(_plain_name),
        "blocklists": _list_of(_plain_name),
        "limits": _list_of(_plain_name),
    }
)

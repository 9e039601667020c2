"""The routes that the settings name, with the files read that these name: by which parents, and as whom."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from twistedproxy.reading import EXPOSED, Unreadable, Unusable, read_regular
from twistedproxy.settings.load import Fault
from twistedproxy.settings.parents import DIRECT, SOCKS5, ParentAddress, read_parent
from twistedproxy.settings.paths import expand_credential
from twistedproxy.settings.problems import Unfit
from twistedproxy.settings.routes import RoutesSettings, RouteTable
from twistedproxy.settings.types import Settings

_LARGEST: Final = 64 * 1024
"""Bytes of a file with a password."""

_LONGEST_PASSWORD: Final = 255
"""Bytes (RFC 1929 section 2)."""


class RoutesError(Unusable):
    """A file that the routes name cannot be used. The text says which, and why."""


@dataclass(frozen=True, slots=True)
class Route:
    """One way on by other proxies. ``user`` is empty where we say nobody's name to them.

    ``timeout`` and ``retry_after`` are the settings of these names, in seconds.
    """

    name: str
    parents: tuple[ParentAddress, ...]
    user: bytes = b""
    password: bytes = field(default=b"", repr=False)
    timeout: float = 30.0
    retry_after: float = 30.0

    @property
    def forwards(self) -> bool:
        """Whether its parents take requests for http:// URLs as they are, and not only tunnels."""
        return self.parents[0].scheme != SOCKS5

    @property
    def authorization(self) -> bytes:
        """The value of Proxy-Authorization (RFC 7617), or nothing."""
        return b"Basic " + b64encode(self.user + b":" + self.password) if self.user else b""


class Routes:
    """All of the routes. Made with `of`; it never changes."""

    __slots__ = ("_by_name", "default")

    def __init__(self, routes: Mapping[str, Route], default: str) -> None:
        self._by_name: dict[str, Route | None] = {DIRECT: None, **routes}
        self.default = self._by_name[default]

    @classmethod
    def of(cls, settings: RoutesSettings, environment: Mapping[str, str] = os.environ) -> Routes | None:
        """Those that ``settings`` name; None when there is none but the direct one. Raises `RoutesError`."""
        routes = {table.name: _route(table, settings, environment) for table in settings.tables}
        return cls(routes, settings.default) if routes else None

    def __repr__(self) -> str:
        default = DIRECT if self.default is None else self.default.name
        return f"<Routes {', '.join(self._by_name)}; by default {default}>"

    def taken(self, wanted: str) -> Route | None:
        """The route of that name, or the default where it is empty; None for the direct one."""
        return self._by_name[wanted] if wanted else self.default

    def __iter__(self) -> Iterator[Route]:
        return (route for route in self._by_name.values() if route is not None)


def faults(settings: Settings, environment: Mapping[str, str] = os.environ) -> Iterator[tuple[str, Fault]]:
    """What is wrong with the files that the routes name, by key path, as `twistedproxy.settings.load.Check`."""
    for number, table in enumerate(settings.routes.tables):
        try:
            _password(table, environment)
        except RoutesError as error:
            yield "routes.tables", Fault(str(error), number, "password_file")


def _route(table: RouteTable, settings: RoutesSettings, environment: Mapping[str, str]) -> Route:
    return Route(
        table.name,
        tuple(map(read_parent, table.parents)),
        table.user.encode(),
        _password(table, environment),
        settings.timeout,
        settings.retry_after,
    )


def _password(table: RouteTable, environment: Mapping[str, str]) -> bytes:
    """The first line of the file that has it."""
    if not table.password_file:
        return b""
    try:
        path = expand_credential(table.password_file, environment)
        content = read_regular(path, _LARGEST, secret=EXPOSED)
    except Unfit as unfit:
        raise RoutesError(f"expected {unfit.expected}") from None
    except Unreadable as error:
        raise RoutesError(str(error)) from None
    password = content.partition(b"\n")[0].rstrip(b"\r")
    if not 0 < len(password) <= _LONGEST_PASSWORD:
        raise RoutesError(f"the first line of {path} is no password of 1 to {_LONGEST_PASSWORD} bytes")
    return password

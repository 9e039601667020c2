"""The program that a service is to run: where it lies, and what the units have to know of it and of its settings."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import twistedproxy
from twistedproxy.settings.endpoints import parse_endpoint
from twistedproxy.settings.types import Settings
from twistedproxy.systemd.layout import Layout
from twistedproxy.systemd.steps import InstallationError
from twistedproxy.systemd.units import LOGS, RUNTIME, STATE, Service

CACHE_NAME = "dropin.cache"
"""What Twisted's plugin system remembers of a directory of plugins."""

_NO_PATH = ("", "-", "off")


@dataclass(frozen=True, slots=True)
class Program:
    """An interpreter with everything that the proxy needs.

    ``code`` are the directories that hold it, none of them within another. ``caches`` are where Twisted keeps what it
    knows of its plugins; it writes there when twistd starts, if it may.
    """

    python: Path
    twistd: Path
    code: tuple[Path, ...]
    caches: tuple[Path, ...]


def this_program() -> Program:
    """The interpreter that runs this; `InstallationError` when there is no twistd beside it."""
    python = Path(os.path.abspath(sys.executable))
    twistd = python.with_name("twistd")
    if not os.access(twistd, os.X_OK):
        raise InstallationError(f"there is no twistd beside {python}: install twistedproxy into a virtual environment")
    import twisted.plugins

    code = outermost(Path(path) for path in (sys.prefix, sys.base_prefix, *_source_tree()))
    plugins = tuple(Path(directory) / CACHE_NAME for directory in twisted.plugins.__path__ if os.path.isdir(directory))
    return Program(python, twistd, code, plugins)


def _source_tree() -> list[str]:
    """Where the package lies; for an editable installation that is not in the environment."""
    return [os.path.dirname(os.path.abspath(directory)) for directory in twistedproxy.__path__]


def service_of(
    settings: Settings,
    program: Program,
    layout: Layout,
    *,
    config: Path,
    socket_activation: bool = False,
    credentials: Sequence[tuple[str, str]] = (),
) -> Service:
    """What the units depend on, for these settings, which the service will read from ``config``."""
    drain = settings.service.drain_timeout + getattr(settings.service, "drain_delay", 0.0)
    return Service(
        twistd=str(program.twistd),
        config=str(config),
        system=layout.system,
        socket_activation=socket_activation,
        listen=settings.downstream.listen,
        drain=drain,
        credentials=tuple(credentials),
        code=tuple(map(str, outermost((*program.code, config.parent)))),
        writable=_writable(settings, socket_activation),
    )


def _writable(settings: Settings, socket_activation: bool) -> tuple[str, ...]:
    """The directories of its logs and its sockets that are not the service's own already."""
    written = [log for log in (settings.log.access, settings.log.websocket) if log not in _NO_PATH]
    if not socket_activation:
        endpoints = map(parse_endpoint, settings.downstream.listen)
        written += [endpoint.arguments["address"] for endpoint in endpoints if endpoint.kind == "unix"]
    directories = outermost(Path(path).parent for path in written if os.path.isabs(path))
    own = (STATE, LOGS, RUNTIME)
    return tuple(str(one) for one in directories if not any(one.is_relative_to(directory) for directory in own))


def outermost(paths: Iterable[Path]) -> tuple[Path, ...]:
    """``paths`` in order, without those that lie within another one."""
    found = sorted(set(paths))
    return tuple(one for one in found if not any(one != other and one.is_relative_to(other) for other in found))

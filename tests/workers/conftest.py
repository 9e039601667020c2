"""What the tests of the workers share: orders, first words, and the log of what is said."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from twistedproxy import __version__
from twistedproxy.control.link import Orders, Startup
from twistedproxy.settings.load import load

LOOPBACK = "tcp:0:interface=127.0.0.1"

MakeOrders = Callable[..., Orders]


@pytest.fixture
def make_orders(tmp_path: Path) -> MakeOrders:
    """Orders for settings such as ``service__drain_timeout="3"``."""

    def make(generation: int = 1, workers: int = 2, level: str = "info", **settings: str) -> Orders:
        wanted = {"downstream.listen": LOOPBACK, "log.access": str(tmp_path / "access.log")}
        wanted |= {name.replace("__", "."): value for name, value in settings.items()}
        loaded = load("", "test", list(wanted.items())).settings
        return Orders(loaded, generation, workers, tuple(loaded.downstream.listen), level)

    return make


@pytest.fixture
def startup(tmp_path: Path) -> Startup:
    """The first words to a worker of a daemon."""
    options: dict[str, str | int | None] = {"nodaemon": 0, "logfile": str(tmp_path / "proxy.log"), "syslog": 0}
    return Startup(__version__, 0, "pyproxy-test", False, str(tmp_path / "access.log"), options)


@pytest.fixture
def environment() -> dict[str, str]:
    """The variables of a worker's process."""
    return dict(os.environ)


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What is logged of the house's own, each with its level."""
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        if event["log_namespace"].startswith("twistedproxy."):
            lines.append(f"{event['log_level'].name} {formatEvent(event)}")

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


@pytest.fixture
def turn(running_reactor: Any) -> Callable[[], Any]:
    """One turn of the real reactor."""
    from twisted.internet.task import deferLater

    return lambda: deferLater(running_reactor, 0)

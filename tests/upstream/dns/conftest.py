"""Scripted name servers for the tests of this room."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import Clock

from tests.upstream.dns.scripted import ScriptedServer
from twistedproxy.deadlines import Deadlines


@pytest.fixture
def make_server(running_reactor: Any) -> Iterator[Callable[..., ScriptedServer]]:
    """Starts servers."""
    made: list[ScriptedServer] = []

    def make(**how: Any) -> ScriptedServer:
        made.append(ScriptedServer(running_reactor, **how))
        return made[-1]

    yield make
    for server in made:
        pytest_twisted.blockon(server.stop())


@pytest.fixture
def server(make_server: Callable[..., ScriptedServer]) -> ScriptedServer:
    return make_server()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def deadlines(clock: Clock) -> Deadlines:
    return Deadlines(clock)

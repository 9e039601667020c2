"""Keepers of lists without a network, and whose processes are none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from twistedproxy.access.blocklists.report import Report
from twistedproxy.blocklists.compiling import Job, compile_now
from twistedproxy.blocklists.fetching import Fetched, Wish
from twistedproxy.blocklists.files import BlocklistError
from twistedproxy.blocklists.keeper import Keeper
from twistedproxy.settings.load import load
from twistedproxy.settings.types import Settings

NOW = 1_800_000_000.0


class Compilation:
    """Compiles at once, or when `go` says so."""

    def __init__(self) -> None:
        self.waits = False
        self.jobs: list[tuple[Job, Deferred[Report]]] = []
        self.stopped = False

    def __call__(self, job: Job) -> Deferred[Report]:
        if self.waits:
            result: Deferred[Report] = Deferred()
            self.jobs.append((job, result))
            return result
        try:
            return succeed(compile_now(job))
        except BlocklistError as error:
            return fail(error)

    def go(self) -> None:
        """Do the first job that waits."""
        job, result = self.jobs.pop(0)
        result.callback(compile_now(job))

    def stop(self) -> None:
        self.stopped = True


class Servers:
    """What is fetched, by URL: content, or an error."""

    def __init__(self) -> None:
        self.content: dict[str, bytes | str] = {}
        self.wishes: list[Wish] = []

    def __call__(self, wish: Wish, into: Path, settings: Settings) -> Deferred[Fetched]:
        self.wishes.append(wish)
        content = self.content[wish.url]
        if isinstance(content, str):
            return fail(BlocklistError(content))
        etag = f'"{hash(content)}"'
        if wish.etag == etag:
            return succeed(Fetched(False, etag))
        into.write_bytes(content)
        return succeed(Fetched(True, etag))


class House:
    """A keeper, and what is around it."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.files = state / "blocklists"
        self.clock = Clock()
        self.compile = Compilation()
        self.servers = Servers()
        self.changes = 0
        self.keeper = self.new_keeper()

    def new_keeper(self) -> Keeper:
        """One that knows nothing but what is on disk."""
        return Keeper(self.clock, self.state, self.compile, self.servers, seconds=lambda: NOW + self.clock.seconds())

    def changed(self) -> None:
        """The lists are others."""
        self.changes += 1

    def start(self, *tables: str) -> None:
        """Begin with the lists of these tables."""
        self.keeper.begin(settings(*tables), self.changed)

    def restart(self, *tables: str) -> None:
        """Begin anew, with what is on disk."""
        self.keeper.stop()
        self.keeper = self.new_keeper()
        self.start(*tables)

    def blocks(self, host: str) -> str:
        """The list that blocks ``host``; empty when none does."""
        found = self.keeper.test(host, "", 0, b"")
        return found.list if found is not None else ""


def settings(*tables: str, more: str = "") -> Settings:
    """Settings with these lists."""
    lists = "".join(f"[[blocklists.lists]]\n{table}\n" for table in tables)
    return load(f"[blocklists]\n{more}\n{lists}", "a.toml").settings


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "state")
    yield house
    house.keeper.stop()


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], str]:
    """Writes a list into a file, and says what names it."""

    def write_list(name: str, content: str) -> str:
        path = tmp_path / f"{name}.txt"
        path.write_text(content)
        return f'name = "{name}"\nsource = "{path}"'

    return write_list

"""What the API asks of the daemon, done: `twistedproxy.control.steering.Steered`, on the service."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from twistedproxy import __version__
from twistedproxy.control.steering import CannotBeDone
from twistedproxy.control.types import (
    Candidate,
    Change,
    Connections,
    Level,
    Setting,
    SettingsInForce,
    State,
    Status,
    Verdict,
    Worker,
)
from twistedproxy.listeners import address_text
from twistedproxy.record.statistics import Statistics
from twistedproxy.settings.describe import warnings
from twistedproxy.settings.keys import keys
from twistedproxy.settings.load import Loaded
from twistedproxy.settings.problems import SettingsError
from twistedproxy.settings.types import Settings

if TYPE_CHECKING:
    from twistedproxy.service import ProxyService


class Steering:
    """The service, as the API sees it."""

    def __init__(self, service: ProxyService) -> None:
        self._service = service

    def __repr__(self) -> str:
        return f"<Steering of {self._service!r}>"

    @property
    def state(self) -> State:
        return self._service.state

    @property
    def log_level(self) -> Level:
        return self._service.level

    def status(self) -> Deferred[Status]:
        return self._service.workforce.numbers().addCallback(self._status)

    def _status(self, numbers: tuple[list[Worker], Statistics]) -> Status:
        service = self._service
        return Status(
            version=__version__,
            pid=os.getpid(),
            state=service.state,
            started=service.started,
            uptime=time.monotonic() - service.started_monotonic,
            generation=service.generation,
            settings_file=service.loaded.files[0] if service.loaded.files else "",
            log_level=self.log_level,
            listeners=[address_text(address) for address in service.addresses()],
            reloads=service.reloads,
            reloads_failed=service.reloads_failed,
            workers=numbers[0],
            statistics=numbers[1],
        )

    def connections(self, limit: int, client: str, state: str) -> Deferred[Connections]:
        listing = self._service.workforce.connections(limit, client, state)
        return listing.addCallback(lambda found: Connections(found.total, found.connections))

    def close_connection(self, id: str) -> Deferred[bool]:
        worker, dash, number = id.partition("-")
        if not (dash and worker.isdecimal() and number.isdecimal() and len(id) < 32):
            return succeed(False)
        return self._service.workforce.close_connection(int(worker), int(number))

    def settings(self) -> SettingsInForce:
        loaded = self._service.loaded
        return SettingsInForce(
            generation=self._service.generation,
            file=loaded.files[0] if loaded.files else "",
            settings=[Setting(path, _plain(_value(loaded.settings, path)), loaded.sources[path]) for path in keys()],
        )

    def judge(self, candidate: Candidate) -> Verdict:
        try:
            loaded = self._service.load(candidate.toml)
        except SettingsError as error:
            return Verdict(False, str(error).splitlines(), [], [])
        return Verdict(True, [], self._changes(loaded), list(warnings(loaded.settings, loaded.ignored)))

    def _changes(self, loaded: Loaded) -> list[Change]:
        running = self._service.loaded.settings
        return [
            Change(path, key.kind.spell(old), key.kind.spell(new), loaded.sources[path])
            for path, key in keys().items()
            if (old := _value(running, path)) != (new := _value(loaded.settings, path))
        ]

    def apply(self, candidate: Candidate) -> Deferred[Verdict]:
        verdict = self.judge(candidate)
        if not verdict.valid:
            return succeed(verdict)
        text = candidate.toml
        if text is None or not candidate.persist:
            return self._service.apply(text).addCallback(lambda _: verdict)
        try:
            undo = replace_file(self._service.surroundings.settings_file, text)
        except OSError as error:
            return fail(CannotBeDone(f"the settings file cannot be written: {error}"))

        def not_used(failure: Failure) -> Failure:
            undo()
            return failure

        return self._service.reload().addCallbacks(lambda _: verdict, not_used)

    def reload(self) -> Deferred[None]:
        return self._service.reload()

    def drain(self, timeout: float | None) -> None:
        self._service.begin_to_stop(timeout)

    def upgrade(self) -> Deferred[int]:
        return self._service.upgrade()

    def set_log_level(self, level: Level) -> Deferred[None]:
        self._service.set_level(level)
        return succeed(None)


def replace_file(path: str, text: str) -> Callable[[], None]:
    """Put ``text`` into the file at ``path`` in one step, with the mode it had. What undoes it; raises `OSError`."""
    try:
        with open(path, encoding="utf-8") as file:
            before: str | None = file.read()
        mode = os.stat(path).st_mode & 0o7777
    except FileNotFoundError:
        before, mode = None, 0o644
    directory = os.path.dirname(path)
    os.makedirs(directory, mode=0o755, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=".pyproxy-", dir=directory)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise

    def undo() -> None:
        if before is None:
            os.unlink(path)
        else:
            replace_file(path, before)

    return undo


def _value(settings: Settings, path: str) -> Any:
    table, _, name = path.partition(".")
    return getattr(getattr(settings, table), name)


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value)

"""What an operator asks of the daemon, done on a service with one worker."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from tests.test_service import Fixture, worker
from tests.test_service import fixture as fixture
from twistedproxy import __version__
from twistedproxy.control.steering import CannotBeDone
from twistedproxy.control.types import Candidate, Inquiry, Setting
from twistedproxy.service import ProxyService
from twistedproxy.settings.keys import keys
from twistedproxy.steering import KeptFile, Steering

OTHER = '[forwarding]\nvia = "other"\n'


class Steered:
    """A service, steered, with its settings file on the disk."""

    def __init__(self, fixture: Fixture) -> None:
        self.fixture = fixture
        self.file = fixture.directory / "pyproxy.toml"
        fixture.text = ""
        self.service: ProxyService = fixture.make()
        self.steering = Steering(self.service)
        in_memory = fixture.load

        def load(candidate: str | None = None) -> Any:
            on_disk = self.file.read_text() if self.file.exists() else ""
            return in_memory(on_disk if candidate is None else candidate)

        self.service.load = load

    @property
    def via(self) -> str:
        return str(worker(self.service).plane.snapshot.settings.forwarding.via)


@pytest.fixture
def steered(fixture: Fixture) -> Steered:
    """A service that listens."""
    return Steered(fixture)


# ---------------------------------------------------------------- what it tells


@pytest_twisted.ensureDeferred
async def test_status(steered: Steered) -> None:
    service = steered.service
    assert repr(steered.steering) == f"<Steering of {service!r}>"
    status = await steered.steering.status()
    assert (status.version, status.pid, status.state) == (__version__, os.getpid(), "starting")
    assert (status.generation, status.reloads, status.reloads_failed) == (1, 0, 0)
    assert (status.started, status.log_level) == (service.started, "info")
    assert 0 <= status.uptime < 60
    assert status.listeners == [f"127.0.0.1:{service.addresses()[0].port}"]
    assert status.settings_file == (service.loaded.files[0] if service.loaded.files else "")
    (one,) = status.workers
    assert (one.number, one.pid, one.state) == (0, os.getpid(), "ready")
    assert status.statistics.descriptors == one.statistics.descriptors > 0


@pytest_twisted.ensureDeferred
async def test_status_after_the_end(steered: Steered) -> None:
    await steered.service.stopService()  # type: ignore[misc]  # Twisted's Deferred is awaitable
    status = await steered.steering.status()
    assert (status.state, status.listeners, status.workers) == ("draining", [], [])


def test_settings(steered: Steered) -> None:
    told = steered.steering.settings()
    assert (told.generation, [one.key for one in told.settings]) == (1, list(keys()))
    by_key = {one.key: one for one in told.settings}
    assert by_key["downstream.listen"] == Setting("downstream.listen", ["tcp:0:interface=127.0.0.1"], "--set")
    assert by_key["log.level"] == Setting("log.level", "info", "default")
    assert by_key["access.clients"].source == "default"


@pytest_twisted.ensureDeferred
async def test_settings_from_a_file(steered: Steered) -> None:
    steered.file.write_text(OTHER)
    await steered.steering.reload()
    told = steered.steering.settings()
    (via,) = [one for one in told.settings if one.key == "forwarding.via"]
    assert (told.generation, via) == (2, Setting("forwarding.via", "other", "pyproxy.toml:2"))


@pytest_twisted.ensureDeferred
async def test_connections(steered: Steered) -> None:
    found = await steered.steering.connections(10, "", "")
    assert (found.total, found.connections) == (0, [])


@pytest_twisted.ensureDeferred
async def test_learned(steered: Steered) -> None:
    assert (await steered.steering.learned("", True)).learned == []


@pytest_twisted.ensureDeferred
async def test_explain(steered: Steered) -> None:
    steered.file.write_text('[[access.rules]]\nname = "no"\nhosts = ["a.test"]\naction = "deny"\n')
    await steered.steering.reload()
    told = await steered.steering.explain(Inquiry("http://a.test/"))
    assert (told.allowed, told.requests[0].rule) == (False, "no")
    assert told.requests[0].steps[-1].source == "pyproxy.toml:1"
    # Its own listener is never reached.
    port = steered.service.addresses()[0].port
    told = await steered.steering.explain(Inquiry(f"http://127.0.0.1:{port}/"))
    assert told.requests[0].reason == "destination_denied"


@pytest.mark.parametrize("id", ["", "0", "-", "0-", "-1", "a-1", "0-1-2", "\u00b2-1", "0-" + "1" * 40, "0-1", "7-1"])
@pytest_twisted.ensureDeferred
async def test_id_that_nobody_has(steered: Steered, id: str) -> None:
    assert await steered.steering.close_connection(id) is False


@pytest_twisted.ensureDeferred
async def test_level(steered: Steered) -> None:
    assert steered.steering.log_level == "info"
    await steered.steering.set_log_level("debug")
    assert (steered.steering.log_level, steered.service.level) == ("debug", "debug")
    await steered.steering.reload()
    assert steered.steering.log_level == "info"


# ---------------------------------------------------------------- candidates


def test_candidate_that_is_wrong(steered: Steered) -> None:
    verdict = steered.steering.judge(Candidate("[upstream]\nconnect_timeout = -1\nidle = 3\n"))
    assert (verdict.valid, verdict.changes, verdict.warnings) == (False, [], [])
    assert [problem.partition(": ")[0] for problem in verdict.problems] == ["pyproxy.toml:2", "pyproxy.toml:3"]


def test_what_a_candidate_changes(steered: Steered) -> None:
    verdict = steered.steering.judge(Candidate(OTHER + '[access]\nclients = ["all"]\nconnect_ports = ["all"]\n'))
    changes = {one.key: (one.running, one.candidate, one.source) for one in verdict.changes}
    assert verdict.valid
    assert changes.keys() == {"forwarding.via", "access.clients", "access.connect_ports"}
    assert changes["forwarding.via"] == ('""', '"other"', "pyproxy.toml:2")
    assert changes["access.clients"][1:] == ('["all"]', "pyproxy.toml:4")
    assert len(verdict.warnings) >= 1
    assert steered.via == ""


def test_what_is_on_the_disk(steered: Steered) -> None:
    assert steered.steering.judge(Candidate()).changes == []
    steered.file.write_text(OTHER)
    assert [one.key for one in steered.steering.judge(Candidate()).changes] == ["forwarding.via"]


@pytest.mark.parametrize("persist", [False, True])
@pytest_twisted.ensureDeferred
async def test_apply(steered: Steered, persist: bool) -> None:
    verdict = await steered.steering.apply(Candidate(OTHER, persist))
    assert [one.key for one in verdict.changes] == ["forwarding.via"]
    assert (steered.via, steered.service.generation) == ("other", 2)
    assert steered.file.exists() is persist
    if persist:
        assert steered.file.read_text() == OTHER
    # A reload without it goes back.
    await steered.steering.reload()
    assert steered.via == ("other" if persist else "")


@pytest_twisted.ensureDeferred
async def test_apply_what_is_on_the_disk(steered: Steered) -> None:
    steered.file.write_text(OTHER)
    await steered.steering.apply(Candidate(None, True))
    assert steered.via == "other"


@pytest_twisted.ensureDeferred
async def test_apply_what_is_wrong(steered: Steered) -> None:
    verdict = await steered.steering.apply(Candidate("no", True))
    assert (verdict.valid, steered.file.exists(), steered.service.generation) == (False, False, 1)


@pytest.mark.parametrize("before", [None, '[forwarding]\r\nvia = "b\u00e9fore"\r\n'.replace("\u00e9", "e")])
@pytest_twisted.ensureDeferred
async def test_file_is_as_it_was_when_it_cannot_be_used(
    steered: Steered, before: str | None, logged_errors: Any
) -> None:
    if before is not None:
        steered.file.write_bytes(before.encode())
    steered.fixture.settings = (("downstream.listen", "systemd:domain=INET:index=0"),)
    with pytest.raises(CannotBeDone, match="systemd has passed on no such socket"):
        await steered.steering.apply(Candidate(OTHER, True))
    assert steered.file.exists() is (before is not None)
    if before is not None:
        assert steered.file.read_bytes() == before.encode()
    steered.fixture.settings = ()
    logged_errors.flush_messages()


@pytest_twisted.ensureDeferred
async def test_file_that_cannot_be_written(steered: Steered, logged_errors: Any) -> None:
    steered.service.surroundings.settings_file = "/proc/none/pyproxy.toml"
    with pytest.raises(CannotBeDone, match=r"^the settings file cannot be written: "):
        await steered.steering.apply(Candidate(OTHER, True))
    assert steered.service.generation == 1
    logged_errors.flush_messages()


@pytest_twisted.ensureDeferred
async def test_file_is_written_in_its_turn(steered: Steered) -> None:
    """While another change is under way, nobody finds a file that has not been judged by the whole daemon."""
    release: Any = steered.service._changing.acquire()
    lock = await release
    applied = steered.steering.apply(Candidate(OTHER, True))
    assert not steered.file.exists()
    lock.release()
    await applied
    assert steered.file.read_text() == OTHER


@pytest_twisted.ensureDeferred
async def test_drain_and_upgrade(steered: Steered, logged_errors: Any) -> None:
    with pytest.raises(CannotBeDone, match=r"^the daemon is starting$"):
        await steered.steering.upgrade()
    steered.steering.drain(7.0)
    assert (steered.steering.state, steered.service._drain_timeout) == ("draining", 7.0)
    assert steered.fixture.reactor.stopped == 1
    with pytest.raises(CannotBeDone, match=r"^the daemon is stopping$"):
        await steered.steering.apply(Candidate(OTHER, True))
    assert not steered.file.exists()


# ---------------------------------------------------------------- the file


def test_file_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "pyproxy.toml"
    path.write_text("old")
    path.chmod(0o640)
    kept = KeptFile(str(path))
    kept.replace("new")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o640)
    assert repr(kept) == f"<KeptFile {path} replaced>"
    kept.restore()
    kept.restore()
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("old", 0o640)
    assert os.listdir(tmp_path) == ["pyproxy.toml"]


def test_file_that_was_not_there(tmp_path: Path) -> None:
    path = tmp_path / "new" / "pyproxy.toml"
    kept = KeptFile(str(path))
    kept.restore()
    kept.replace("new")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o644)
    kept.restore()
    assert list(path.parent.iterdir()) == []


def test_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real.toml").write_text("old")
    (tmp_path / "pyproxy.toml").symlink_to("real.toml")
    KeptFile(str(tmp_path / "pyproxy.toml")).replace("new")
    assert (tmp_path / "pyproxy.toml").is_symlink()
    assert (tmp_path / "real.toml").read_text() == "new"


def test_nothing_is_left_of_an_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "pyproxy.toml"
    path.write_bytes(b"\xff")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    kept = KeptFile(str(path))
    with pytest.raises(OSError, match="No space left"):
        kept.replace("new")
    kept.restore()
    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"\xff", ["pyproxy.toml"])

"""The leaves of the authority in use: when they come about, and when they are others."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from cryptography import x509
from twisted.internet.defer import Deferred

from tests.tls.certificates import pem_of
from tests.tls.conftest import Make
from twistedproxy.settings.operation import TLSSettings
from twistedproxy.tls.authority import AuthorityError
from twistedproxy.tls.authority_files import KEY_FILE, own_authority, renew_authority
from twistedproxy.tls.issuing import LOOK, RETRY, Issuer
from twistedproxy.tls.leaves import Leaves
from twistedproxy.tls.names import asked_for

CA = (x509.BasicConstraints(True, None), True)


@pytest.fixture
def time(now: datetime) -> list[datetime]:
    """The present, in a list, to be changed."""
    return [now]


@pytest.fixture
def issuer(running_reactor: Any, tmp_path: Path, time: list[datetime]) -> Issuer:
    return Issuer(running_reactor, tmp_path, TLSSettings(), lambda: time[0].timestamp())


def later(time: list[datetime], seconds: float) -> None:
    time[0] += timedelta(seconds=seconds)


@pytest_twisted.ensureDeferred
async def test_made_when_they_are_asked_for(issuer: Issuer, tmp_path: Path) -> None:
    assert not (tmp_path / "ca").exists()
    assert repr(issuer) == "<Issuer 'idle'>"
    asked = [issuer.leaves() for _ in range(100)]
    assert not asked[0].called
    leaves = await asked[0]
    assert all([await one is leaves for one in asked[1:]])
    # From now on at once.
    assert issuer.leaves().result is leaves
    assert (tmp_path / "ca" / KEY_FILE).exists()
    assert repr(issuer).startswith("<Issuer <Leaves of <Authority own ")
    assert leaves.context(asked_for("a.test")) is leaves.context(asked_for("a.test"))


@pytest_twisted.ensureDeferred
async def test_what_the_settings_say(running_reactor: Any, tmp_path: Path, now: datetime) -> None:
    settings = TLSSettings(leaf_lifetime=7200.0, leaf_cache=1)
    issuer = Issuer(running_reactor, tmp_path, settings, now.timestamp)
    leaves = await issuer.leaves()
    first = leaves.context(asked_for("a.test"))
    leaves.context(asked_for("b.test"))
    assert leaves.context(asked_for("a.test")) is not first
    assert leaves._lifetime == timedelta(hours=2)


@pytest_twisted.ensureDeferred
async def test_renewed_authority(issuer: Issuer, tmp_path: Path, time: list[datetime]) -> None:
    first = await issuer.leaves()
    renewed = renew_authority(tmp_path / "ca", time[0])
    # The file is looked at once a second.
    assert issuer.leaves().result is first
    later(time, LOOK)
    second = await issuer.leaves()
    assert second.authority.fingerprint == renewed.fingerprint
    later(time, LOOK)
    assert issuer.leaves().result is second


@pytest_twisted.ensureDeferred
async def test_file_that_is_gone(issuer: Issuer, tmp_path: Path, time: list[datetime]) -> None:
    """What is in memory goes on."""
    leaves = await issuer.leaves()
    (tmp_path / "ca" / KEY_FILE).unlink()
    later(time, LOOK)
    assert issuer.leaves().result is leaves


@pytest_twisted.ensureDeferred
async def test_other_settings(issuer: Issuer, tmp_path: Path, issue: Make) -> None:
    first = await issuer.leaves()
    issuer.use(TLSSettings())
    assert issuer.leaves().result is first
    path = tmp_path / "operators.pem"
    path.touch(0o600)
    path.write_bytes(pem_of(*issue("the operator's", CA)))
    issuer.use(TLSSettings(authority=str(path)))
    second = await issuer.leaves()
    assert (second.authority.origin, second.authority.subject) == ("operator", "CN=the operator's")
    issuer.use(TLSSettings())
    assert (await issuer.leaves()).authority.fingerprint == first.authority.fingerprint


@pytest_twisted.ensureDeferred
async def test_reload_meanwhile(issuer: Issuer, tmp_path: Path) -> None:
    waiting = issuer.leaves()
    issuer.use(TLSSettings(leaf_lifetime=7200.0))
    assert (await waiting)._lifetime == timedelta(hours=2)


async def error_of(waiting: Deferred[Leaves]) -> str:
    with pytest.raises(AuthorityError) as raised:
        await waiting
    return str(raised.value)


@pytest_twisted.ensureDeferred
async def test_authority_that_cannot_be_used(
    issuer: Issuer, tmp_path: Path, time: list[datetime], logged_errors: Any
) -> None:
    own_authority(tmp_path / "ca", time[0])
    key = tmp_path / "ca" / KEY_FILE
    key.chmod(0o644)
    both = [issuer.leaves(), issuer.leaves()]
    errors = [await error_of(one) for one in both]
    assert errors[0] == errors[1]
    assert "has a private key that other users can read" in errors[0]
    assert logged_errors.flush_messages() == [f"no tunnel can be opened: {errors[0]}"]
    # It is not tried again at once, nor said again.
    key.chmod(0o600)
    assert await error_of(issuer.leaves()) == errors[0]
    later(time, RETRY)
    assert (await issuer.leaves()).authority.origin == "own"


@pytest_twisted.ensureDeferred
async def test_a_reload_tries_again(issuer: Issuer, tmp_path: Path, logged_errors: Any) -> None:
    issuer.use(TLSSettings(authority=str(tmp_path / "nowhere.pem")))
    assert await error_of(issuer.leaves()) == f"{tmp_path}/nowhere.pem: No such file or directory"
    issuer.use(TLSSettings())
    assert (await issuer.leaves()).authority.origin == "own"
    assert len(logged_errors.flush_messages()) == 1


@pytest_twisted.ensureDeferred
async def test_the_authority_ends(issuer: Issuer, time: list[datetime], logged_errors: Any) -> None:
    leaves = await issuer.leaves()
    time[0] = leaves.authority.ends
    assert "ended on" in await error_of(issuer.leaves())
    assert len(logged_errors.flush_messages()) == 1


@pytest_twisted.ensureDeferred
async def test_a_fault_of_our_own(issuer: Issuer, monkeypatch: pytest.MonkeyPatch, logged_errors: Any) -> None:
    def divide(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("twistedproxy.tls.issuing.own_authority", divide)
    assert await error_of(issuer.leaves()) == "a fault of the proxy's own"
    assert len(logged_errors.flush(ZeroDivisionError)) == 1

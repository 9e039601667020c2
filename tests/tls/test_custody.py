"""Which authority is in use, that it comes about when asked for, and what is said of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from cryptography import x509
from twisted.internet.task import Clock

from tests.tls.certificates import pem_of
from tests.tls.conftest import Make
from twistedproxy.settings.operation import TLSSettings
from twistedproxy.tls.authority import AuthorityError
from twistedproxy.tls.authority_files import KEY_FILE, own_authority
from twistedproxy.tls.custody import DAY, Custody

CA = (x509.BasicConstraints(True, None), True)


@pytest.fixture
def time(now: datetime) -> list[datetime]:
    """The present, in a list, to be changed."""
    return [now]


@pytest.fixture
def custody(running_reactor: Any, tmp_path: Path, time: list[datetime]) -> Custody:
    return Custody(running_reactor, tmp_path, lambda: time[0].timestamp())


@pytest.fixture
def operators(tmp_path: Path, issue: Make) -> Path:
    path = tmp_path / "operators.pem"
    path.touch(0o600)
    path.write_bytes(pem_of(*issue("the operator's", CA)))
    return path


@pytest_twisted.ensureDeferred
async def test_made_when_it_is_asked_for(custody: Custody, tmp_path: Path, said: list[str]) -> None:
    custody.use(TLSSettings())
    assert not (tmp_path / "ca").exists()
    made = await custody.authority()
    assert (tmp_path / "ca" / KEY_FILE).exists()
    assert (await custody.authority()).fingerprint == made.fingerprint
    assert custody.files()[0] == str(tmp_path / "ca" / KEY_FILE)
    assert len(custody.files()) == 4
    assert repr(custody) == f"<Custody of {tmp_path}/ca>"
    custody.use(TLSSettings())
    assert said == []


@pytest_twisted.ensureDeferred
async def test_renewal(custody: Custody, said: list[str]) -> None:
    first = await custody.authority()
    renewed = await custody.renew()
    assert renewed.fingerprint != first.fingerprint
    assert (await custody.authority()).fingerprint == renewed.fingerprint
    assert said == [f"info there is a new certificate authority: {renewed.subject}"]


@pytest_twisted.ensureDeferred
async def test_operators(custody: Custody, operators: Path, said: list[str], tmp_path: Path) -> None:
    custody.use(TLSSettings(authority=str(operators)))
    found = await custody.authority()
    assert (found.origin, found.subject) == ("operator", "CN=the operator's")
    assert custody.files() == [str(operators)]
    assert repr(custody) == f"<Custody of {operators}>"
    with pytest.raises(AuthorityError, match=f"the operator's, in {operators}: it is not the proxy's to renew"):
        await custody.renew()
    assert not (tmp_path / "ca").exists()
    assert said == []
    custody.use(TLSSettings())
    assert (await custody.authority()).origin == "own"


@pytest_twisted.ensureDeferred
async def test_operators_that_cannot_be_used(
    custody: Custody, operators: Path, said: list[str], logged_errors: Any
) -> None:
    operators.chmod(0o644)
    custody.use(TLSSettings(authority=str(operators)))
    [line] = logged_errors.flush_messages()
    assert line.startswith(f"the certificate authority cannot be used: {operators} has a private key that other users")
    assert said == [f"error {line}"]
    with pytest.raises(AuthorityError):
        await custody.authority()


@pytest.mark.parametrize(
    ("left", "line"),
    [
        (timedelta(days=30, seconds=1), None),
        (timedelta(days=30), "in 30 days"),
        (timedelta(days=1, hours=5), "in 1 days"),
        (timedelta(seconds=1), "in 0 days"),
    ],
)
def test_warning_before_it_ends(
    custody: Custody, tmp_path: Path, time: list[datetime], said: list[str], left: timedelta, line: str | None
) -> None:
    made = own_authority(tmp_path / "ca", time[0])
    time[0] = made.ends - left
    custody.check()
    end = f"{made.ends:%Y-%m-%d}"
    assert said == ([f"warn the certificate authority ends on {end}, {line}: pyproxyctl ca renew"] if line else [])


def test_operators_ends(custody: Custody, operators: Path, time: list[datetime], said: list[str]) -> None:
    time[0] += timedelta(days=390)
    custody.use(TLSSettings(authority=str(operators)))
    assert [line.partition("days: ")[2] for line in said] == ["replace the file that tls.authority names"]


def test_it_has_ended(custody: Custody, tmp_path: Path, time: list[datetime], logged_errors: Any) -> None:
    made = own_authority(tmp_path / "ca", time[0])
    time[0] = made.ends
    custody.check()
    [line] = logged_errors.flush_messages()
    assert line == (
        f"the certificate authority cannot be used: the certificate '{made.subject}' ended on {made.ends:%Y-%m-%d}"
    )


def test_every_day(tmp_path: Path, time: list[datetime], said: list[str]) -> None:
    clock = Clock()
    custody = Custody(clock, tmp_path, lambda: time[0].timestamp())
    made = own_authority(tmp_path / "ca", time[0])
    custody.start()
    clock.advance(DAY)
    assert said == []
    time[0] = made.ends - timedelta(days=2)
    clock.advance(DAY - 1)
    assert said == []
    clock.advance(1)
    assert len(said) == 1
    clock.advance(DAY)
    assert len(said) == 2
    custody.stop()
    custody.stop()
    assert clock.getDelayedCalls() == []

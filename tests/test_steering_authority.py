"""The certificate authority as the API asks the daemon for it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from cryptography import x509

from twistedproxy.control.steering import CannotBeDone
from twistedproxy.settings.operation import TLSSettings
from twistedproxy.steering import Steering
from twistedproxy.tls.authority_files import KEY_FILE
from twistedproxy.tls.custody import Custody


class Service:
    """What of the service matters here."""

    def __init__(self, custody: Custody) -> None:
        self.custody = custody


@pytest.fixture
def custody(running_reactor: Any, tmp_path: Path) -> Custody:
    return Custody(running_reactor, tmp_path)


@pytest.fixture
def steering(custody: Custody) -> Steering:
    service: Any = Service(custody)
    return Steering(service)


@pytest_twisted.ensureDeferred
async def test_authority(steering: Steering, custody: Custody, tmp_path: Path) -> None:
    found = await steering.certificate_authority()
    certificate = x509.load_der_x509_certificate(await steering.authority_certificate("der"))
    assert (found.origin, found.days_left in (3651, 3652)) == ("own", True)
    assert found.subject == certificate.subject.rfc4514_string()
    assert datetime.fromtimestamp(found.not_before, UTC) == certificate.not_valid_before_utc
    assert datetime.fromtimestamp(found.not_after, UTC) == certificate.not_valid_after_utc
    assert found.files == custody.files()
    renewed = await steering.renew_authority()
    assert renewed.fingerprint != found.fingerprint
    assert renewed == await steering.certificate_authority()


@pytest_twisted.ensureDeferred
async def test_one_that_cannot_be_used(steering: Steering, tmp_path: Path) -> None:
    await steering.certificate_authority()
    (tmp_path / "ca" / KEY_FILE).chmod(0o644)
    for asked in (steering.certificate_authority(), steering.authority_certificate("pem")):
        with pytest.raises(CannotBeDone, match="has a private key that other users can read"):
            await asked


@pytest_twisted.ensureDeferred
async def test_operators_is_not_renewed(
    steering: Steering, custody: Custody, tmp_path: Path, logged_errors: Any
) -> None:
    custody.use(TLSSettings(authority=str(tmp_path / "none.pem")))
    assert len(logged_errors.flush_messages()) == 1
    with pytest.raises(CannotBeDone, match="it is not the proxy's to renew"):
        await steering.renew_authority()
    with pytest.raises(CannotBeDone, match="No such file or directory"):
        await steering.certificate_authority()

"""What the tests of certificates share: the time, authorities, and a place for them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from twistedproxy.tls.authority import Authority, make_authority

Make = Callable[..., tuple[Any, x509.Certificate]]


@pytest.fixture
def now() -> datetime:
    """This moment, to the second: OpenSSL goes by the real time."""
    return datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def authority(now: datetime) -> Authority:
    """One of the proxy's own making."""
    return make_authority(now)


@pytest.fixture
def issue(now: datetime) -> Make:
    """Makes a key and a certificate for an authority that an operator might have."""

    def make(
        name: str,
        *extensions: tuple[x509.ExtensionType, bool],
        key: Any = None,
        issuer: tuple[Any, x509.Certificate] | None = None,
        starts: datetime = now - timedelta(days=1),
        ends: datetime = now + timedelta(days=400),
        hash: hashes.HashAlgorithm | None = None,
    ) -> tuple[Any, x509.Certificate]:
        own = key or ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer[1].subject if issuer else subject)
            .public_key(own.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(starts)
            .not_valid_after(ends)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        signer = issuer[0] if issuer else own
        return own, builder.sign(signer, hash or hashes.SHA256())

    return make


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where an authority may be kept; it is not there yet."""
    return tmp_path / "state" / "ca"

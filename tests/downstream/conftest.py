"""Origins that the proxy trusts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from tests.memory import Wire
from tests.secure_origin import SecureOrigin, context

AUTHORITY = trustme.CA(key_type=trustme.KeyType.ECDSA)
TLS = {protocol: context(AUTHORITY, protocol) for protocol in (b"http/1.1", b"h2")}


@pytest.fixture
def origin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., SecureOrigin]:
    """Finds the origin at the other end of a wire's connection of that number, after the handshake."""
    file = tmp_path / "authority.pem"
    AUTHORITY.cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))

    def find(wire: Wire, number: int = 0, protocol: bytes = b"http/1.1") -> SecureOrigin:
        made = SecureOrigin(wire, wire.origins[number], TLS[protocol])
        made.pump()
        return made

    return find

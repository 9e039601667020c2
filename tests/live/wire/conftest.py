"""The wire: one real proxy for the session, another in a hurry, and for each test an origin and its clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import trustme

from tests.live.wire.twistd_process import TwistdProcess
from tests.live.wire.wire import Wire


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """The certificate authority that the proxy of the session trusts."""
    return trustme.CA()


@pytest.fixture(scope="session")
def twistd(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Iterator[TwistdProcess]:
    """The proxy of the session."""
    directory = tmp_path_factory.mktemp("wire")
    trusted = directory / "trusted.pem"
    authority.cert_pem.write_to_path(str(trusted))
    process = TwistdProcess(directory, trusted=trusted)
    yield process
    process.stop()


@pytest.fixture(scope="session")
def hasty_twistd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwistdProcess]:
    """A proxy whose deadlines are short, and whose tunnels are copied."""
    process = TwistdProcess(
        tmp_path_factory.mktemp("hasty"),
        downstream__max_connections_per_client="100",
        downstream__head_timeout="0.5",
        downstream__body_timeout="0.5",
        downstream__idle_timeout="1",
        downstream__write_timeout="0.5",
        upstream__first_byte_timeout="0.5",
        upstream__body_timeout="0.5",
        upstream__connect_timeout="0.5",
        upstream__tls_timeout="0.5",
        upstream__idle_timeout="0.5",
        upstream__wait_timeout="0.1",
        access__connect_ports='["1024-65535"]',
        upstream__max_connections_per_origin="2",
        tunnel__idle_timeout="1",
        tunnel__splice="false",
    )
    yield process
    process.stop()


@pytest.fixture
def wire(twistd: TwistdProcess) -> Iterator[Wire]:
    """A wire with the proxy of the session."""
    opened = Wire(twistd)
    yield opened
    opened.close()


@pytest.fixture
def hasty(hasty_twistd: TwistdProcess) -> Iterator[Wire]:
    """A wire with the proxy whose deadlines are short."""
    opened = Wire(hasty_twistd)
    yield opened
    opened.close()

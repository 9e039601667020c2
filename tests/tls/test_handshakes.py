"""The judgement of what servers show in handshakes, with OpenSSL on both ends."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest
from OpenSSL import SSL, crypto
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from tests.tls.certificates import pem_of
from tests.tls.peers import Server, meet, reason
from tests.tls.zoo import CASES, Case, authorities, make, unreadable
from twistedproxy.errors import TLSFailed
from twistedproxy.settings.upstream_tls import UpstreamHost, UpstreamTLSSettings
from twistedproxy.tls.certificate_errors import CertificateRefused
from twistedproxy.tls.client_side import ClientSide
from twistedproxy.tls.handshakes import handshake_error, key_digest
from twistedproxy.tls.trust import Trust

# What a handshake is not agreed on with, and what OpenSSL does not let a server have.
UNSHOWN = {"p192", "p224", "extension-twice"}

# Keys that may not sign, with which there is nothing to agree on in TLS 1.2.
SILENT = {"key-usage-for-revocation", "authority-as-server"}


def trusting(case: Case, directory: Path) -> ClientSide:
    file = directory / "anchors.pem"
    file.write_bytes(pem_of(*(root.certificate for root in case.roots)))
    return ClientSide(Trust.of(UpstreamTLSSettings(anchors=(str(file),), system_anchors=False)))


@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION], ids=["TLS-1.2", "TLS-1.3"])
@pytest.mark.parametrize("name", [name for name in CASES if name not in UNSHOWN])
def test_zoo(name: str, version: int, tmp_path: Path) -> None:
    """As without a connection: see `test_verification`."""
    case = CASES[name]()
    server = Server(case, version)
    side = trusting(case, tmp_path)
    expected = "tls_failed" if name in SILENT and version == SSL.TLS1_2_VERSION else case.reason
    assert reason(side, server) == expected
    if case.reason and expected == case.reason:
        # The server is told, and nothing is learned of it.
        assert "alert" in server.alert
        assert side.leaf_names(case.host, 443) is None


@pytest.mark.parametrize(
    ("name", "alert"),
    [
        ("expired", "certificate expired"),
        ("unknown-root", "unknown ca"),
        ("self-signed", "unknown ca"),
        ("for-clients", "unsupported certificate"),
    ],
)
def test_alerts(name: str, alert: str, tmp_path: Path) -> None:
    """RFC 8446 section 6.2."""
    case = CASES[name]()
    server = Server(case)
    assert reason(trusting(case, tmp_path), server) == case.reason
    assert alert in server.alert


def test_the_error_has_the_chain(tmp_path: Path) -> None:
    case = CASES["expired"]()
    with pytest.raises(CertificateRefused) as refused:
        meet(trusting(case, tmp_path), Server(case))
    error = refused.value
    assert error.detail.startswith('asked for localhost: the certificate "CN=zoo.test" ended on 20')
    assert error.detail.endswith('; the server sent "CN=zoo.test", "CN=Zoo Intermediate"')
    assert [line[:22] for line in error.particulars] == ['1. subject "CN=zoo.tes', '2. subject "CN=Zoo Int']


@pytest.mark.parametrize("verify", [True, False])
def test_another_servers_chain_behind_a_leaf_that_cannot_be_read(verify: bool, tmp_path: Path) -> None:
    """Who shows a certificate of its own making, and then the true server's, has only the key of the first."""
    case = CASES["intermediate"]()
    file = tmp_path / "anchors.pem"
    file.write_bytes(pem_of(*(root.certificate for root in case.roots)))
    pin = f"sha256/{b64encode(key_digest(case.leaf.certificate)).decode()}"
    host = UpstreamHost(names=("localhost",), verify=verify, pins=(pin,))
    side = ClientSide(Trust.of(UpstreamTLSSettings(anchors=(str(file),), system_anchors=False, hosts=(host,))))
    assert reason(side, Server(case)) == ""
    stray = make("zoo.test", make("Twice Signed", ca=True))
    for own in (unreadable(stray), unreadable(make("zoo.test"))):
        connection = side.creator("localhost", 443, ()).clientConnectionForTLS(None)
        behind = [crypto.X509.from_cryptography(one.certificate) for one in (case.leaf, *case.sent)]
        impostor = Showing([own, *behind])
        handshake = connection.handshake
        assert not handshake.judge(impostor, own, 20, 0, 0)
        assert handshake.refusal is not None
        again = side.creator("localhost", 443, ()).clientConnectionForTLS(None).handshake
        assert not again.judge(impostor, behind[1], 10, 1, 0)
        assert again.refusal is not None
        assert again.refusal.particulars[0] == "1. a certificate that cannot be read"


@pytest.mark.parametrize("is_read", [True, False])
def test_impostor(is_read: bool, tmp_path: Path) -> None:
    """The same in a handshake: its own certificate and authority, and the true server's chain in between."""
    case = CASES["intermediate"]()
    authority = make("Impostor", ca=True)
    own = make("zoo.test", authority)
    impostor = Server(case)
    impostor.context = context = SSL.Context(SSL.TLS_SERVER_METHOD)
    if is_read:
        context.use_certificate(own.certificate)
    else:
        with pytest.warns(DeprecationWarning, match="pyOpenSSL|X509"):
            context.use_certificate(unreadable(own))
    context.use_privatekey(own.key)
    for one in (case.leaf, *case.sent, authority):
        context.add_extra_chain_cert(one.certificate)
    assert reason(trusting(case, tmp_path), impostor) == "certificate_unknown_root"


class Showing:
    """A connection whose server has shown these."""

    def __init__(self, shown: list[crypto.X509]) -> None:
        self.shown = shown

    def get_peer_cert_chain(self) -> list[crypto.X509]:
        return self.shown


def test_repr(tmp_path: Path) -> None:
    case = CASES["intermediate"]()
    client, _ = meet(trusting(case, tmp_path), Server(case))
    assert repr(client.handshake) == "<Handshake localhost done>"


def test_a_fault_of_ours_lets_nobody_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged_errors: object
) -> None:
    case = CASES["intermediate"]()
    side = trusting(case, tmp_path)
    client = side.creator(case.host, 443, ()).clientConnectionForTLS(None)
    handshake = client.handshake
    handshake._chain = None  # what only a fault could do
    assert handshake.judge(client, None, 0, 0, 1) is False
    assert handshake.refusal is not None
    assert handshake.refusal.reason == "tls_certificate_error"
    assert logged_errors.flush(AttributeError)  # type: ignore[attr-defined]  # it is the house's own


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (SSL.Error([("SSL routines", "", "wrong version number")]), "wrong version number"),
        (SSL.Error([("SSL routines", "", "one"), ("SSL routines", "", "two")]), "one; two"),
        (SSL.Error(), "the server closed the connection during the TLS handshake"),
        (ConnectionDone(), "the server closed the connection during the TLS handshake"),
    ],
)
def test_other_failures(error: Exception, detail: str) -> None:
    made = handshake_error(Failure(error), None)
    assert type(made) is TLSFailed
    assert made.detail == detail


def test_digest() -> None:
    one, other = authorities().root.certificate, authorities().between.certificate
    assert len(key_digest(one)) == 32
    assert key_digest(one) != key_digest(other)

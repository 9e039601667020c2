"""A listener's TLS: its own certificate, and those of clients, against the standard library's client."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, ISSLTransport
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.conftest import LoggedErrors
from tests.tls.certificates import pem_of
from tests.tls.zoo import DAY, NOW, One, make, new_key
from twistedproxy.settings.endpoints import parse_endpoint
from twistedproxy.tls.listening import QUIET, ListenerError, ListenerTLS, verified_chain

FOR_CLIENTS = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
FOR_SERVERS = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])


def client(name: str, issuer: One, **changes: Any) -> One:
    """The certificate of a client."""
    return make(name, issuer, changed=[(changes.pop("usage", FOR_CLIENTS), False)], **changes)


class Place:
    """Files for a listener, and the listener; ``told`` is what it has logged."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.now = 0.0
        self.told: list[str] = []
        self.root = make("root", ca=True)
        server = make("localhost", self.root)
        self.write("server", server.key, server.certificate)
        self.write("ca", self.root.certificate)

    def __call__(self, event: LogEvent) -> None:
        if event.get("log_namespace") == "twistedproxy.tls.listening.ListenerTLS":
            self.told.append(formatEvent(event))

    def write(self, name: str, *parts: Any) -> str:
        path = self.directory / f"{name}.pem"
        path.write_bytes(pem_of(*parts))
        return str(path)

    def revoke(self, *revoked: x509.Certificate, by: One | None = None, ends: timedelta = DAY) -> bytes:
        """A list of what ``by`` has revoked, which is the root otherwise."""
        by = by or self.root
        start = min(NOW - timedelta(hours=1), NOW + ends - timedelta(hours=1))
        builder = x509.CertificateRevocationListBuilder().issuer_name(by.certificate.subject)
        builder = builder.last_update(start).next_update(NOW + ends)
        for one in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(one.serial_number).revocation_date(NOW - DAY)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(by.key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def listener(self, arguments: str = "", protocols: Callable[[], list[bytes]] | None = None) -> ListenerTLS:
        description = f"ssl:8443:privateKey={self.directory}/server.pem" + arguments
        return ListenerTLS(description, parse_endpoint(description), protocols, lambda: self.now)

    def asking(self, more: str = "") -> ListenerTLS:
        """One that asks for certificates."""
        return self.listener(f":clientCA={self.directory}/ca.pem{more}")

    def context(self, *shown: One) -> ssl.SSLContext:
        """A client's, with a certificate and those above it."""
        context = ssl.create_default_context(cadata=pem_of(self.root.certificate).decode())
        if shown:
            path = self.write("client", shown[0].key, *(one.certificate for one in shown))
            context.load_cert_chain(path)
        return context


@pytest.fixture
def place(tmp_path: Path) -> Iterable[Place]:
    made = Place(tmp_path)
    globalLogPublisher.addObserver(made)
    yield made
    globalLogPublisher.removeObserver(made)


@implementer(ISSLTransport)
class Wrapping:
    """What has a connection for a transport, as verified_chain sees it."""

    def __init__(self, connection: SSL.Connection) -> None:
        self.getHandle = lambda: connection


def meet(
    listener: ListenerTLS, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> tuple[ssl.SSLObject, SSL.Connection]:
    """Both ends after a handshake, and a word of the listener's. Raises what either complains of."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    there = context.wrap_bio(incoming, outgoing, server_hostname="localhost", session=session)
    here = listener.serverConnectionForTLS("a protocol")
    here.set_accept_state()
    complaint: Exception | None = None
    said = False
    for _ in range(5):
        try:
            there.do_handshake()
            if there.read(1) == b"!":
                return there, here
        except ssl.SSLWantReadError:
            pass
        if outgoing.pending:
            here.bio_write(outgoing.read())
        try:
            here.do_handshake()
            if not said:
                here.send(b"!")
                said = True
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            complaint = error
        try:
            incoming.write(here.bio_read(1 << 16))
        except SSL.WantReadError:
            if complaint is not None:
                raise complaint from None
    raise AssertionError("nothing comes of it")


def chain(connection: SSL.Connection) -> list[str]:
    return [one.subject.rfc4514_string() for one in verified_chain(Wrapping(connection))]


def refused(listener: ListenerTLS, context: ssl.SSLContext) -> str:
    """The alert that a client gets."""
    with pytest.raises(ssl.SSLError) as raised:
        meet(listener, context)
    return str(raised.value.reason)


# ---------------------------------------------------------------- its own certificate


def test_interface_is_kept(place: Place) -> None:
    listener = place.listener()
    verifyObject(IOpenSSLServerConnectionCreator, listener)
    assert repr(listener) == f"<ListenerTLS of ssl:8443:privateKey={place.directory}/server.pem>"
    assert listener.serverConnectionForTLS("x").get_app_data() == "x"


def test_clients_are_not_asked(place: Place) -> None:
    there, here = meet(place.listener(), place.context(client("ann", place.root)))
    assert there.version() == "TLSv1.3"
    assert chain(here) == []


@pytest.mark.parametrize("separate", [True, False])
def test_those_above_it_are_shown(place: Place, separate: bool) -> None:
    between = make("between", place.root, ca=True)
    server = make("localhost", between)
    arguments = f":certKey={place.directory}/chain.pem"
    if separate:
        place.write("chain", server.certificate)
        place.write("extra", between.certificate)
        arguments += f":extraCertChain={place.directory}/extra.pem"
    else:
        place.write("chain", server.certificate, between.certificate)
    place.write("server", server.key)
    there, _ = meet(place.listener(arguments), place.context())
    shown: Any = there.getpeercert()
    assert shown["issuer"] == ((("commonName", "between"),),)


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [(["h2", "http/1.1"], "http/1.1"), (["http/1.0"], "http/1.0"), (["h2"], None), ([], None)],
)
def test_what_is_spoken(place: Place, offered: list[str], chosen: str | None) -> None:
    context = place.context()
    if offered:
        context.set_alpn_protocols(offered)
    there, _ = meet(place.listener(protocols=lambda: [b"http/1.1", b"http/1.0"]), context)
    assert there.selected_alpn_protocol() == chosen


def test_parameters_for_diffie_hellman(place: Place, tmp_path: Path) -> None:
    (tmp_path / "dh.pem").write_text("junk")
    with pytest.raises(ListenerError, match=r"there are no parameters for Diffie-Hellman in /.*/dh\.pem\Z"):
        place.listener(f":dhParameters={tmp_path}/dh.pem")


def test_the_method_of_old_settings(place: Place) -> None:
    meet(place.listener(":sslmethod=TLS_METHOD"), place.context())
    for method in ("NO_METHOD", "Context"):
        with pytest.raises(ListenerError, match=f"OpenSSL has no {method}"):
            place.listener(f":sslmethod={method}")


def test_mistakes_are_told_with_their_file(place: Place) -> None:
    directory = place.directory
    place.write("other", new_key())
    place.write("none")
    (directory / "broken.pem").write_text(
        "-----BEGIN X509 CRL-----\nMAAA\n-----END X509 CRL-----\n-----BEGIN CERTIFICATE-----\nMAAA\n"
        "-----END CERTIFICATE-----\n"
    )
    asks = f":clientCA={directory}/ca.pem"
    for arguments, said in (
        (f":certKey={directory}/missing.pem", f"{directory}/missing.pem cannot be read: No such file or directory"),
        (f":certKey={directory}/none.pem", f"there is no certificate in {directory}/none.pem"),
        (f":extraCertChain={directory}/none.pem", f"there is no certificate in {directory}/none.pem"),
        (
            f":clientCA={directory}/none.pem",
            f"{directory}/none.pem has no certificate, or one that cannot be read",
        ),
        (
            f":clientCA={directory}/broken.pem",
            f"{directory}/broken.pem has no certificate, or one that cannot be read",
        ),
        (f"{asks}:clientCRL={directory}/none.pem", f"there is no list of revoked certificates in {directory}/none.pem"),
        (
            f"{asks}:clientCRL={directory}/broken.pem",
            f"a list of revoked certificates in {directory}/broken.pem cannot be read",
        ),
    ):
        with pytest.raises(ListenerError) as raised:
            place.listener(arguments)
        assert str(raised.value) == said
    place.write("server", new_key())
    with pytest.raises(ListenerError) as raised:
        place.listener(f":certKey={directory}/ca.pem")
    assert str(raised.value) == (
        f"the private key in {directory}/server.pem is not that of the certificate in {directory}/ca.pem"
    )
    (directory / "server.pem").write_bytes(b"")
    with pytest.raises(ListenerError, match=r"there is no private key in .*/server\.pem"):
        place.listener(f":certKey={directory}/ca.pem")


# ---------------------------------------------------------------- clients' certificates


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("more", ["", ":clientCertificate=optional"])
def test_a_certificate_of_an_authority_that_is_trusted(place: Place, more: str, version: ssl.TLSVersion) -> None:
    context = place.context(client("ann", place.root))
    context.maximum_version = version
    _, here = meet(place.asking(more), context)
    assert chain(here) == ["CN=ann", "CN=root"]
    assert place.told == []


def test_without_one(place: Place) -> None:
    context = place.context()
    assert refused(place.asking(), context) == "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    _, here = meet(place.asking(":clientCertificate=optional"), context)
    assert chain(here) == []
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert "HANDSHAKE_FAILURE" in refused(place.asking(), context)


@pytest.mark.parametrize("more", ["", ":clientCertificate=optional"])
def test_those_that_are_not_taken(place: Place, more: str) -> None:
    """One that is shown has to be good, needed or not."""
    listener = place.asking(more)
    stranger = make("root", ca=True)
    ended = client("ann", place.root, starts=NOW - 9 * DAY, ends=NOW - DAY)
    for shown, alert, why in (
        (client("ann", stranger), "TLSV1_ALERT_UNKNOWN_CA", 'signed the certificate "CN=ann", was neither sent nor'),
        (make("ann"), "TLSV1_ALERT_UNKNOWN_CA", "is signed with its own key, and not trusted"),
        (ended, "SSLV3_ALERT_CERTIFICATE_EXPIRED", 'the certificate "CN=ann" ended on'),
        (client("ann", place.root, starts=NOW + DAY), "SSLV3_ALERT_BAD_CERTIFICATE", "begins on"),
        (
            client("ann", place.root, usage=FOR_SERVERS),
            "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
            'the certificate "CN=ann" is not for clients, by its extended key usage',
        ),
    ):
        assert refused(listener, place.context(shown)) == alert
        assert why in place.told[-1]
        place.now += QUIET
    assert len(place.told) == 5


def test_one_word_in_a_while(place: Place) -> None:
    """Anybody can show something bad, as often as they like."""
    listener = place.asking()
    bad = place.context(make("ann\nbob"))
    for _ in range(3):
        refused(listener, bad)
    where = f"ssl:8443:privateKey={place.directory}/server.pem:clientCA={place.directory}/ca.pem"
    why = 'the certificate "CN=ann\\nbob" is signed with its own key, and not trusted'
    assert place.told == [f"a client's certificate was not taken at {where}: {why}"]
    place.now += QUIET
    refused(listener, bad)
    assert place.told[1].endswith("and not trusted (and 2 others since the last word on it)")


def test_authorities_between(place: Place) -> None:
    between = make("between", place.root, ca=True)
    ann = client("ann", between)
    listener = place.asking()
    _, here = meet(listener, place.context(ann, between))
    assert chain(here) == ["CN=ann", "CN=between", "CN=root"]
    assert refused(listener, place.context(ann)) == "TLSV1_ALERT_UNKNOWN_CA"
    # One of them may be all that is trusted.
    place.write("ca", between.certificate)
    _, here = meet(place.asking(), place.context(ann))
    assert chain(here) == ["CN=ann", "CN=between"]
    assert refused(place.asking(), place.context(client("bob", place.root))) == "TLSV1_ALERT_UNKNOWN_CA"


def test_chains_are_bounded(place: Place) -> None:
    above = [place.root]
    for number in range(6):
        above.insert(0, make(f"between {number}", above[0], ca=True))
    _, here = meet(place.asking(), place.context(client("ann", above[1]), *above[1:-1]))
    assert len(chain(here)) == 7
    assert refused(place.asking(), place.context(client("ann", above[0]), *above[:-1])) == "TLSV1_ALERT_UNKNOWN_CA"


def test_clients_are_told_the_authorities(place: Place) -> None:
    listener = place.asking()
    names: list[str] = []
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_info_callback(lambda connection, *_: names.extend(one.CN for one in connection.get_client_ca_list()))
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    there, here = SSL.Connection(context), listener.serverConnectionForTLS(None)
    there.set_connect_state()
    here.set_accept_state()
    for _ in range(2):
        for end, other in ((there, here), (here, there)):
            with pytest.raises(SSL.Error):
                end.do_handshake()
            other.bio_write(end.bio_read(1 << 16))
    assert set(names) == {"root"}


def test_what_is_revoked(place: Place) -> None:
    ann, bob = client("ann", place.root), client("bob", place.root)
    (place.directory / "crl.pem").write_bytes(place.revoke(ann.certificate))
    listener = place.asking(f":clientCRL={place.directory}/crl.pem")
    _, here = meet(listener, place.context(bob))
    assert chain(here) == ["CN=bob", "CN=root"]
    assert refused(listener, place.context(ann)) == "SSLV3_ALERT_CERTIFICATE_REVOKED"
    assert place.told[-1].endswith('the certificate "CN=ann" is revoked')


def test_lists_that_are_of_no_use(place: Place) -> None:
    """Whom no list that is valid speaks of is not let in."""
    ann = client("ann", place.root)
    for content, why in (
        (place.revoke(by=make("other", ca=True)), "there is none in clientCRL"),
        (place.revoke(ends=-timedelta(hours=1)), "which is too old"),
        (place.revoke(by=One(place.root.certificate, new_key())), "whose signature is wrong"),
    ):
        (place.directory / "crl.pem").write_bytes(content)
        refused(place.asking(f":clientCRL={place.directory}/crl.pem"), place.context(ann))
        assert place.told[-1].endswith(why)


def test_every_authority_needs_its_list(place: Place) -> None:
    between = make("between", place.root, ca=True)
    context = place.context(client("ann", between), between)
    (place.directory / "crl.pem").write_bytes(place.revoke(by=between))
    more = f":clientCRL={place.directory}/crl.pem"
    refused(place.asking(more), context)
    (place.directory / "crl.pem").write_bytes(place.revoke(by=between) + place.revoke())
    meet(place.asking(more), context)
    (place.directory / "crl.pem").write_bytes(place.revoke(by=between) + place.revoke(between.certificate))
    assert refused(place.asking(more), context) == "SSLV3_ALERT_CERTIFICATE_REVOKED"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_nothing_is_resumed(place: Place, version: ssl.TLSVersion) -> None:
    """Or a certificate would be taken that has ended or was revoked meanwhile (RFC 8446 section 2.2)."""
    listener = place.asking()
    context = place.context(client("ann", place.root))
    context.maximum_version = version
    first, _ = meet(listener, context)
    second, here = meet(listener, context, first.session)
    assert not second.session_reused
    assert chain(here) == ["CN=ann", "CN=root"]


def test_what_is_no_tls_has_shown_nothing(place: Place) -> None:
    assert verified_chain(object()) == ()
    assert verified_chain(Wrapping(None)) == ()  # type: ignore[arg-type]  # a connection that is gone
    assert chain(place.asking().serverConnectionForTLS(None)) == []


def test_one_that_cannot_be_told_of(place: Place) -> None:
    listener = place.asking()
    unreadable: Any = object()
    assert not listener._judged(listener.serverConnectionForTLS(None), unreadable, 10, 0, 0)
    assert place.told[0].endswith(": it cannot be read (X509_V_ERR 10)")


# ---------------------------------------------------------------- files that change


def test_files_are_read_again(place: Place) -> None:
    listener = place.asking()
    context = place.context(client("ann", place.root))
    listener.read_again()()
    meet(listener, context)
    other = make("other", ca=True)
    place.write("ca", other.certificate)
    use = listener.read_again()
    meet(listener, context)
    use()
    assert refused(listener, context) == "TLSV1_ALERT_UNKNOWN_CA"
    meet(listener, place.context(client("bob", other)))


def test_what_is_wrong_with_them_changes_nothing(place: Place) -> None:
    listener = place.asking()
    (place.directory / "ca.pem").unlink()
    with pytest.raises(ListenerError, match=r"ca\.pem cannot be read: No such file"):
        listener.read_again()
    meet(listener, place.context(client("ann", place.root)))


def test_what_may_not_be_read_any_more_stays(
    place: Place, monkeypatch: pytest.MonkeyPatch, logged_errors: LoggedErrors
) -> None:
    """A daemon that was started by root has another account by then."""
    listener = place.listener()
    os.utime(place.directory / "server.pem", (1, 1))

    def forbidden(path: str, flags: int) -> int:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", forbidden)
        listener.read_again()()
    path = f"{place.directory}/server.pem"
    why = f"{path} cannot be read: Permission denied"
    said = f"what ssl:8443:privateKey={path} has for TLS cannot be read again, and stays as it was: {why}"
    assert logged_errors.flush_messages() == [said]
    meet(listener, place.context())


def test_paths_stay_the_same_in_another_directory(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place.directory)
    listener = ListenerTLS("ssl:1", parse_endpoint("ssl:1"))
    monkeypatch.chdir("/")
    os.utime(place.directory / "server.pem", (1, 1))
    listener.read_again()()
    meet(listener, place.context())

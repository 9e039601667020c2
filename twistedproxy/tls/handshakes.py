"""One handshake with a server: the judgement of what it shows, and what is kept of it.

Theory of operation. OpenSSL verifies the chain while the handshake is under way, and calls back: with a complaint, or
with each certificate of a chain that it found good, the anchor first and the server's last. With the last one in hand
`conformance` and `identity` have their say, and pins are compared. Whoever says no ends the handshake there and then,
with an alert, before the server hears a word from us; the `CertificateRefused` stays with the connection until the
protocol learns that it is lost, and asks `handshake_error`.

A complaint is not always the end: see `Verifier.another_way`.

In TLS 1.3 tickets come after the handshake, and OpenSSL tells by its state when one did.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from OpenSSL import SSL, crypto
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedproxy.errors import NoCommonVersion, TLSFailed
from twistedproxy.tls.certificate_errors import CertificateMalformed, CertificateRefused, PinMismatch
from twistedproxy.tls.chain import as_sent
from twistedproxy.tls.conformance import check_chain
from twistedproxy.tls.findings import NAME_CONSTRAINTS, Finding, finding
from twistedproxy.tls.identity import Identity
from twistedproxy.tls.trust import Policy
from twistedproxy.tls.verification import Verifier, refusal

_NO_PROTOCOL: Final = "no application protocol"

_TICKET: Final = b"SSLv3/TLS read server session ticket"
"""What OpenSSL calls the state of a client that has just read one."""


class Owner(Protocol):
    """Who wants to know what came of a handshake."""

    @property
    def strict(self) -> bool:
        """As in the settings."""
        ...

    @property
    def max_intermediates(self) -> int:
        """As in the settings."""
        ...

    def verifier(self, policy: Policy) -> Verifier:
        """One with the anchors that ``policy`` has."""
        ...

    def completed(self, handshake: Handshake, leaf: x509.Certificate) -> None:
        """The server has proved who it is with ``leaf``."""

    def session_made(self, handshake: Handshake, session: SSL.Session, *, once: bool) -> None:
        """The connection can be resumed."""


class Handshake:
    """That of one connection to ``identity``, by ``policy``; ``origin`` stands for what its sessions are good for."""

    _log = Logger()

    __slots__ = ("_chain", "_leaf", "_overruled", "_owner", "done", "identity", "origin", "policy", "refusal", "until")

    def __init__(self, owner: Owner, origin: Any, identity: Identity, policy: Policy) -> None:
        self.origin = origin
        self.identity = identity
        self.policy = policy
        self.refusal: CertificateRefused | None = None
        """Why the server was refused."""
        self.until = float("inf")
        """The time, since 1970, at which the first certificate of the chain ends."""
        self._owner = owner
        self._chain: list[crypto.X509] = []
        self._leaf: x509.Certificate | None = None
        # Whether it was settled without OpenSSL, whose complaints do not matter then. Some come after all that is good.
        self._overruled = False
        self.done = False
        """Whether the handshake is over, and well."""

    def __repr__(self) -> str:
        state = "refused" if self.refusal else "done" if self.done else "under way"
        return f"<Handshake {self.identity.host} {state}>"

    # ------------------------------------------------------------ the certificate

    def judge(self, connection: SSL.Connection, certificate: crypto.X509, code: int, depth: int, ok: int) -> bool:
        """What OpenSSL's callback has to answer: whether to go on."""
        if self.refusal is not None:
            return False
        if self._overruled:
            return True
        try:
            if not self.policy.verify:
                return self._take_pinned(connection)
            if not ok:
                return self._look_again(connection, certificate, code, depth)
            self._chain.insert(0, certificate)
            return depth > 0 or self._take(self._readable_chain(), connection)
        except Exception:
            # It would be lost on its way through OpenSSL.
            self._log.failure("the certificate of {host} could not be judged", host=self.identity.host)
            self.refusal = CertificateRefused("the proxy is at fault")
            return False

    def _take(self, chain: Sequence[x509.Certificate], connection: SSL.Connection) -> bool:
        """Whether a verified chain is good enough."""
        owner = self._owner
        if not chain:
            problem: Finding | None = Finding(CertificateMalformed, "a certificate of the chain cannot be read")
        else:
            problem = (
                check_chain(chain, strict=owner.strict, max_intermediates=owner.max_intermediates)
                or self.identity.check(chain[0])
                or self._check_pins(chain)
            )
        if problem is not None:
            return self._refuse(problem, connection)
        self._leaf = chain[0]
        self.until = min(one.not_valid_after_utc.timestamp() for one in chain)
        return True

    def _readable_chain(self) -> list[x509.Certificate]:
        """The chain that OpenSSL has verified; empty where a part of it cannot be read here."""
        chain = [one for one in as_sent(self._chain) if one is not None]
        return chain if len(chain) == len(self._chain) else []

    def _look_again(self, connection: SSL.Connection, certificate: crypto.X509, code: int, depth: int) -> bool:
        """OpenSSL complains; perhaps there is another way up."""
        if depth or code in NAME_CONSTRAINTS:
            # The server has the key of the first, and of no other: it has to be that one which is verified.
            leaf, *others = as_sent(connection.get_peer_cert_chain() or ()) or [None]
            above = [one for one in others if one is not None]
            chain = self._owner.verifier(self.policy).another_way(leaf, above) if leaf is not None and above else []
            if chain:
                self._overruled = self._take(chain, connection)
                return self._overruled
        (blamed,) = as_sent([certificate])
        return self._refuse(finding(code, depth, blamed), connection)

    def _take_pinned(self, connection: SSL.Connection) -> bool:
        """Whether a server that is not verified has a key that is expected, where one is."""
        shown = as_sent((connection.get_peer_cert_chain() or ())[:1])
        problem = self._check_pins([one for one in shown if one is not None])
        if problem is not None:
            return self._refuse(problem, connection)
        self._overruled = True
        return True

    def _check_pins(self, chain: Sequence[x509.Certificate]) -> Finding | None:
        pins = self.policy.pins
        if not pins or any(key_digest(one) in pins for one in chain):
            return None
        return Finding(PinMismatch, f"none of its keys is one of the {len(pins)} that upstream_tls.hosts names for it")

    def _refuse(self, problem: Finding, connection: SSL.Connection) -> bool:
        sent = as_sent(connection.get_peer_cert_chain() or ())
        self.refusal = refusal(problem, self.identity.host, sent)
        return False

    # ------------------------------------------------------------ what is kept

    def told(self, connection: SSL.Connection, where: int) -> None:
        """What OpenSSL's other callback says of the handshake's progress."""
        if where == SSL.SSL_CB_HANDSHAKE_DONE and not self.done:
            self.done = True
            if self._leaf is not None:
                self._owner.completed(self, self._leaf)
            # A connection may be kept for long, and its chain is of no more use.
            self._chain, self._leaf = [], None
            if connection.get_protocol_version() != SSL.TLS1_3_VERSION:
                self._session(connection, once=False)
        elif self.done and where == SSL.SSL_CB_CONNECT_LOOP and connection.get_state_string() == _TICKET:
            self._session(connection, once=True)

    def _session(self, connection: SSL.Connection, *, once: bool) -> None:
        session = connection.get_session()
        if session is not None:
            self._owner.session_made(self, session, once=once)


class HandshakeConnection(SSL.Connection):
    """OpenSSL's connection, which knows its handshake, and ends in good order as far as its session is concerned.

    OpenSSL forgets the session of a connection that is gone without the closure alert, which is how pooled ones end.
    RFC 8446 section 6.1 has nothing against resuming it.
    """

    # Twisted keeps something of its own in the place that OpenSSL has for it.
    handshake: Handshake

    def __del__(self) -> None:
        try:
            self.set_shutdown(SSL.SENT_SHUTDOWN | SSL.RECEIVED_SHUTDOWN)
        except AttributeError:
            # It has not come to be.
            pass


def key_digest(certificate: x509.Certificate) -> bytes:
    """What a pin is compared with: the SHA-256 of the SubjectPublicKeyInfo; nothing where the key cannot be read."""
    try:
        public = certificate.public_key()
    except Exception:
        # Of a kind that nobody could have pinned.
        return b""
    return hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def handshake_error(reason: Failure, connection: Any) -> TLSFailed:
    """What stopped a handshake, from what the transport was lost with and OpenSSL's ``connection``, where that is."""
    if isinstance(connection, HandshakeConnection) and connection.handshake.refusal is not None:
        return connection.handshake.refusal
    words = openssl_words(reason.value)
    if _NO_PROTOCOL in words:
        # RFC 7301 section 3.2.
        return NoCommonVersion(words)
    return TLSFailed(words or "the server closed the connection during the TLS handshake")


def openssl_words(error: BaseException | None) -> str:
    """What OpenSSL says of ``error``; nothing where it is none of its own."""
    if isinstance(error, SSL.Error) and error.args and isinstance(error.args[0], list):
        return "; ".join(str(entry[-1]) for entry in error.args[0] if entry)
    return ""

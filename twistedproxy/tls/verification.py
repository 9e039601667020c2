"""Chains that were shown by anybody, verified against what is trusted: the pure part, without a connection.

Theory of operation. OpenSSL builds the chain and verifies it (`X509StoreContext`), with the flags for what RFC 5280
asks; what that leaves out is looked at by `conformance`, and the name by `identity`. The chain of a connection is
verified by OpenSSL itself during the handshake, with the same anchors and flags, and then judged by the same functions:
see `handshakes`.

OpenSSL follows one way only from the server's certificate up. Where several lead there, because authorities have signed
each other, and that one is closed (an expired cross-signature is the usual reason), the others are tried by taking a
certificate away that led there: a few times, since what is sent is the server's to choose.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from OpenSSL import crypto

from twistedproxy.tls.anchors import Anchors
from twistedproxy.tls.certificate_errors import CertificateMalformed, CertificateRefused
from twistedproxy.tls.chain import UNREADABLE, as_sent, extensions, subject, summary
from twistedproxy.tls.conformance import check_chain
from twistedproxy.tls.findings import NAME_CONSTRAINTS, Finding, finding
from twistedproxy.tls.identity import Identity

MOST_WAYS: Final = 24
"""How many ways up are tried."""

MOST_WAYS_AT_ONCE: Final = 6
"""How many are tried while others wait for the reactor. Each takes a millisecond or two."""

MOST_CERTIFICATES: Final = 32
"""Beside the server's own; where more are sent, one way up is tried. Servers have a handful."""

MAX_INTERMEDIATES: Final = 8


class Verifier:
    """Verifies by ``anchors``, at ``time`` or now; ``strict`` and ``max_intermediates`` as in the settings."""

    def __init__(
        self,
        anchors: Anchors,
        *,
        strict: bool = True,
        max_intermediates: int = MAX_INTERMEDIATES,
        time: datetime | None = None,
    ) -> None:
        self._strict = strict
        self._max_intermediates = max_intermediates
        self._store = crypto.X509Store()
        anchors.fill(self._store)
        if strict:
            self._store.set_flags(crypto.X509StoreFlags.X509_STRICT)
        if time is not None:
            # It takes the time as it reads, in whatever zone.
            self._store.set_time(time.astimezone(UTC) if time.tzinfo else time)

    def __repr__(self) -> str:
        return f"<Verifier strict={self._strict}>"

    def verify(
        self, leaf: x509.Certificate, intermediates: Sequence[x509.Certificate], host: str | None
    ) -> list[x509.Certificate]:
        """The chain by which ``leaf`` proves to be ``host``, itself first. Raises a kind of `CertificateRefused`.

        Where ``host`` is None, nobody is asked for, and only the chain counts.
        """
        problem, chain = self._chain(leaf, intermediates)
        if problem is None and host is not None:
            problem = Identity(host).check(leaf)
        if problem is not None:
            raise refusal(problem, host or "anybody", [leaf, *intermediates])
        return chain

    def another_way(self, leaf: x509.Certificate, intermediates: Sequence[x509.Certificate]) -> list[x509.Certificate]:
        """A chain for ``leaf``, which is its first, made of ``intermediates`` in any way; empty where none is."""
        return self._chain(leaf, intermediates, MOST_WAYS_AT_ONCE)[1]

    def _chain(
        self, leaf: x509.Certificate, intermediates: Sequence[x509.Certificate], most: int = MOST_WAYS
    ) -> tuple[Finding | None, list[x509.Certificate]]:
        """The chain, or what was wrong with the first one that there was."""
        start = _for_openssl(leaf)
        if start is None:
            return Finding(CertificateMalformed, f"the certificate {subject(leaf)} cannot be read"), []
        pool = {_digest(one): (one, usable) for one in intermediates if (usable := _for_openssl(one)) is not None}
        # Those to try next, and those to try when there are no better ones.
        ways, others = deque([frozenset(pool)]), deque[frozenset[bytes]]()
        tried: set[frozenset[bytes]] = set()
        first: Finding | None = None
        if len(pool) > MOST_CERTIFICATES:
            most = 1
        while (ways or others) and len(tried) < most:
            way = (ways or others).popleft()
            if way in tried:
                continue
            tried.add(way)
            problem, chain, blamed = self._follow(start, [pool[digest] for digest in pool if digest in way])
            if problem is None:
                return None, chain
            first = first or problem
            if leaf in blamed:
                # Fewer certificates do not make that good. It may be for one that is missing on this way.
                continue
            for digest, (certificate, _usable) in pool.items():
                if digest in way:
                    (ways if certificate in blamed else others).append(way - {digest})
        return first, []

    def _follow(
        self, leaf: crypto.X509, intermediates: Sequence[tuple[x509.Certificate, crypto.X509]]
    ) -> tuple[Finding | None, list[x509.Certificate], Sequence[x509.Certificate]]:
        """OpenSSL's one way up: what is wrong with it, the chain, and the certificates that may be to blame."""
        try:
            found = crypto.X509StoreContext(self._store, leaf, [one for _, one in intermediates]).get_verified_chain()
        except crypto.X509StoreContextError as error:
            code, depth, _message = error.errors
            (certificate,) = as_sent([error.certificate])
            problem = finding(code, depth, certificate)
            if code in NAME_CONSTRAINTS:
                # It is said of the one that has the name.
                return problem, [], [one for one, _ in intermediates if _constrains(one)]
            return problem, [], [certificate] if certificate is not None else []
        except crypto.Error as error:
            return Finding(CertificateMalformed, f"it cannot be verified ({error})"), [], []
        chain = [one for one in as_sent(found) if one is not None]
        if len(chain) < len(found):
            return Finding(CertificateMalformed, "a certificate of the chain cannot be read"), [], []
        fault = check_chain(chain, strict=self._strict, max_intermediates=self._max_intermediates)
        if fault is not None:
            return fault, [], [] if fault.certificate is None else [fault.certificate]
        return None, chain, []


def verify(
    roots: Iterable[x509.Certificate],
    intermediates: Sequence[x509.Certificate],
    leaf: x509.Certificate,
    host: str | None,
    time: datetime | None = None,
    *,
    strict: bool = True,
    max_intermediates: int = MAX_INTERMEDIATES,
) -> list[x509.Certificate]:
    """The chain by which ``leaf`` proves, at ``time``, to be ``host`` to who trusts ``roots``.

    Raises `CertificateRefused`: its class and ``reason`` say which check failed, its ``detail`` what was found. Without
    a ``host`` only the chain counts; without a ``time`` it is now.
    """
    anchors = Anchors(tuple(usable for root in roots if (usable := _for_openssl(root)) is not None))
    verifier = Verifier(anchors, strict=strict, max_intermediates=max_intermediates, time=time)
    return verifier.verify(leaf, intermediates, host)


def refusal(problem: Finding, host: str, sent: Sequence[x509.Certificate | None]) -> CertificateRefused:
    """The error for ``problem``, with the chain that was ``sent`` by who was to be ``host``."""
    shown = ", ".join(subject(one) if one is not None else UNREADABLE for one in sent[:3])
    if len(sent) > 3:
        shown += f" and {len(sent) - 3} more"
    detail = f"asked for {host}: {problem.text}; the server sent {shown or 'no certificate'}"
    return problem.error(detail, [f"{number}. {line}" for number, line in enumerate(summary(sent), 1)])


def _for_openssl(certificate: x509.Certificate) -> crypto.X509 | None:
    try:
        return crypto.X509.from_cryptography(certificate)
    except (crypto.Error, ValueError):
        return None


def _constrains(certificate: x509.Certificate) -> bool:
    try:
        return bool(extensions(certificate).get_extension_for_class(x509.NameConstraints))
    except (ValueError, x509.ExtensionNotFound):
        return False


def _digest(certificate: x509.Certificate) -> bytes:
    return certificate.fingerprint(hashes.SHA256())

"""Leaves: the certificates that a client sees in the place of a server's, and the contexts that show them.

Theory of operation. `Leaves.context` looks in memory, then in the directory, then makes one, all in one turn of the
reactor. Measured: a new leaf and its context take 0.4 ms together, 0.1 ms of which is the signature (1.8 ms with RSA of
4096 bits), and one from the directory takes as long; one in memory, 1 µs. A thread would not help: signing keeps the
interpreter's lock, and another thread that holds it stalls the reactor for 5 ms at a time. So nothing waits, and a
hundred connections that want one name in the same moment get the leaf that the first of them made. What can take long
is writing to a disk; that goes to ``in_background``, and nobody waits for it.

All leaves of an authority have one key, which is never the authority's: it is made for the process, or kept in the
directory, where the workers share it and a restart finds it. What the directory holds is believed only after a check of
names, key, dates and signature; anything else there is garbage, and made anew.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL

from twistedproxy.tls.authority import Authority, key_usage, utc
from twistedproxy.tls.names import LeafNames

LONGEST: Final = timedelta(days=45)
BACKDATED: Final = timedelta(hours=1)

_LONGEST_COMMON_NAME: Final = 64
"""Characters (RFC 5280 appendix A.1, ub-common-name)."""


class Shelf(Protocol):
    """Where leaves are kept between two runs."""

    def key(self) -> ec.EllipticCurvePrivateKey:
        """The key that all of its leaves have."""
        ...

    def find(self, name: str) -> x509.Certificate | None:
        """What was kept under ``name``, whatever it is."""
        ...

    def keep(self, name: str, certificate: x509.Certificate) -> None:
        """Keep it; may block."""
        ...


class Leaves:
    """The leaves of one authority.

    ``seconds`` tells the time since 1970. ``lifetime`` is how long a new leaf is valid. ``most`` is how many contexts
    are kept; the one that was not asked for longest goes. ``shelf`` keeps leaves between two runs, and is written to
    by ``in_background``, which calls what it is given at once or later, in any thread. ``prepare`` gets each new
    context.
    """

    def __init__(
        self,
        authority: Authority,
        seconds: Callable[[], float],
        *,
        lifetime: timedelta = LONGEST,
        most: int = 1000,
        shelf: Shelf | None = None,
        in_background: Callable[[Callable[[], None]], object] = lambda call: call(),
        prepare: Callable[[SSL.Context], object] = lambda context: None,
    ) -> None:
        self.authority = authority
        self.made = 0
        """How many certificates were signed."""
        self._seconds = seconds
        self._lifetime = lifetime
        self._most = most
        self._shelf = shelf
        self._in_background = in_background
        self._prepare = prepare
        self._key = ec.generate_private_key(ec.SECP256R1()) if shelf is None else shelf.key()
        self._sent = authority.sent
        self._contexts: OrderedDict[LeafNames, tuple[SSL.Context, float]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Leaves of {self.authority!r} {len(self._contexts)} contexts made={self.made}>"

    def context(self, names: LeafNames) -> SSL.Context:
        """A server's context with a leaf for ``names``, the same as long as that can be used.

        Raises `AuthorityError` when the authority has ended.
        """
        now = self._seconds()
        kept = self._contexts.get(names)
        if kept is not None and now < kept[1]:
            self._contexts.move_to_end(names)
            return kept[0]
        leaf = self._leaf(names, utc(now))
        context = self._new_context(leaf)
        self._contexts[names] = (context, self._renewal(leaf).timestamp())
        self._contexts.move_to_end(names)
        if len(self._contexts) > self._most:
            self._contexts.popitem(last=False)
        return context

    def _leaf(self, names: LeafNames, now: datetime) -> x509.Certificate:
        self.authority.check_date(now)
        name = _name_on_shelf(self.authority, names)
        if self._shelf is not None:
            found = self._shelf.find(name)
            if found is not None and self._is_good(found, names, now):
                return found
        leaf = sign_leaf(self.authority, self._key.public_key(), names, now, self._lifetime)
        self.made += 1
        shelf = self._shelf
        if shelf is not None:
            self._in_background(lambda: shelf.keep(name, leaf))
        return leaf

    def _renewal(self, leaf: x509.Certificate) -> datetime:
        """When a leaf is used no longer: a tenth of its life before it ends, for who has a connection then."""
        whole = leaf.not_valid_after_utc - leaf.not_valid_before_utc
        if leaf.not_valid_after_utc >= self.authority.ends:
            return leaf.not_valid_after_utc
        return leaf.not_valid_after_utc - whole / 10

    def _is_good(self, leaf: x509.Certificate, names: LeafNames, now: datetime) -> bool:
        try:
            alternative_names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            leaf.verify_directly_issued_by(self.authority.certificate)
            return (
                alternative_names == names.alternative_names()
                and leaf.public_key() == self._key.public_key()
                and leaf.not_valid_before_utc <= now < self._renewal(leaf)
                and leaf.not_valid_after_utc <= now + self._lifetime
            )
        except Exception:
            # Whatever may be wrong with a file: there is a better one to be had.
            return False

    def _new_context(self, leaf: x509.Certificate) -> SSL.Context:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE)
        context.use_privatekey(self._key)
        context.use_certificate(leaf)
        for certificate in self._sent:
            context.add_extra_chain_cert(certificate)
        self._prepare(context)
        return context


def sign_leaf(
    authority: Authority, key: ec.EllipticCurvePublicKey, names: LeafNames, now: datetime, lifetime: timedelta
) -> x509.Certificate:
    """A certificate of a server that has ``names``, for ``lifetime``, 45 days or until the authority ends.

    Raises `AuthorityError` when the authority has ended.
    """
    authority.check_date(now)
    starts = max(now - BACKDATED, *(one.not_valid_before_utc for one in (authority.certificate, *authority.chain)))
    has_title = len(names.title) <= _LONGEST_COMMON_NAME
    # Nobody should read a common name any more, but some show it.
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, names.title)] if has_title else []
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name(subject))
        .issuer_name(authority.certificate.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(starts)
        .not_valid_after(min(now + lifetime, starts + LONGEST, authority.ends))
        # RFC 5280 section 4.1.2.6: critical where the subject says nothing.
        .add_extension(names.alternative_names(), critical=not has_title)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(digital_signature=True), critical=True)
        .add_extension(purpose, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(authority.key_identifier(), critical=False)
        .sign(authority.key, hashes.SHA256())
    )


def _name_on_shelf(authority: Authority, names: LeafNames) -> str:
    """What a leaf is kept under; nothing that a client made up can be seen in it."""
    text = "\n".join((authority.fingerprint, *names.hosts, *map(str, names.addresses)))
    return hashlib.sha256(text.encode()).hexdigest()

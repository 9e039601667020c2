"""TLS with servers: the connections that are made to them, as the settings want them made.

Theory of operation. A context takes OpenSSL half a millisecond, so there is one for each policy, made when the first
server asks for it; what differs between connections (name, protocols, session) is set on them. With other settings all
of it is made anew: contexts, sessions, and what was learned of servers.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from zope.interface import implementer

from twistedproxy.access.hosts import canonical_host
from twistedproxy.tls.anchors import Anchors, SystemAnchors
from twistedproxy.tls.handshakes import Handshake, HandshakeConnection
from twistedproxy.tls.identity import Identity
from twistedproxy.tls.key_log import KeyLog
from twistedproxy.tls.names import InvalidName, LeafNames, mirrored
from twistedproxy.tls.sessions import Sessions
from twistedproxy.tls.trust import Policy, Trust, show
from twistedproxy.tls.verification import Verifier

MOST_NAMED: Final = 1000
"""Of how many servers the names in their certificates are remembered."""

# 112 bits and more: OpenSSL then refuses RSA and DH below 2048 bits, EC below 224, and SHA-1.
_CIPHERS: Final = b"DEFAULT:@SECLEVEL=2"

Origin: TypeAlias = tuple[str, int, tuple[bytes, ...], str]


class ClientSide:
    """Makes connections that go by ``trust``. ``key_log`` gets their secrets; ``seconds`` counts from 1970."""

    def __init__(
        self,
        trust: Trust,
        *,
        key_log: KeyLog | None = None,
        system: SystemAnchors | None = None,
        seconds: Callable[[], float] = time.time,
    ) -> None:
        settings = trust.settings
        self.strict = settings.strict
        self.max_intermediates = settings.max_intermediates
        self.trust = trust
        self._key_log = key_log
        self._system = system or SystemAnchors()
        self._seconds = seconds
        self._contexts: dict[Policy, SSL.Context] = {}
        self._verifiers: dict[Policy, Verifier] = {}
        self._sessions = Sessions(settings.session_cache, seconds)
        # What was shown, and the names in it once they were asked for.
        self._names: OrderedDict[tuple[str, int], LeafNames | x509.Certificate] = OrderedDict()

    def __repr__(self) -> str:
        return f"<ClientSide {self.trust!r} contexts={len(self._contexts)} {self._sessions!r}>"

    def under(self, trust: Trust) -> ClientSide:
        """One that goes by other settings, and knows nothing yet of any server."""
        return ClientSide(trust, key_log=self._key_log, system=self._system, seconds=self._seconds)

    def creator(
        self, host: str, port: int, protocols: tuple[bytes, ...], route: str = ""
    ) -> IOpenSSLClientConnectionCreator:
        """What makes connections to ``host`` that offer ``protocols`` (RFC 7301), the preferred one first.

        A session is resumed only on the same ``route``: on another it would tell that both are ours.
        """
        return _Creator(self, host, port, protocols, route)

    def leaf_names(self, host: str, port: int) -> LeafNames | None:
        """The names for a leaf in the place of the certificate that the server has shown; None while none was seen."""
        origin = (canonical_host(host), port)
        shown = self._names.get(origin)
        if isinstance(shown, x509.Certificate):
            try:
                shown = self._names[origin] = mirrored(shown, host)
            except InvalidName:
                return None
        return shown

    def connection(self, host: str, port: int, protocols: tuple[bytes, ...], route: str = "") -> SSL.Connection:
        """A connection that has yet to be made; for `creator`."""
        identity = Identity(host)
        policy = self.trust.policy(host)
        connection = HandshakeConnection(self._context(policy), None)
        connection.set_connect_state()
        if identity.server_name is not None:
            connection.set_tlsext_host_name(identity.server_name)
        if protocols:
            connection.set_alpn_protos(list(protocols))
        origin: Origin = (host, port, protocols, route)
        handshake = Handshake(self, origin, identity, policy)
        kept = self._sessions.take(origin)
        if kept is not None:
            connection.set_session(kept.session)
            handshake.until = kept.until
        connection.handshake = handshake
        return connection

    # ------------------------------------------------------------ what handshakes ask and tell

    def verifier(self, policy: Policy) -> Verifier:
        """One with the anchors that ``policy`` has."""
        found = self._verifiers.get(policy)
        if found is None:
            found = self._verifiers[policy] = Verifier(
                self._anchors(policy), strict=self.strict, max_intermediates=self.max_intermediates
            )
        return found

    def completed(self, handshake: Handshake, leaf: x509.Certificate) -> None:
        """The server of ``handshake`` has proved who it is with ``leaf``."""
        host, port, _protocols, _route = handshake.origin
        origin = (canonical_host(host), port)
        self._names[origin] = leaf
        self._names.move_to_end(origin)
        if len(self._names) > MOST_NAMED:
            self._names.popitem(last=False)

    def session_made(self, handshake: Handshake, session: SSL.Session, *, once: bool) -> None:
        """The connection of ``handshake`` can be resumed."""
        self._sessions.keep(handshake.origin, session, once=once, until=handshake.until)

    # ------------------------------------------------------------ contexts

    def _anchors(self, policy: Policy) -> Anchors:
        anchors = self.trust.anchors.and_also(policy.own_anchors)
        return anchors.and_also(self._system.anchors()) if self.trust.settings.system_anchors else anchors

    def _context(self, policy: Policy) -> SSL.Context:
        context = self._contexts.get(policy)
        if context is None:
            context = self._contexts[policy] = self._new_context(policy)
        return context

    def _new_context(self, policy: Policy) -> SSL.Context:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        lowest, highest = self.trust.versions
        context.set_min_proto_version(lowest)
        context.set_max_proto_version(highest)
        context.set_cipher_list(_CIPHERS)
        context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
        context.set_verify_depth(self.max_intermediates)
        store = context.get_cert_store()
        if policy.verify and store is not None:
            self._anchors(policy).fill(store)
            if self.strict:
                store.set_flags(crypto.X509StoreFlags.X509_STRICT)
        context.set_verify(SSL.VERIFY_PEER, _judge)
        context.set_info_callback(_told)
        if policy.client is not None:
            show(policy.client, context)
        if self._key_log is not None:
            self._key_log.prepare(context)
        return context


@implementer(IOpenSSLClientConnectionCreator)
class _Creator:
    """Makes connections to one origin."""

    def __init__(self, side: ClientSide, host: str, port: int, protocols: tuple[bytes, ...], route: str) -> None:
        self._side = side
        self._origin: Origin = (host, port, protocols, route)

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        return self._side.connection(*self._origin)


def _judge(connection: SSL.Connection, certificate: crypto.X509, code: int, depth: int, ok: int) -> bool:
    assert isinstance(connection, HandshakeConnection)
    return connection.handshake.judge(connection, certificate, code, depth, ok)


def _told(connection: SSL.Connection, where: int, _what: int) -> None:
    assert isinstance(connection, HandshakeConnection)
    handshake = connection.handshake
    # It is called for each of some twenty steps.
    if where == SSL.SSL_CB_HANDSHAKE_DONE or handshake.done:
        handshake.told(connection, where)

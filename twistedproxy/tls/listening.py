"""The TLS of a listener: its own certificate, and whether and by whom those of its clients have to be signed.

Theory of operation. The files are read when the listener is opened and again at each reload, if they are others; a
connection takes the context that is there when it begins. Who has to show a certificate, or shows one, is verified by
OpenSSL during the handshake: the chain up to one of the authorities in ``clientCA``, its dates, that it is for clients,
and that none of it is on a list of ``clientCRL``. No connection can be resumed: there are no tickets that are good for
anything, and no sessions are kept, so that each handshake is a whole one and verifies anew.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, ISSLTransport
from twisted.logger import Logger
from zope.interface import implementer

from twistedproxy.reading import Stamp, Unreadable, read_regular, stamp
from twistedproxy.settings.endpoints import REQUIRED, Endpoint
from twistedproxy.tls.chain import as_sent, parsed, subject
from twistedproxy.tls.findings import finding

MOST_ABOVE: Final = 5
"""Authorities between a client's certificate and the one that is trusted."""

QUIET: Final = 10.0
"""Seconds after a word on a refused certificate in which there is no second one: anybody can show one."""

_LARGEST: Final = 16 * 1024 * 1024
"""Bytes of a file; lists of what is revoked can be long."""

_MOST_NAMED: Final = 100
"""Authorities whose names a client is told, to choose a certificate by. They are sent in each handshake."""

_SESSION_ID: Final = b"twistedproxy"
_CRL: Final = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)
_FILES: Final = ("privateKey", "certKey", "extraCertChain", "dhParameters", "clientCA", "clientCRL")

# What `findings` says of servers, or does not know: X509_V_ERR_* in OpenSSL's x509_vfy.h.
_OF_CLIENTS: Final[Mapping[int, str]] = MappingProxyType(
    {
        3: "cannot be held against a list of its authority: there is none in clientCRL",
        8: "cannot be held against the list of its authority, whose signature is wrong",
        11: "cannot be held against the list of its authority, which is not valid yet",
        12: "cannot be held against the list of its authority, which is too old",
        23: "is revoked",
        26: "is not for clients, by its extended key usage, key usage or type",
    }
)

Protocols = Callable[[], Sequence[bytes]]


class ListenerError(Exception):
    """What a listener's TLS is made of cannot be used. The text says which file, and why."""


@implementer(IOpenSSLServerConnectionCreator)
class ListenerTLS:
    """Makes the server's side of TLS for one listener. Raises `ListenerError`.

    ``description`` is what messages call it, ``endpoint`` the same taken apart. ``protocols`` are what is spoken there
    (RFC 7301), the best first; None does not answer clients who ask.
    """

    _log = Logger()

    def __init__(
        self,
        description: str,
        endpoint: Endpoint,
        protocols: Protocols | None = None,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        arguments = dict(endpoint.arguments)
        arguments.setdefault("privateKey", "server.pem")
        arguments.setdefault("certKey", arguments["privateKey"])
        self._description = description
        # A daemon changes its directory.
        self._paths = {name: os.path.abspath(arguments[name]) for name in _FILES if arguments.get(name)}
        self._method = arguments.get("sslmethod", "")
        self._asks = endpoint.client_certificates
        self._protocols = protocols
        self._seconds = seconds
        self._told_at = -QUIET
        self._left_unsaid = 0
        self._stamps: dict[str, Stamp] = {}
        self._context, self._stamps = self._read()

    def __repr__(self) -> str:
        return f"<ListenerTLS of {self._description}>"

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        connection = SSL.Connection(self._context, None)
        connection.set_app_data(tlsProtocol)
        return connection

    # ------------------------------------------------------------ files

    def read_again(self) -> Callable[[], None]:
        """Read the files that are others by now. What comes back puts them to use. Raises `ListenerError`.

        A process that has become another account's may not read a key any more: it goes on with what it has.
        """
        if {path: stamp(path) for path in self._paths.values()} == self._stamps:
            return lambda: None
        try:
            context, stamps = self._read()
        except ListenerError as error:
            if not _is_forbidden(error):
                raise
            self._log.error(
                "what {listener} has for TLS cannot be read again, and stays as it was: {error}",
                listener=self._description,
                error=error,
            )
            return lambda: None

        def use() -> None:
            self._context, self._stamps = context, stamps

        return use

    def _read(self) -> tuple[SSL.Context, dict[str, Stamp]]:
        # Before they are read, so that a change meanwhile is seen later.
        stamps = {path: stamp(path) for path in self._paths.values()}
        method = getattr(SSL, self._method or "TLS_SERVER_METHOD", None)
        if not isinstance(method, int):
            raise ListenerError(f"OpenSSL has no {self._method}")
        context = SSL.Context(method)
        if not self._method:
            context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_options(
            SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE | SSL.OP_NO_TICKET
        )
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        # What could be resumed after all would be good for no listener but such as this one.
        context.set_session_id(_SESSION_ID)
        self._show(context)
        if "dhParameters" in self._paths:
            self._use_parameters(context)
        if self._asks:
            self._ask(context)
        if self._protocols is not None:
            context.set_alpn_select_callback(self._choose)
        return context, stamps

    def _content(self, name: str) -> bytes:
        try:
            return read_regular(self._paths[name], _LARGEST)
        except Unreadable as error:
            raise ListenerError(str(error)) from error

    def _show(self, context: SSL.Context) -> None:
        """Let ``context`` show the listener's certificate, with those above it."""
        path = self._paths["certKey"]
        try:
            first, *above = x509.load_pem_x509_certificates(self._content("certKey"))
        except ValueError:
            raise ListenerError(f"there is no certificate in {path}") from None
        if "extraCertChain" in self._paths:
            try:
                above += x509.load_pem_x509_certificates(self._content("extraCertChain"))
            except ValueError:
                raise ListenerError(f"there is no certificate in {self._paths['extraCertChain']}") from None
        key_path = self._paths["privateKey"]
        try:
            key = load_pem_private_key(self._content("privateKey"), None)
        except TypeError:
            raise ListenerError(f"the private key in {key_path} has a password") from None
        except (ValueError, UnsupportedAlgorithm):
            raise ListenerError(f"there is no private key in {key_path}") from None
        if key.public_key() != first.public_key():
            raise ListenerError(f"the private key in {key_path} is not that of the certificate in {path}")
        try:
            context.use_certificate(first)
            context.use_privatekey(key)  # type: ignore[arg-type]  # any that OpenSSL knows
            for certificate in dict.fromkeys(above):
                context.add_extra_chain_cert(certificate)
        except (SSL.Error, ValueError, TypeError):
            raise ListenerError(f"OpenSSL does not take the certificate in {path}: is its key too weak?") from None

    def _use_parameters(self, context: SSL.Context) -> None:
        path = self._paths["dhParameters"]
        # It is OpenSSL that reads it, which says little of what is wrong.
        self._content("dhParameters")
        try:
            context.load_tmp_dh(os.fsencode(path))
        except SSL.Error:
            raise ListenerError(f"there are no parameters for Diffie-Hellman in {path}") from None

    # ------------------------------------------------------------ clients' certificates

    def _ask(self, context: SSL.Context) -> None:
        """Let ``context`` ask clients for certificates, and verify them."""
        store = context.get_cert_store()
        assert store is not None
        path = self._paths["clientCA"]
        try:
            authorities = x509.load_pem_x509_certificates(self._content("clientCA"))
        except ValueError:
            raise ListenerError(f"{path} has no certificate, or one that cannot be read") from None
        for number, authority in enumerate(authorities):
            try:
                certificate = crypto.X509.from_cryptography(authority)
                store.add_cert(certificate)
                if number < _MOST_NAMED:
                    context.add_client_ca(authority)
            except (crypto.Error, SSL.Error, ValueError):
                raise ListenerError(f"OpenSSL does not take an authority in {path}") from None
        # An authority that is named is trusted, also where it is not one that has signed itself.
        flags = crypto.X509StoreFlags.PARTIAL_CHAIN
        if "clientCRL" in self._paths:
            for revoked in self._lists():
                store.add_crl(revoked)
            flags |= crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.CRL_CHECK_ALL
        store.set_flags(flags)
        context.set_verify_depth(MOST_ABOVE)
        mode = SSL.VERIFY_PEER
        if self._asks == REQUIRED:
            mode |= SSL.VERIFY_FAIL_IF_NO_PEER_CERT
        context.set_verify(mode, self._judged)

    def _lists(self) -> list[x509.CertificateRevocationList]:
        path = self._paths["clientCRL"]
        content = self._content("clientCRL")
        try:
            lists = [x509.load_pem_x509_crl(block[0]) for block in _CRL.finditer(content)]
        except ValueError:
            raise ListenerError(f"a list of revoked certificates in {path} cannot be read") from None
        if not lists:
            raise ListenerError(f"there is no list of revoked certificates in {path}")
        return lists

    def _judged(self, connection: SSL.Connection, certificate: crypto.X509, code: int, depth: int, ok: int) -> bool:
        """OpenSSL has looked at a certificate of a client's: say why where it is not good."""
        if ok:
            return True
        now = self._seconds()
        if now < self._told_at + QUIET:
            self._left_unsaid += 1
            return False
        self._told_at = now
        more, self._left_unsaid = self._left_unsaid, 0
        try:
            why = _why(certificate, code, depth)
        except Exception:
            # It would be lost on its way through OpenSSL. Anybody may have made the certificate up.
            why = f"it cannot be read (X509_V_ERR {code})"
        self._log.warn(
            "a client's certificate was not taken at {listener}: {why}{more}",
            listener=self._description,
            why=why,
            more=f" (and {more} others since the last word on it)" if more else "",
        )
        return False

    def _choose(self, connection: SSL.Connection, offered: list[bytes]) -> Any:
        assert self._protocols is not None
        for protocol in self._protocols():
            if protocol in offered:
                return protocol
        return SSL.NO_OVERLAPPING_PROTOCOLS


def _why(certificate: crypto.X509, code: int, depth: int) -> str:
    (blamed,) = as_sent([certificate])
    if code not in _OF_CLIENTS:
        return finding(code, depth, blamed).text
    which = f"the certificate {subject(blamed)}" if blamed is not None else "a certificate that is unreadable"
    return f"{which} {_OF_CLIENTS[code]}"


def _is_forbidden(error: ListenerError) -> bool:
    unreadable = error.__cause__
    return unreadable is not None and isinstance(unreadable.__cause__, PermissionError)


def verified_chain(transport: Any) -> tuple[x509.Certificate, ...]:
    """What a client has shown in the handshake of ``transport``, up to whom is trusted; nothing where it has not.

    It is verified: else there would be no connection. Nothing comes back either where it cannot be read.
    """
    # Others have a socket, or have one no longer.
    connection = transport.getHandle() if _is_tls(transport) else None
    if not isinstance(connection, SSL.Connection):
        return ()
    try:
        return tuple(parsed(one) for one in connection.get_verified_chain() or ())
    except ValueError:
        return ()


def _is_tls(transport: Any) -> bool:
    return ISSLTransport.providedBy(transport)

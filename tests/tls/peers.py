"""A server in memory, and the handshake with it."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.python.failure import Failure

from tests.tls.zoo import Case
from twistedproxy.errors import TLSFailed
from twistedproxy.tls.client_side import ClientSide
from twistedproxy.tls.handshakes import HandshakeConnection, handshake_error


class Server:
    """Shows what ``case`` says; ``version`` is the highest that it speaks, ``asks`` lets it want a certificate."""

    def __init__(
        self, case: Case, version: int = SSL.TLS1_3_VERSION, *, asks: bool = False, protocols: tuple[bytes, ...] = ()
    ) -> None:
        self.case = case
        self.context = context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_cipher_list(b"ALL:@SECLEVEL=0")
        context.set_max_proto_version(version)
        context.set_session_id(b"tests")
        context.use_privatekey(case.leaf.key)
        context.use_certificate(case.leaf.certificate)
        for one in case.sent:
            context.add_extra_chain_cert(one.certificate)
        if asks:
            context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
        if protocols:
            context.set_alpn_select_callback(
                lambda _, offered: next((one for one in protocols if one in offered), SSL.NO_OVERLAPPING_PROTOCOLS)
            )
        self.alert = ""
        """The last thing that the client complained of."""


def meet(
    side: ClientSide, server: Server, host: str = "", port: int = 443, protocols: tuple[bytes, ...] = ()
) -> tuple[HandshakeConnection, SSL.Connection]:
    """Both ends after a handshake, and a word of the server's. Raises what the proxy would show."""
    creator = side.creator(host or server.case.host, port, protocols)
    client = creator.clientConnectionForTLS(None)
    there = SSL.Connection(server.context, None)
    there.set_accept_state()
    try:
        for _ in range(4):
            _step(client)
            _carry(client, there)
            _step(there)
            _carry(there, client)
        there.send(b"word")
        _carry(there, client)
        assert client.recv(10) == b"word"
    except SSL.Error as error:
        server.alert = _complaint(client, there)
        raise handshake_error(Failure(error), client) from error
    return client, there


def reason(side: ClientSide, server: Server, **how: Any) -> str:
    """Why a handshake failed; empty when it did not."""
    try:
        meet(side, server, **how)
    except TLSFailed as error:
        return error.reason
    return ""


def _step(one: SSL.Connection) -> None:
    try:
        one.do_handshake()
    except SSL.WantReadError:
        pass


def _carry(one: SSL.Connection, other: SSL.Connection) -> None:
    try:
        other.bio_write(one.bio_read(1 << 16))
    except SSL.WantReadError:
        pass


def _complaint(client: SSL.Connection, there: SSL.Connection) -> str:
    _carry(client, there)
    try:
        there.do_handshake()
    except SSL.Error as error:
        return str(error.args[0][0][-1]) if error.args and error.args[0] else ""
    return ""

"""What is agreed on with a client, and which alerts of its are heard."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from types import SimpleNamespace

import pytest
from OpenSSL import SSL

from twistedproxy.tls.authority import Authority
from twistedproxy.tls.leaves import Leaves
from twistedproxy.tls.names import asked_for
from twistedproxy.tls.serving import HTTP1, HTTP2, REFUSING_ALERTS, serve_http

Shake = Callable[..., tuple[SSL.Connection, SimpleNamespace]]


@pytest.fixture
def shake(authority: Authority, now: datetime) -> Shake:
    """A handshake in memory; the client's side, and what the server's heard."""
    served = Leaves(authority, now.timestamp, prepare=serve_http).context(asked_for("a.test"))

    def make(
        *protocols: bytes,
        trusts: bool = True,
        version: int = SSL.TLS1_3_VERSION,
        served_protocols: tuple[bytes, ...] = (HTTP2, HTTP1),
    ) -> tuple[SSL.Connection, SimpleNamespace]:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
        context.set_verify(SSL.VERIFY_PEER, lambda *_: trusts)
        if protocols:
            context.set_alpn_protos(list(protocols))
        client, server = SSL.Connection(context), SSL.Connection(served)
        heard = SimpleNamespace(alert=0, protocols=served_protocols)
        heard.alert_received = lambda alert: setattr(heard, "alert", alert)
        server.set_app_data(SimpleNamespace(wrappedProtocol=heard))
        client.set_connect_state()
        server.set_accept_state()
        for _ in range(6):
            for one, other in ((client, server), (server, client)):
                try:
                    one.do_handshake()
                except SSL.Error:
                    pass
                try:
                    other.bio_write(one.bio_read(65536))
                except SSL.Error:
                    pass
        return client, heard

    return make


@pytest.mark.parametrize(
    ("served", "offered", "chosen"),
    [
        ((HTTP1,), (b"h2", b"http/1.1"), b"http/1.1"),
        ((HTTP1,), (b"http/1.1",), b"http/1.1"),
        ((HTTP1,), (), b""),
        ((HTTP1,), (b"h2",), b""),
        ((HTTP2, HTTP1), (b"http/1.1", b"h2"), b"h2"),
        ((HTTP2, HTTP1), (b"http/1.1",), b"http/1.1"),
        ((HTTP2, HTTP1), (b"h2",), b"h2"),
        ((HTTP2, HTTP1), (b"http/1.0",), b""),
        ((HTTP2, HTTP1), (), b""),
    ],
)
def test_protocol(shake: Shake, served: tuple[bytes, ...], offered: tuple[bytes, ...], chosen: bytes) -> None:
    """One context serves connections that may speak different ones; ours is the choice."""
    client, heard = shake(*offered, served_protocols=served)
    assert client.get_alpn_proto_negotiated() == chosen
    assert client.get_peer_certificate() is not None
    assert heard.alert == 0


@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
def test_refusal(shake: Shake, version: int) -> None:
    """RFC 8446 section 6.2."""
    _client, heard = shake(trusts=False, version=version)
    assert heard.alert in REFUSING_ALERTS


def test_closing_is_no_refusal(shake: Shake) -> None:
    client, heard = shake()
    client.shutdown()
    assert heard.alert == 0
    assert 0 not in REFUSING_ALERTS

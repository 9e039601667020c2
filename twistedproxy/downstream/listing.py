"""What an operator is told of the client connections that are open."""

from __future__ import annotations

from collections.abc import Sequence

from twistedproxy.access.addresses import with_port
from twistedproxy.downstream.connection import ClientConnection
from twistedproxy.exchange import Exchange
from twistedproxy.opaque import OpaqueExchange
from twistedproxy.record.connections import Connection, ConnectionState
from twistedproxy.record.escaping import without_userinfo

LONGEST_TARGET = 1024
"""Characters of a request's target that are told."""


def listed(connection: ClientConnection, worker: int, now: float) -> Connection:
    """What is told of ``connection`` of the worker of that number; ``now`` in monotonic seconds."""
    exchanges = connection.exchanges
    method = target = upstream = ""
    if exchanges:
        exchange = exchanges[0]
        method = _text(exchange.method)
        target = _text(without_userinfo(exchange.url))[:LONGEST_TARGET]
        upstream = exchange.upstream_address
    received, sent = connection.moved()
    return Connection(
        id=f"{worker}-{connection.number}",
        client=with_port(connection.client_address, connection.client_port),
        state=_state(connection, exchanges),
        age=now - connection.opened_at,
        requests=connection.requests,
        method=method,
        target=target,
        upstream=upstream,
        bytes_from_client=received,
        bytes_to_client=sent,
        exchanges=len(exchanges),
    )


def is_tunnel(exchange: Exchange) -> bool:
    """Whether ``exchange`` has become a tunnel."""
    return isinstance(exchange, OpaqueExchange) and exchange.relaying


def _state(connection: ClientConnection, exchanges: Sequence[Exchange]) -> ConnectionState:
    if exchanges:
        return "tunnel" if all(map(is_tunnel, exchanges)) else "request"
    return "closing" if connection.lingering or connection.gone else "idle"


def _text(raw: bytes) -> str:
    return raw.decode("ascii", "backslashreplace")

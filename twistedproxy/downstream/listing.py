"""What an operator is told of the client connections that are open."""

from __future__ import annotations

from twistedproxy.access.addresses import with_port
from twistedproxy.downstream.http1 import DownstreamConnection
from twistedproxy.exchange import Exchange
from twistedproxy.opaque import OpaqueExchange
from twistedproxy.record.connections import Connection, ConnectionState
from twistedproxy.record.escaping import without_userinfo

LONGEST_TARGET = 1024
"""Characters of a request's target that are told."""


def listed(connection: DownstreamConnection, worker: int, now: float) -> Connection:
    """What is told of ``connection`` of the worker of that number; ``now`` in monotonic seconds."""
    exchange = connection.exchange
    method = target = upstream = ""
    if exchange is not None:
        method = _text(exchange.method)
        target = _text(without_userinfo(exchange.url))[:LONGEST_TARGET]
        upstream = exchange.upstream_address
    moved = _of_relay(exchange)
    return Connection(
        id=f"{worker}-{connection.number}",
        client=with_port(connection.client_address, connection.client_port),
        state=_state(connection, exchange),
        age=now - connection.opened_at,
        requests=connection.requests,
        method=method,
        target=target,
        upstream=upstream,
        bytes_from_client=connection.received + moved[0],
        bytes_to_client=connection.sent + moved[1],
    )


def is_tunnel(exchange: Exchange | None) -> bool:
    """Whether the connection of ``exchange`` has become a tunnel."""
    return isinstance(exchange, OpaqueExchange) and exchange.relaying


def _state(connection: DownstreamConnection, exchange: Exchange | None) -> ConnectionState:
    if is_tunnel(exchange):
        return "tunnel"
    if exchange is not None:
        return "request"
    return "closing" if connection.lingering or connection.gone else "idle"


def _of_relay(exchange: Exchange | None) -> tuple[int, int]:
    return exchange.relayed if isinstance(exchange, OpaqueExchange) else (0, 0)


def _text(raw: bytes) -> str:
    return raw.decode("ascii", "backslashreplace")

"""What the tests of the log formats share: exchanges that are over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from twistedproxy.access.blocklists.lists import Listed
from twistedproxy.record.finished import FinishedExchange
from twistedproxy.routes.route import Route


@dataclass
class Finished:
    """An ordinary exchange: a GET that went well over a new connection."""

    kind: str = "forward"
    client_address: str = "192.0.2.7"
    client_port: int = 40000
    user: bytes = b""
    method: bytes = b"GET"
    url: bytes = b"http://origin.example/path?q=1"
    version: bytes = b"HTTP/1.1"
    status: int = 200
    bytes_from_client: int = 101
    bytes_to_client: int = 1270
    bytes_to_upstream: int = 133
    bytes_from_upstream: int = 1180
    started_at: float = 5000.0
    finished_at: float = 5000.042
    finished_wall: float = 1795421523.125
    connect_seconds: float = 0.01
    first_byte_seconds: float = 0.0305
    upstream_address: str = "203.0.113.9:80"
    route: Route | None = None
    reused: bool = False
    reason: str = ""
    detail: str = ""
    rule: str = ""
    listed: Listed | None = None
    request_fields: dict[bytes, bytes] = field(default_factory=dict)
    response_fields: dict[bytes, bytes] = field(default_factory=lambda: {b"content-type": b"text/html; charset=utf-8"})

    def request_field(self, name: bytes) -> bytes:
        return self.request_fields.get(name, b"")

    def response_field(self, name: bytes) -> bytes:
        return self.response_fields.get(name, b"")


@pytest.fixture(scope="session")
def finished() -> Callable[..., FinishedExchange]:
    """Makes an ordinary exchange that differs in the given attributes."""

    def make(**changes: Any) -> FinishedExchange:
        return replace(Finished(), **changes)

    return make

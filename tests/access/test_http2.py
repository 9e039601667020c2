"""With whom HTTP/2 is spoken."""

from __future__ import annotations

import pytest

from twistedproxy.access.http2 import HTTP2Use
from twistedproxy.settings.http2 import HTTP2Settings


@pytest.mark.parametrize(
    ("settings", "client", "server"),
    [
        ({}, True, True),
        ({"with_clients": False}, False, True),
        ({"with_servers": "never"}, True, False),
        ({"with_servers": "always"}, True, True),
        ({"except_hosts": ("A.test",)}, False, False),
        ({"except_hosts": (".test",)}, False, False),
        ({"except_hosts": ("b.test",)}, True, True),
        ({"except_listeners": ("tcp:1",)}, False, True),
        ({"except_listeners": ("tcp:2",)}, True, True),
    ],
)
def test_decision(settings: dict[str, object], client: bool, server: bool) -> None:
    use = HTTP2Use.of(HTTP2Settings(**settings))  # type: ignore[arg-type]  # a table
    assert use.with_client("tcp:1", "a.test") == client
    assert use.with_server("a.test") == server


@pytest.mark.parametrize(("wanted", "mirrors"), [("mirror", True), ("always", False), ("never", False)])
def test_mirroring(wanted: str, mirrors: bool) -> None:
    assert HTTP2Use.of(HTTP2Settings(with_servers=wanted)).mirrors == mirrors  # type: ignore[arg-type]  # one of three


def test_repr() -> None:
    made = HTTP2Use.of(HTTP2Settings(except_hosts=("a", "b"), except_listeners=("tcp:1",)))
    assert repr(made) == "<HTTP2Use with_clients with_servers except_hosts=<HostSet 2> except_listeners=1>"
    assert repr(HTTP2Use.of(HTTP2Settings(with_clients=False, with_servers="never"))).startswith("<HTTP2Use off ")

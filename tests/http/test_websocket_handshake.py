"""The two values of the handshake."""

from __future__ import annotations

import base64

from twistedproxy.http.websocket_handshake import accept_for, new_key


def test_the_example_of_the_rfc() -> None:
    """RFC 6455 section 1.3."""
    assert accept_for(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_keys() -> None:
    keys = {new_key() for _ in range(10)}
    assert len(keys) == 10
    assert {len(base64.b64decode(key, validate=True)) for key in keys} == {16}

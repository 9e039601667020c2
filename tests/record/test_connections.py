"""What is told of a client connection, on its way to whoever asked."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from twistedproxy.record.connections import Connection, ConnectionState

ONE = Connection("0-17", "192.0.2.7:40000", "tunnel", 1.5, 2, "CONNECT", "a.test:443", "192.0.2.9:443", 100, 200)


def test_crosses_processes_and_the_api() -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(ONE), type=Connection) == ONE
    assert msgspec.json.decode(msgspec.json.encode(ONE)) == {
        "id": "0-17",
        "client": "192.0.2.7:40000",
        "state": "tunnel",
        "age": 1.5,
        "requests": 2,
        "method": "CONNECT",
        "target": "a.test:443",
        "upstream": "192.0.2.9:443",
        "bytes_from_client": 100,
        "bytes_to_client": 200,
        "exchanges": 0,
    }


def test_states() -> None:
    assert get_args(ConnectionState) == ("idle", "request", "tunnel", "closing")
    wrong = msgspec.json.encode(ONE).replace(b"tunnel", b"asleep")
    with pytest.raises(msgspec.ValidationError, match="Invalid enum value 'asleep'"):
        msgspec.json.decode(wrong, type=Connection)

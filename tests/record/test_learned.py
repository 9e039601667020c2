"""What is told of clients that do not take the proxy's certificates."""

from __future__ import annotations

import msgspec

from twistedproxy.record.learned import Learned

ONE = Learned(1, "192.0.2.7", "a.test", 2, True, 59.5)


def test_it_travels() -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode([ONE]), type=list[Learned]) == [ONE]
    assert msgspec.json.decode(msgspec.json.encode(ONE)) == {
        "worker": 1,
        "client": "192.0.2.7",
        "host": "a.test",
        "times": 2,
        "left_alone": True,
        "seconds": 59.5,
    }

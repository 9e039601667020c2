"""What is told of limits can be sent, and is small."""

from __future__ import annotations

import msgspec

from twistedproxy.access.limits.spending import Spending, Tidings, UnderWay, Used


def test_it_comes_as_it_was_sent() -> None:
    spent = Spending()
    spent.add(1, 20, 3)
    spent.add(1, 2, 0)
    tidings = Tidings({"a": {"10.0.0.1": spent}}, {"b": {"all": UnderWay(2, 1)}}, {"c": {"user ann": Used(5, 6)}})
    sent = msgspec.msgpack.encode(tidings)
    assert msgspec.msgpack.decode(sent, type=Tidings) == tidings
    assert tidings.spent["a"]["10.0.0.1"] == Spending(2, 22, 3)
    assert len(sent) < 100

"""The shape that every log format reads, and the exchange that has it."""

from __future__ import annotations

import pytest

from tests.memory import Wire
from twistedproxy.errors import RequestTimeout
from twistedproxy.exchange import Exchange
from twistedproxy.record.finished import FinishedExchange
from twistedproxy.record.formats import access_format

MEMBERS = sorted(name for name in vars(FinishedExchange) if not name.startswith("_"))


def finished() -> Exchange:
    wire = Wire()
    exchange = Exchange(wire.plane, wire.connection(wire.client()), None)
    exchange.fail(RequestTimeout("late"))
    return exchange


@pytest.mark.parametrize("member", MEMBERS)
def test_an_exchange_has_all_of_it(member: str) -> None:
    assert hasattr(finished(), member)


@pytest.mark.parametrize("name", ["squid", "combined", "json"])
def test_every_format_takes_an_exchange(name: str) -> None:
    line = access_format(name)(finished())
    assert line.endswith(b"\n")
    assert b"408" in line

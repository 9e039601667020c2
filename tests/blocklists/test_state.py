"""What is known of a list goes to disk and to the operator as JSON."""

from __future__ import annotations

import msgspec

from twistedproxy.blocklists.state import EMPTY, Facts, ListState


def test_facts_survive() -> None:
    facts = Facts("https://lists.test/", '"x"', "Fri, 27 Nov 2026 00:00:00 GMT", 1.5, 1.0, 2, "no")
    assert msgspec.json.decode(msgspec.json.encode(facts), type=Facts) == facts
    assert msgspec.json.decode(b"{}", type=Facts) == Facts()


def test_a_state_has_no_secret() -> None:
    assert set(ListState.__struct_fields__).isdisjoint({"prime", "etag"})
    assert (EMPTY.names, EMPTY.faults) == (0, [])

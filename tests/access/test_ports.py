"""Sets of ports, compiled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.access.ports import PortSet

PORTS = st.integers(1, 65535)
SPANS = st.tuples(PORTS, PORTS).map(sorted)


def test_entries() -> None:
    ports = PortSet.of([443, "8000-8001", 22])
    assert [port for port in range(65536) if port in ports] == [22, 443, 8000, 8001]
    assert str(ports) == "22,443,8000-8001"
    assert repr(ports) == "<PortSet 22,443,8000-8001>"


def test_all() -> None:
    ports = PortSet.of(["all"])
    assert 1 in ports
    assert 65535 in ports
    assert 0 not in ports


@pytest.mark.parametrize("entry", ["", "none", "1-", "-2", "9-8", "1-2-3", "443 "])
def test_entry_that_means_nothing(entry: str) -> None:
    with pytest.raises(ValueError, match="is not a port"):
        PortSet.of([entry])


@given(st.lists(PORTS), st.lists(SPANS), PORTS)
def test_against_a_simple_reader(single: list[int], spans: list[list[int]], port: int) -> None:
    ports = PortSet.of([*single, *(f"{low}-{high}" for low, high in spans)])
    assert (port in ports) == (port in single or any(low <= port <= high for low, high in spans))

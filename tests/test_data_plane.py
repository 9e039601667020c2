"""What the connections of a process share."""

from __future__ import annotations

from tests.memory import Wire


def test_a_new_snapshot_is_one_swap() -> None:
    wire = Wire()
    old = wire.plane.snapshot
    wire.reload()
    assert wire.plane.snapshot is not old
    assert wire.plane.snapshot.generation == old.generation + 1
    assert repr(wire.plane) == "<DataPlane generation=2 <Pool open=0 idle=0 waiting=0>>"

"""What is told of a list that was read."""

from __future__ import annotations

from twistedproxy.access.blocklists.report import MOST_FAULTS, Fault, Report


def test_the_first_bad_lines_are_told_of_and_all_are_counted() -> None:
    report = Report()
    for line in range(100):
        report.is_bad(line, b"x" * 200 if line else b"\x1b[31m\xff", "no name")
    assert report.bad == 100
    assert len(report.faults) == MOST_FAULTS
    assert report.faults[0] == Fault(0, "?[31m�", "no name")
    assert report.faults[1] == Fault(1, "x" * 80 + "...", "no name")
    assert Report().faults == []

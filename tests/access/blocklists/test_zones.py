"""Response policy zones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.access.blocklists.report import Bad, Skipped
from twistedproxy.access.blocklists.rules import NameRule
from twistedproxy.access.blocklists.table import BELOW, PASS_BELOW, PASS_SELF, SELF
from twistedproxy.access.blocklists.zones import ZoneReading, is_zone_line

HEAD = b"""$TTL 2h
rpz.test. IN SOA ns.test. root.test. (
    2026112701 ; serial
    1h 15m 30d
    2h )
  NS ns.test.
"""


def outcome(*lines: bytes) -> NameRule | str | None:
    """What the last of ``lines`` is, after `HEAD`."""
    reading = ZoneReading()
    for line in HEAD.splitlines():
        assert reading.rule(line) is None
    try:
        rule = None
        for line in lines:
            rule = reading.rule(line)
    except (Bad, Skipped) as error:
        return type(error).__name__
    return rule


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"a.example CNAME .", NameRule(b"a.example", SELF)),
        (b"a.example 300 IN CNAME *. ; why", NameRule(b"a.example", SELF)),
        (b"A.Example IN 1h cname rpz-drop.", NameRule(b"a.example", SELF)),
        (b"*.a.example CNAME .", NameRule(b"a.example", BELOW)),
        (b"*.zip CNAME .", NameRule(b"zip", BELOW)),
        (b"a.example.rpz.test. CNAME .", NameRule(b"a.example", SELF)),
        (b"a.example CNAME rpz-passthru.", NameRule(b"a.example", PASS_SELF)),
        (b"*.a.example CNAME rpz-passthru.", NameRule(b"a.example", PASS_BELOW)),
        (b"a.example CNAME garden.test.", "Skipped"),
        (b"a.example CNAME rpz-tcp-only.", "Skipped"),
        (b"a.example A 192.0.2.1", "Skipped"),
        (b"32.1.2.0.192.rpz-ip CNAME .", "Skipped"),
        (b"ns.a.example.rpz-nsdname CNAME .", "Skipped"),
        (b"$INCLUDE other", "Skipped"),
        (b"a.example", "Bad"),
        (b"a.example CNAME", "Bad"),
        (b"a.example CNAME . .", "Bad"),
        (b"a b c", "Bad"),
        (b"*.192.0.2.1 CNAME .", "Bad"),
        (b"a\\.b.example CNAME .", "Bad"),
        (b"; a comment", None),
        (b"", None),
    ],
)
def test_lines(line: bytes, expected: NameRule | str | None) -> None:
    assert outcome(line) == expected


def test_an_owner_is_that_of_the_line_before() -> None:
    assert outcome(b"a.example TXT x ; y", b"  CNAME .") == "Skipped"
    reading = ZoneReading()
    with pytest.raises(Skipped):
        reading.rule(b"a.example TXT x")
    assert reading.rule(b"   CNAME .") == NameRule(b"a.example", SELF)


def test_the_origin_can_be_given() -> None:
    assert outcome(b"$ORIGIN other.test.", b"a.example.other.test. CNAME .") == NameRule(b"a.example", SELF)


def test_lines_of_zones_are_recognised() -> None:
    assert all(map(is_zone_line, (b"$TTL 1h", b"@ SOA a. b. (", b"a CNAME .")))
    assert not any(map(is_zone_line, (b"a.example", b"# a CNAME .", b"0.0.0.0 a.example # A")))


@given(st.lists(st.one_of(st.binary(max_size=40), st.text("a.*$()@; CNAMEOS", max_size=30).map(str.encode))))
def test_any_lines_have_an_answer(lines: list[bytes]) -> None:
    reading = ZoneReading()
    for line in lines:
        try:
            reading.rule(line)
        except (Bad, Skipped):
            pass

"""Reading whole lists: formats, mixed and stated, hostile bytes, and pieces of any size."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.access.blocklists.kept import Kept
from twistedproxy.access.blocklists.reading import FORMATS, LONGEST_LINE, Reading
from twistedproxy.access.blocklists.report import Fault, Report
from twistedproxy.access.blocklists.rules import ALL, PathRule, RegexRule
from twistedproxy.access.blocklists.table import PASS_BELOW, PASS_SELF, SELF


def read(content: bytes, format: str = "auto", *, size: int = 1 << 20, subdomains: bool = True) -> tuple[Kept, Report]:
    kept = Kept()
    reading = Reading(format, kept, subdomains=subdomains)
    for start in range(0, len(content), size):
        reading.feed(content[start : start + size])
    return kept, reading.end()


MIXED = b"""\xef\xbb\xbf# A list of all sorts
! of comments
[Adblock Plus 2.0]
0.0.0.0 hosts.example www.hosts.example # x
127.0.0.1 localhost
127.0.0.1 fast.example
plain.example
spaced.example  \t\r
UPPER.example
||adblock.example^
||slow.example^$important
@@||ok.adblock.example^
a.example##.banner
||third.example^$third-party
||path.example/ads/
/track[0-9]+/
address=/dnsmasq.example/0.0.0.0
server=/server.example/
server=/elsewhere.example/192.0.2.1
192.0.2.9
b\xc3\xbccher.example
this is no list
$TTL 300
@ IN SOA ns. root. ( 1 2
  3 4 5 )
zone.example CNAME .
pass.example CNAME rpz-passthru.
"""


def test_formats_may_be_mixed() -> None:
    kept, report = read(MIXED)
    passed = PASS_SELF | PASS_BELOW
    assert kept.names == {
        b"hosts.example": ALL,
        b"www.hosts.example": ALL,
        b"fast.example": ALL,
        b"plain.example": ALL,
        b"spaced.example": ALL,
        b"upper.example": ALL,
        b"adblock.example": ALL,
        b"slow.example": ALL,
        b"ok.adblock.example": passed,
        b"dnsmasq.example": ALL,
        b"server.example": ALL,
        b"192.0.2.9": SELF,
        b"xn--bcher-kva.example": ALL,
        b"zone.example": SELF,
        b"pass.example": PASS_SELF,
    }
    assert kept.paths == [PathRule("path.example", "/ads/", "", False, False)]
    assert kept.regexes == [RegexRule("track[0-9]+")]
    assert (report.lines, report.names, report.rules, report.skipped, report.bad) == (27, 15, 2, 3, 1)
    assert report.faults == [Fault(22, "this is no list", "more than one word")]


@pytest.mark.parametrize("size", [1, 2, 7, 64, 1000])
def test_the_size_of_the_pieces_does_not_matter(size: int) -> None:
    # Names are taken from blocks at once, or one by one, and it has to come to the same.
    whole, report = read(MIXED)
    kept, same = read(MIXED, size=size)
    assert (kept.names, kept.paths, kept.regexes) == (whole.names, whole.paths, whole.regexes)
    assert same == report


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_lines_after_those_of_a_zone_are_of_the_zone(size: int) -> None:
    """However much of the list comes at once."""
    kept, report = read(
        b"a.example\n$TTL 60\nb.example\n||c.example^\n0.0.0.0 d.example\ne.example CNAME .\n", size=size
    )
    assert kept.names == {b"a.example": ALL, b"c.example": ALL, b"e.example": SELF}
    assert (report.lines, report.names, report.bad) == (6, 3, 2)
    assert [fault.line for fault in report.faults] == [3, 5]


@pytest.mark.parametrize(
    ("format", "content", "names"),
    [
        ("domains", b"a.example\n0.0.0.0 b.example\n||c.example^\n", {b"a.example": SELF}),
        ("hosts", b"0.0.0.0 a.example\nb.example\n", {b"a.example": SELF}),
        ("adblock", b"||a.example^\nb.example\n0.0.0.0 c.example\n", {b"a.example": ALL}),
        ("dnsmasq", b"address=/a.example/\nno-resolv\nport=53\n", {b"a.example": ALL}),
        ("rpz", b"a.example CNAME .\nb.example\n", {b"a.example": SELF}),
    ],
)
def test_a_stated_format_is_the_only_one(format: str, content: bytes, names: dict[bytes, int]) -> None:
    assert read(content, format, subdomains=False)[0].names == names


def test_regular_expressions_one_a_line() -> None:
    kept, report = read(b"# comment\n^https?://ads\\.\n(\n#[0-9]\n", "regexes")
    assert [rule.expression for rule in kept.regexes] == ["^https?://ads\\.", "#[0-9]"]
    assert report.faults == [Fault(3, "(", "no expression")]


@pytest.mark.parametrize("end", [b"", b"\n"])
@pytest.mark.parametrize("size", [100, 1 << 20])
def test_a_line_that_is_too_long_is_one_bad_line(size: int, end: bytes) -> None:
    long = b"x" * (LONGEST_LINE + 1)
    kept, report = read(b"a.example\n" + long + b"\nb.example\n" + long + end, size=size)
    assert set(kept.names) == {b"a.example", b"b.example"}
    assert (report.lines, report.bad) == (4, 2)
    assert {fault.line for fault in report.faults} == {2, 4}
    assert {fault.why for fault in report.faults} == {"too long a line"}


@pytest.mark.parametrize("size", [1, 100, 1 << 20])
@pytest.mark.parametrize(
    "line", [b"ab" * LONGEST_LINE, b" " * (LONGEST_LINE + 1), b"\xef\xbb\xbf" + b"x" * (LONGEST_LINE + 1)]
)
def test_the_beginning_of_a_line_that_is_too_long_is_shown(line: bytes, size: int) -> None:
    for content in (line, line + b"\n", line + b"\na.example"):
        _, report = read(content, size=size)
        shown = line.removeprefix(b"\xef\xbb\xbf")[:80].decode()
        assert report.faults == [Fault(1, f"{shown}...", "too long a line")]


@pytest.mark.parametrize("size", [1, 1 << 20])
def test_a_byte_order_mark_is_no_part_of_the_longest_line(size: int) -> None:
    kept, report = read(b"\xef\xbb\xbfa.example".ljust(LONGEST_LINE + 3), size=size)
    assert set(kept.names) == {b"a.example"}
    assert not report.bad


@given(st.binary(max_size=300), st.sampled_from(FORMATS), st.integers(1, 50))
def test_any_bytes_can_be_read(content: bytes, format: str, size: int) -> None:
    kept, report = read(content, format, size=size)
    assert report.lines <= content.count(b"\n") + 1
    assert report.bad <= report.lines
    assert all((name.isascii() and b"." in name) or b":" in name or name.isascii() for name in kept.names)


LINE = st.one_of(
    st.from_regex(r"\A(\|\||@@\|\||0\.0\.0\.0 |address=/|\*\.|)[a-zA-Z0-9.-]{1,12}(\^|/|)[ \r]?\Z").map(str.encode),
    st.sampled_from([b"# x", b"", b"a.b", b"||a.b^", b"0.0.0.0 a.b c.d", b"a.b #x"]),
)


@given(st.lists(LINE, max_size=30), st.sampled_from(["auto", "domains", "hosts", "adblock", "dnsmasq"]))
def test_blocks_come_to_what_their_lines_come_to(lines: list[bytes], format: str) -> None:
    whole, report = read(b"\n".join(lines), format)
    alone = Kept()
    bad = skipped = 0
    for line in lines:
        # With a line that is no list at all beside it, none goes the fast way alone.
        reading = Reading(format, alone)
        reading.feed(line)
        one = reading.end()
        bad, skipped = bad + one.bad, skipped + one.skipped
    assert whole.names == alone.names
    assert (report.bad, report.skipped) == (bad, skipped)


def test_memory_does_not_grow_with_the_list() -> None:
    class Nothing(Kept):
        def add_names(self, names: Iterable[bytes], flags: int) -> None:
            """Forget them."""

    reading = Reading("auto", Nothing())
    block = b"".join(b"n%d.example\n" % number for number in range(5000)) + b"x" * 5000
    reading.feed(block)
    tracemalloc.start()
    try:
        for _ in range(100):
            reading.feed(block)
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()

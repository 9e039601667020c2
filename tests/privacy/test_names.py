"""Fields that go, and fields that change, by their names."""

from __future__ import annotations

import pytest

from twistedproxy.http.message import Fields, ResponseHead
from twistedproxy.privacy.names import Changes, NameRules, rewritten
from twistedproxy.settings.field_names import OUT_OF_REACH

LINES = [(b"Host", b"h"), (b"X-A", b"1"), (b"x-a", b"2"), (b"X-Corp-Name", b"c"), (b"User-Agent", b"u")]


def noted(rules: NameRules, lines: list[tuple[bytes, bytes]] = LINES) -> Changes:
    changes: Changes = {}
    rules.note(changes, Fields(lines))
    return changes


def test_nothing() -> None:
    assert not NameRules()
    assert noted(NameRules()) == {}


@pytest.mark.parametrize(
    ("rules", "changes"),
    [
        (NameRules(remove=["X-A", "Absent"]), {b"x-a": None}),
        (NameRules(remove=["x-*"]), {b"x-a": None, b"x-corp-name": None}),
        (NameRules(remove=["X-?"]), {b"x-a": None}),
        (NameRules(replace=["x-a: 3", "Absent: 1"]), {b"x-a": b"3"}),
        (NameRules(remove=["X-A"], replace=["X-A: 3"]), {b"x-a": b"3"}),
        (NameRules(remove=["X-*"], replace=["X-A: 3"]), {b"x-a": b"3", b"x-corp-name": None}),
        (NameRules(allow=["user-*"]), {b"x-a": None, b"x-corp-name": None}),
        (NameRules(allow=["X-*"], remove=["X-Corp-*"]), {b"x-corp-name": None, b"user-agent": None}),
    ],
)
def test_noted(rules: NameRules, changes: Changes) -> None:
    assert rules
    assert noted(rules) == changes
    # What has been asked before is known.
    assert noted(rules) == changes


@pytest.mark.parametrize("rules", [NameRules(remove=["*"]), NameRules(allow=["x-none"])])
def test_out_of_reach(rules: NameRules) -> None:
    lines = [(name.encode(), b"1") for name in sorted(OUT_OF_REACH)]
    assert noted(rules, [*lines, (b"Other", b"1")]) == {b"other": None}


def test_the_memo_is_bounded() -> None:
    rules = NameRules(remove=["x-*"])
    for number in range(5000):
        assert noted(rules, [(b"X-%d" % number, b"")]) == {b"x-%d" % number: None}
    assert len(rules._memo) <= 2048


def test_rewritten() -> None:
    """Order and case stay, and a field is where its first line was."""
    fields = rewritten(Fields(LINES), {b"x-a": b"3", b"x-corp-name": None, b"new": b"n"}, [(b"new", b"New")])
    assert fields.lines == [(b"Host", b"h"), (b"X-A", b"3"), (b"User-Agent", b"u"), (b"New", b"n")]
    assert fields.first(b"x-a") == b"3"


def test_response() -> None:
    head = ResponseHead(200, b"OK", 1, Fields([(b"Server", b"s"), (b"X", b"y")]), 3, frozenset((b"close",)))
    assert NameRules(remove=["Absent"]).response(head) is head
    changed = NameRules(remove=["Server"]).response(head)
    assert changed.fields.lines == [(b"X", b"y")]
    assert (changed.status, changed.phrase, changed.length, changed.options) == (200, b"OK", 3, head.options)
    assert (changed.version, changed.keep_alive) == (head.version, head.keep_alive)


def test_trailers() -> None:
    assert NameRules(remove=["X-A"]).trailers([(b"X-A", b"1"), (b"B", b"2")]) == [(b"B", b"2")]


class Never(tuple[bytes, bytes]):
    """As HPACK's line that is never indexed."""

    def __new__(cls, *parts: bytes) -> Never:
        return super().__new__(cls, parts)


def test_what_is_never_indexed_stays_so() -> None:
    (line,) = rewritten(Fields([Never(b"referer", b"a")]), {b"referer": b"b"}).lines
    assert line == (b"referer", b"b")
    assert type(line) is Never

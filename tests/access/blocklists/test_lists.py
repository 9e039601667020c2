"""Whether something is on a list: which one decides, and that they agree with a naive matcher."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.access.blocklists import lists as lists_module
from twistedproxy.access.blocklists.image import Image, compile_list
from twistedproxy.access.blocklists.lists import Blocklists, Listed, OpenList
from twistedproxy.access.hosts import HostSet

PRIME = 576460752303423433


def opened(name: str, content: str, **more: Any) -> OpenList:
    _, pieces = compile_list(
        [content.encode()], format=more.get("format", "auto"), subdomains=True, prime=PRIME, source=""
    )
    return OpenList(
        name,
        more.get("category", ""),
        more.get("action", "block"),
        more.get("allow", False),
        more.get("everybody", True),
        HostSet(more.get("exceptions", ())),
        Image(b"".join(pieces), PRIME),
    )


def lists(*all: OpenList) -> Blocklists:
    return Blocklists(all, PRIME)


def test_a_host_is_found_by_what_it_is_below() -> None:
    several = lists(opened("ads", "a.example\n192.0.2.1", category="advertising"))
    found = several.judge("x.A.example.")
    assert found == Listed("ads", "advertising", "a.example", True)
    assert found.sentence == "a.example is on the list ads (category advertising)"
    assert several.judge("\u00fc.a.example") == found
    assert several.judge("xa.example") is None
    assert several.judge("example") is None
    assert several.judge("3221225985") == Listed("ads", "advertising", "192.0.2.1", True)
    assert several.judge("1.192.0.2.1") is None
    assert Listed("x", "", "a", True).sentence == "a is on the list x"


def test_the_first_list_decides_and_logging_gives_way() -> None:
    several = lists(
        opened("seen", "a.example\nb.example", action="log"), opened("one", "a.example"), opened("two", "a.example")
    )
    assert several.judge("a.example") == Listed("one", "", "a.example", True)
    assert several.judge("b.example") == Listed("seen", "", "b.example", False)


def test_allow_lists_win_over_all() -> None:
    several = lists(opened("one", "example\n.example"), opened("good", "ok.example", allow=True))
    assert several.judge("ok.example") is None
    assert several.judge("a.ok.example") is None
    assert several.judge("b.example") is not None


def test_exceptions_are_from_one_list() -> None:
    several = lists(
        opened("one", "||a.example^\n@@||ok.a.example^\n||b.example^", exceptions=[".b.example"]),
        opened("two", "ok.a.example"),
    )
    found = [several.judge(host) for host in ("a.example", "ok.a.example", "x.b.example")]
    assert [one and one.list for one in found] == ["one", "two", None]


def test_urls() -> None:
    several = lists(
        opened("paths", "||a.example/ads\n@@||a.example/ads/ok\n|https://b.example/"),
        opened("urls", "^http://c\\.example:8080/x\nq=1", format="regexes"),
    )
    judge = several.judge
    assert judge("a.example", "http", 80, b"/ads/1") == Listed("paths", "", "a.example/ads", True)
    assert judge("a.example", "http", 80, b"/ads/ok") is None
    assert judge("a.example", "http", 80, b"/") is None
    assert judge("a.example") is None
    assert judge("b.example", "http", 80, b"/") is None
    assert judge("b.example", "https", 443, b"/") == Listed("paths", "", "b.example/", True)
    assert judge("c.example", "http", 8080, b"/x") == Listed("urls", "", "^http://c\\.example:8080/x", True)
    assert judge("c.example", "http", 80, b"/x") is None
    assert judge("::1", "http", 80, b"/?Q=1") == Listed("urls", "", "q=1", True)
    assert judge("d.example", "http", 80, b"/\xff") is None


def test_an_allowed_url_is_allowed_by_all() -> None:
    several = lists(opened("good", "||a.example/ok", allow=True), opened("bad", "a.example"))
    assert several.judge("a.example", "http", 80, b"/ok") is None
    assert several.judge("a.example", "http", 80, b"/x") is not None


def test_lists_are_chosen_by_name_and_for_everybody() -> None:
    several = lists(opened("one", "a.example"), opened("two", "b.example", everybody=False))
    everybodys = several.everybodys()
    assert everybodys is not None
    assert repr(everybodys) == "<Blocklists one>"
    two = several.named(("two", "unknown"))
    assert two is not None
    assert (two.judge("a.example"), two.judge("b.example")) == (None, Listed("two", "", "b.example", True))
    assert several.named(["two", "unknown"]) is two
    assert several.named(()) is None
    assert lists(opened("x", "a.b", everybody=False)).everybodys() is None
    assert not lists()


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists_module, "_REMEMBERED", 10)
    several = lists(opened("one", "a.example"))
    for number in range(100):
        assert several.judge(f"n{number}.a.example") is not None
        assert several.judge(f"n{number}.example") is None
    assert len(several._known) <= 10


LABELS = st.sampled_from(["a", "b", "example", "com"])
NAMES = st.lists(LABELS, min_size=2, max_size=4).map(".".join)
ENTRIES = st.tuples(st.sampled_from(["", "*.", "||", "@@||"]), NAMES)


def naively(entries: list[tuple[str, str]], host: str) -> bool:
    """Whether a list with these blocks ``host``."""

    def covers(kind: str, name: str) -> bool:
        below = host.endswith(f".{name}")
        return below if kind == "*." else below or host == name

    passed = any(covers(kind, name) for kind, name in entries if kind == "@@||")
    return not passed and any(covers(kind, name) for kind, name in entries if kind != "@@||")


@given(
    st.lists(st.tuples(st.lists(ENTRIES, max_size=8), st.sampled_from(["block", "log", "allow"])), max_size=4), NAMES
)
def test_they_agree_with_a_naive_matcher(all: list[tuple[list[tuple[str, str]], str]], host: str) -> None:
    several = lists(
        *(
            opened(
                str(number),
                "\n".join(f"{kind}{name}{'^' if '|' in kind else ''}" for kind, name in entries),
                action="log" if does == "log" else "block",
                allow=does == "allow",
            )
            for number, (entries, does) in enumerate(all)
        )
    )
    hits = [(str(number), does) for number, (entries, does) in enumerate(all) if naively(entries, host)]
    blocking = [name for name, does in hits if does == "block"]
    expected = blocking or [name for name, does in hits if does == "log"]
    found = several.judge(host)
    if any(does == "allow" for _, does in hits) or not expected:
        assert found is None
    else:
        assert found is not None
        assert (found.list, found.blocks) == (expected[0], bool(blocking))

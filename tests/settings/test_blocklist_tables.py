"""The tables of lists: what may stand there, and where a mistake is said to be."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from twistedproxy.settings.blocklist_tables import ACTIONS, FORMATS, check_blocklist, is_url
from twistedproxy.settings.blocklists import ListAction, ListFormat
from twistedproxy.settings.problems import Unfit

GOOD = {"name": "ads", "source": "/etc/ads.txt"}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"source": "http://127.0.0.1:8000/x?y", "format": "rpz", "action": "log", "category": "ads and more"},
        {"source": "https://[::1]/", "allow": True, "everybody": False, "subdomains": False},
        {"exceptions": ["a.example", ".b.example", "*.c.example", "192.0.2.1"], "refresh": "90m"},
    ],
)
def test_tables(more: dict[str, Any]) -> None:
    check_blocklist(GOOD | more)


@pytest.mark.parametrize(
    ("entry", "within"),
    [
        ("ads", ""),
        ({}, ""),
        ({"name": "ads"}, ""),
        ({"source": "/etc/ads.txt"}, ""),
        (GOOD | {"nmae": "x"}, "nmae"),
        (GOOD | {"name": "Ads"}, "name"),
        (GOOD | {"name": "a/b"}, "name"),
        (GOOD | {"name": "local"}, "name"),
        (GOOD | {"name": "x" * 33}, "name"),
        (GOOD | {"source": "ads.txt"}, "source"),
        (GOOD | {"source": "ftp://a.example/"}, "source"),
        (GOOD | {"source": "https:///x"}, "source"),
        (GOOD | {"source": "https://user:secret@a.example/"}, "source"),
        (GOOD | {"source": "https://a.example:x/"}, "source"),
        (GOOD | {"source": "https://bücher.example/"}, "source"),
        (GOOD | {"source": 7}, "source"),
        (GOOD | {"format": "csv"}, "format"),
        (GOOD | {"format": []}, "format"),
        (GOOD | {"action": "redirect"}, "action"),
        (GOOD | {"category": "x" * 65}, "category"),
        (GOOD | {"category": "\n"}, "category"),
        (GOOD | {"allow": "yes"}, "allow"),
        (GOOD | {"exceptions": "a.example"}, "exceptions"),
        (GOOD | {"exceptions": ["a.example", "b c"]}, "exceptions[1]"),
        (GOOD | {"exceptions": ["defaults"]}, "exceptions[0]"),
        (GOOD | {"refresh": "1s"}, "refresh"),
        (GOOD | {"refresh": 3600}, "refresh"),
        (GOOD | {"refresh": "often"}, "refresh"),
    ],
)
def test_mistakes(entry: object, within: str) -> None:
    with pytest.raises(Unfit) as error:
        check_blocklist(entry)
    assert error.value.within == within


def test_the_words_are_those_of_the_types() -> None:
    assert (get_args(ListFormat), get_args(ListAction)) == (FORMATS, ACTIONS)
    assert [is_url(source) for source in ("http://a", "https://a", "/http://a")] == [True, True, False]

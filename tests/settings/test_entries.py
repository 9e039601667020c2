"""The keys of a table that stands in a list."""

from __future__ import annotations

import pytest

from twistedproxy.settings.entries import check_keys
from twistedproxy.settings.problems import Unfit

KNOWN = ("names", "verify")


def test_what_is_known() -> None:
    entry = {"names": ["a.example"]}
    assert check_keys(entry, KNOWN, "a table") is entry


@pytest.mark.parametrize("entry", ["names", ["names"], 1, None])
def test_what_is_no_table(entry: object) -> None:
    with pytest.raises(Unfit) as unfit:
        check_keys(entry, KNOWN, "a table such as { }")
    assert unfit.value.expected == "a table such as { }"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("name", 'unknown key (did you mean "names"?)'),
        ("nothing-like-it", "unknown key"),
        ("x" * 100_000, "unknown key"),
    ],
)
def test_what_is_not_known(name: str, message: str) -> None:
    with pytest.raises(Unfit) as unfit:
        check_keys({name: 1}, KNOWN, "a table")
    assert (unfit.value.message, unfit.value.within) == (message, name)

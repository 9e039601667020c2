"""The recipes of docs/limits.md: whole files that load, say nothing unwise, and limit what is said of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from twistedproxy.access.limits.limits import Limits
from twistedproxy.access.profile import GivenLimit
from twistedproxy.settings.describe import warnings
from twistedproxy.settings.limit_tables import PER, WHEN_OVER
from twistedproxy.settings.limits import LimitTable
from twistedproxy.settings.load import load

PAGE = (Path(__file__).parents[1] / "docs" / "limits.md").read_text(encoding="utf-8")
RECIPES = dict(re.findall(r"<!-- recipe: (\w+) -->\n```toml\n(.*?)```", PAGE, re.DOTALL))
EXAMPLES = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


def limits_of(text: str) -> Limits:
    limits = Limits.of(load(text, "a.toml").settings.limits)
    assert limits is not None
    return limits


def test_there_are_some() -> None:
    assert sorted(RECIPES) == ["farm", "hotel", "school"]
    assert len(EXAMPLES) == 5


@pytest.mark.parametrize("text", EXAMPLES)
def test_all_of_them_load(text: str) -> None:
    assert limits_of(text).all


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_nothing_about_them_is_unwise(name: str) -> None:
    assert list(warnings(load(RECIPES[name], "a.toml").settings)) == []


def test_who_is_limited_by_what() -> None:
    hotel = limits_of(RECIPES["hotel"])
    assert [limit.name for limit, _ in hotel.holding(())] == ["guest", "line"]
    farm = limits_of(RECIPES["farm"])
    assert [limit.name for limit, _ in farm.holding(())] == ["jobs"]
    assert [limit.name for limit, _ in farm.holding((GivenLimit("mirror", "artefacts"),))] == ["jobs", "mirror"]
    assert limits_of(RECIPES["school"]).holding(()) == ()


def test_every_key_and_word_is_explained() -> None:
    told = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]+)`", PAGE))))
    assert {*LimitTable.__struct_fields__, *PER, *WHEN_OVER} - told == {"name"}

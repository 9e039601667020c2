"""Names that nobody is asked for."""

from __future__ import annotations

import pytest

from twistedproxy import errors
from twistedproxy.upstream.special_names import LOOPBACK, is_local, special_answer


@pytest.mark.parametrize("name", ["localhost", "localhost.", "a.localhost", "a.b.localhost."])
def test_this_machine(name: str) -> None:
    assert special_answer(name) is LOOPBACK
    assert [one.address for one in LOOPBACK.addresses] == ["127.0.0.1", "::1"]


@pytest.mark.parametrize("name", ["onion", "a.onion", "a.b.onion.", "x.invalid", "invalid."])
def test_names_that_are_not_found(name: str) -> None:
    answer = special_answer(name)
    assert answer is not None
    assert (answer.addresses, answer.ttl, answer.error) == ((), 0, errors.NameNotFound)
    assert answer.detail.startswith(f"{name}: ")


@pytest.mark.parametrize(
    "name",
    ["", ".", "a", "localhost.example", "mylocalhost", "onions", "a.onion.example", "test", "a.local", "a.internal"],
)
def test_all_others_are_looked_up(name: str) -> None:
    assert special_answer(name) is None


def test_the_local_link() -> None:
    assert [is_local(name) for name in ("local", "a.local", "a.local.", "a.local.example", "alocal", "")] == [
        *[True] * 3,
        *[False] * 3,
    ]

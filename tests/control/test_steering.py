"""What the API may ask of the daemon, and that the one in these tests can be asked no less."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from twistedproxy.control.steering import CannotBeDone, Steered

METHODS = sorted(name for name, member in vars(Steered).items() if inspect.isfunction(member) and name[0] != "_")
PROPERTIES = sorted(name for name, member in vars(Steered).items() if isinstance(member, property))


@pytest.mark.parametrize("name", METHODS)
def test_methods(name: str, steered: Any) -> None:
    of_the_test = inspect.signature(getattr(type(steered), name))
    assert of_the_test == inspect.signature(getattr(Steered, name))


@pytest.mark.parametrize("name", PROPERTIES)
def test_properties(name: str, steered: Any) -> None:
    assert hasattr(steered, name)


def test_all_of_it_says_what_it_does() -> None:
    assert len(METHODS) + len(PROPERTIES) == 23
    assert [name for name in METHODS + PROPERTIES if not getattr(Steered, name).__doc__] == []


def test_why_it_cannot_be_done() -> None:
    assert str(CannotBeDone("it drains already")) == "it drains already"

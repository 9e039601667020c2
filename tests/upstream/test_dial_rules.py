"""The one door to the network where rules depend on the address: rebinding, aliases, and every spelling."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from tests.access.test_question import question
from tests.upstream.test_dial import Door, outcome_of
from twistedproxy.access.policy import AccessPolicy
from twistedproxy.access.rules import Rules
from twistedproxy.errors import CredentialsWanted, DeniedByRule, DestinationRefused
from twistedproxy.settings.access import AccessRule, AccessSettings

SPELLINGS = [
    "127.0.0.66",
    "127.0.66",
    "127.66",
    "0177.0.0.0102",
    "0177.66",
    "017700000102",
    "0x7f.0x42",
    "0X7F000042",
    "2130706498",
    "127.0.0.66.",
    "::ffff:127.0.0.66",
    "::ffff:7f00:42",
    "0:0:0:0:0:FFFF:7F00:42",
    "64:ff9b::7f00:42",
    "2002:7f00:42::",
]
"""All of them mean 127.0.0.66, or lead there."""


class Guarded(Door):
    """A door that some rules guard; 127.0.0.66 is denied by one of them."""

    def guard(self, *rules: AccessRule) -> None:
        settings = AccessSettings(rules=rules, refuse_destinations=("link-local",))
        access = AccessPolicy.of(settings, own_ports=(), is_own_address=lambda _: False)
        compiled = Rules.of(settings, access)
        assert compiled is not None
        self.policy = compiled.judge(question()).destinations or access  # type: ignore[assignment]  # either will do


DENY = AccessRule(name="no", destinations=("127.0.0.66",), action="deny")


@pytest.fixture
def door(running_reactor: Any, tmp_path: Path) -> Iterator[Guarded]:
    made = Guarded(running_reactor, tmp_path / "hosts")
    made.guard(DENY)
    yield made
    made.close()


@pytest.mark.parametrize("host", SPELLINGS)
def test_a_denied_address_in_every_spelling(door: Guarded, host: str) -> None:
    refusal = outcome_of(door.dial(host))
    assert type(refusal) is DeniedByRule
    assert (refusal.rule, refusal.detail) == ("no", 'the rule "no"')
    assert door.accepted() == 0


def test_others_pass(door: Guarded) -> None:
    assert outcome_of(door.dial("127.0.0.1")).address == "127.0.0.1"


def test_the_policy_goes_first(door: Guarded) -> None:
    assert type(outcome_of(door.dial("169.254.169.254"))) is DestinationRefused


@pytest_twisted.ensureDeferred
async def test_a_name_that_stands_for_another(door: Guarded) -> None:
    """The resolver follows a CNAME; what counts is where it ends."""
    door.names.answers["alias.example"] = [["127.0.0.66"]]
    with pytest.raises(DeniedByRule):
        await door.dial("alias.example")
    # Of several addresses those that are allowed are used.
    door.names.answers["mixed.example"] = [["127.0.0.66", "127.0.0.1"]]
    assert (await door.dial("mixed.example")).address == "127.0.0.1"
    assert door.accepted() == 1


@pytest_twisted.ensureDeferred
async def test_a_name_that_changes_its_mind(door: Guarded) -> None:
    door.names.answers["rebind.example"] = [["127.0.0.1"], ["127.0.0.66"]]
    assert (await door.dial("rebind.example")).address == "127.0.0.1"
    door.clock.advance(61)
    with pytest.raises(DeniedByRule):
        await door.dial("rebind.example")
    assert door.names.asked == ["rebind.example", "rebind.example"]
    assert door.accepted() == 1


def test_only_what_is_allowed(door: Guarded) -> None:
    door.guard(AccessRule(destinations=("127.0.0.1",), action="allow"), AccessRule(name="rest", action="deny"))
    assert outcome_of(door.dial("127.1")).address == "127.0.0.1"
    assert outcome_of(door.dial("127.2")).rule == "rest"
    # Who comes by an address that only leads to it is somebody else.
    assert outcome_of(door.dial("64:ff9b::7f00:1")).rule == "rest"
    door.guard(AccessRule(destinations=("127.0.0.1",), action="allow"), AccessRule(name="who", action="ask"))
    assert type(outcome_of(door.dial("127.2"))) is CredentialsWanted

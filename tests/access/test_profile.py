"""What rules give: the later one counts, and names add up."""

from __future__ import annotations

from twistedproxy.access.profile import NO_PROFILE, GivenLimit, Profile

SLOW = GivenLimit("slow", "first")


def test_a_later_rule_says_more() -> None:
    first = Profile(intercept=True, route="a", blocklists=("ads",), limits=(SLOW,))
    second = Profile(intercept=False, log=False, blocklists=("games", "ads"))
    assert first.with_more(second) == Profile(False, False, "a", ("ads", "games"), (SLOW,))
    assert second.with_more(first) == Profile(True, False, "a", ("games", "ads"), (SLOW,))
    assert first.with_more(NO_PROFILE) == first == NO_PROFILE.with_more(first)


def test_a_limit_is_given_by_the_first_rule_that_does() -> None:
    other = GivenLimit("fast", "second")
    later = Profile(limits=(GivenLimit("slow", "second"), other))
    assert Profile(limits=(SLOW,)).with_more(later).limits == (SLOW, other)

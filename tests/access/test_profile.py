"""What rules give: the later one counts, and names add up."""

from __future__ import annotations

from twistedproxy.access.profile import NO_PROFILE, Profile


def test_a_later_rule_says_more() -> None:
    first = Profile(intercept=True, route="a", blocklists=("ads",), rates=("slow",))
    second = Profile(intercept=False, log=False, blocklists=("games", "ads"))
    assert first.with_more(second) == Profile(False, False, "a", ("ads", "games"), ("slow",))
    assert second.with_more(first) == Profile(True, False, "a", ("games", "ads"), ("slow",))
    assert first.with_more(NO_PROFILE) == first == NO_PROFILE.with_more(first)

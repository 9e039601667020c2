"""What each profile says, and what the settings change in that."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import get_args

from twistedproxy.settings.field_names import check_field_name
from twistedproxy.settings.privacy import PrivacySettings, Profile
from twistedproxy.settings.privacy_profiles import GROUPS, PROFILES, Choices, choices

PAGE = (Path(__file__).parents[2] / "docs" / "privacy.md").read_text()


def test_every_profile_is_spelt_out() -> None:
    assert set(PROFILES) == set(get_args(Profile))


def test_a_profile_is_what_it_comes_to() -> None:
    for name, profile in PROFILES.items():
        assert choices(PrivacySettings(profile=name)) == profile  # type: ignore[arg-type]  # one of the words


def test_off_does_nothing() -> None:
    assert not [
        field.name
        for field in fields(Choices)
        if isinstance(value := getattr(PROFILES["off"], field.name), tuple) and value
    ]
    assert (PROFILES["off"].via, PROFILES["off"].forwarded_for) == ("pseudonym", "transparent")


def test_strict_takes_out_all_that_standard_does() -> None:
    assert set(PROFILES["standard"].remove_request_fields) < set(PROFILES["strict"].remove_request_fields)


def test_own_words_go_before_the_profile() -> None:
    chosen = choices(PrivacySettings(profile="strict", via="pseudonym", remove_request_fields=("X-A",)))
    assert (chosen.via, chosen.forwarded_for) == ("pseudonym", "delete")
    assert chosen.remove_request_fields == (*PROFILES["strict"].remove_request_fields, "X-A")


def test_names_are_within_reach() -> None:
    for profile in PROFILES.values():
        for name in (*profile.remove_request_fields, *profile.remove_response_fields):
            check_field_name(name)


def cell(value: object) -> str:
    if not isinstance(value, tuple):
        return f"`{value}`"
    groups = [name for name, group in GROUPS.items() if set(group) <= set(value)]
    assert sorted(value) == sorted(one for name in groups for one in GROUPS[name])
    return ", ".join(groups) or "none"


def test_the_page_has_the_table() -> None:
    rows = [
        f"| `{field.name}` | {' | '.join(cell(getattr(profile, field.name)) for profile in PROFILES.values())} |"
        for field in fields(Choices)
    ]
    assert "\n".join(("| part | `off` | `standard` | `strict` |", "|---|---|---|---|", *rows, "")) in PAGE


def test_the_page_has_the_groups() -> None:
    text = " ".join(PAGE.split())
    for name, group in GROUPS.items():
        beginning = text.partition(f"**{name}**")[2]
        assert f": {', '.join(f'`{field}`' for field in group)}." in beginning

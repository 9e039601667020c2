"""Ports that tunnels may reach, as they stand in the file."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.settings.ports import check_port
from twistedproxy.settings.problems import Unfit


@pytest.mark.parametrize("entry", [1, 443, 65535, "1-65535", "8000-8999", "443-443", "all"])
def test_a_port_a_range_and_all_are_accepted(entry: int | str) -> None:
    check_port(entry)


@pytest.mark.parametrize(
    ("entry", "expected", "hint"),
    [
        (0, "a port from 1 to 65535", ""),
        (65536, "a port from 1 to 65535", ""),
        (-1, "a port from 1 to 65535", ""),
        ("0-80", "a range of ports from 1 to 65535", ""),
        ("80-65536", "a range of ports from 1 to 65535", ""),
        ("81-80", "a range of ports that begins with the lower one", ""),
        (
            "443",
            'a port such as 443, a range such as "8000-8999" or "all"',
            "a single port is written without quotes",
        ),
        ("80 - 90", 'a port such as 443, a range such as "8000-8999" or "all"', ""),
        ("٨٠-٩٠", 'a port such as 443, a range such as "8000-8999" or "all"', ""),
        ("any", 'a port such as 443, a range such as "8000-8999" or "all"', ""),
        ("", 'a port such as 443, a range such as "8000-8999" or "all"', ""),
    ],
)
def test_others_are_refused(entry: int | str, expected: str, hint: str) -> None:
    with pytest.raises(Unfit) as refused:
        check_port(entry)
    assert (refused.value.expected, refused.value.hint) == (expected, hint)


@given(st.one_of(st.integers(), st.text(), st.text("0123456789-")))
def test_no_entry_does_worse_than_to_be_refused(entry: int | str) -> None:
    with suppress(Unfit):
        check_port(entry)

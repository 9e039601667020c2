"""The list of tracking parameters is in good order."""

from __future__ import annotations

import re

from twistedproxy.privacy.tracking_list import HOSTS_THAT_NEED_THEM, NAMES, PREFIXES, SIGNATURES
from twistedproxy.settings.hosts import check_host


def test_names_are_in_lower_case_and_once() -> None:
    everything = (*NAMES, *PREFIXES, *SIGNATURES)
    assert len(set(everything)) == len(everything)
    assert [one for one in everything if not re.fullmatch(r"[a-z0-9_-]{3,}", one)] == []


def test_no_name_is_covered_by_a_prefix() -> None:
    assert [name for name in NAMES if name.startswith(PREFIXES)] == []


def test_what_pages_need_is_not_there() -> None:
    assert {"id", "q", "page", "ref", "source", "lang", "v", "t", "s", "token", "code", "state"}.isdisjoint(NAMES)


def test_hosts() -> None:
    for host in HOSTS_THAT_NEED_THEM:
        check_host(host)

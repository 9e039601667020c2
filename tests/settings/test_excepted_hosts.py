"""Hosts for which privacy is off, or parts of it."""

from __future__ import annotations

from dataclasses import fields

import pytest

from twistedproxy.settings.excepted_hosts import PARTS, check_excepted_host, excepted_host
from twistedproxy.settings.privacy_profiles import Choices
from twistedproxy.settings.problems import Unfit


@pytest.mark.parametrize(
    ("text", "host", "parts"),
    [
        ("a.test", "a.test", set(PARTS)),
        (".a.test referer", ".a.test", {"referer"}),
        ("2001:db8::1 fields,user_agent", "2001:db8::1", {"fields", "user_agent"}),
        ("*.a.test fields, user_agent", "*.a.test", {"fields", "user_agent"}),
    ],
)
def test_read(text: str, host: str, parts: set[str]) -> None:
    check_excepted_host(text)
    assert excepted_host(text) == (host, parts)


@pytest.mark.parametrize("text", ["", 1, "defaults", "a.test:80", "a.test ", "a.test via", "a.test refferer", "a b c"])
def test_wrong(text: object) -> None:
    with pytest.raises(Unfit):
        check_excepted_host(text)


def test_a_hint() -> None:
    with pytest.raises(Unfit) as raised:
        check_excepted_host("a.test refferer")
    assert raised.value.hint == 'did you mean "referer"?'


def test_parts_are_those_of_the_profiles() -> None:
    others = {"via", "remove_request_fields", "remove_response_fields", "log_addresses", "log_queries"}
    assert {field.name for field in fields(Choices)} - others == set(PARTS) - {"fields"}

"""The settings of privacy, as they are written."""

from __future__ import annotations

import pytest

from twistedproxy.settings.load import SettingsError, load
from twistedproxy.settings.privacy import PrivacySettings


def test_read() -> None:
    text = """\
[privacy]
profile = "standard"
via = "none"
forwarded_for = "truncate"
forwarded_form = "both"
remove_request_fields = ["X-Device-Id", "X-Corp-*"]
replace_request_fields = ["User-Agent: browser"]
allow_request_fields = ["Accept*"]
remove_response_fields = ["Server"]
replace_response_fields = ["Server:server"]
allow_response_fields = ["Date"]
"""
    assert load(text, "a.toml").settings.privacy == PrivacySettings(
        profile="standard",
        via="none",
        forwarded_for="truncate",
        forwarded_form="both",
        remove_request_fields=("X-Device-Id", "X-Corp-*"),
        replace_request_fields=("User-Agent: browser",),
        allow_request_fields=("Accept*",),
        remove_response_fields=("Server",),
        replace_response_fields=("Server:server",),
        allow_response_fields=("Date",),
    )


def test_off_is_the_default() -> None:
    assert load("", "a.toml").settings.privacy == PrivacySettings(profile="off")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('profile = "paranoid"', "privacy.profile"),
        ('via = "proxy-1"', 'expected one of "profile", "pseudonym", "none"'),
        ("forwarded_for = true", "privacy.forwarded_for"),
        ('forwarded_form = "via"', "privacy.forwarded_form"),
        ('remove_request_fields = "X-A"', "privacy.remove_request_fields"),
        ("remove_request_fields = [1]", "privacy.remove_request_fields[0]"),
        ('remove_request_fields = ["X-A", "X A"]', "privacy.remove_request_fields[1]"),
        ('remove_request_fields = ["Host"]', "framing"),
        ('remove_response_fields = ["content-length"]', "framing"),
        ('allow_request_fields = ["Via"]', "see privacy.via"),
        ('replace_request_fields = ["X-Forwarded-For: 192.0.2.1"]', "see privacy.forwarded_for"),
        ('referer = "no-referrer"', "privacy.referer"),
        ('except_hosts = ["a.test", "b.test refferer"]', 'did you mean "referer"?'),
        ('replace_request_fields = ["X-A"]', "a colon and its value"),
        ('replace_request_fields = ["X-*: 1"]', "a colon and its value"),
        ('replace_request_fields = ["X-A: 1\\r\\nHost: b"]', "a colon and its value"),
    ],
)
def test_wrong(line: str, complaint: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load(f"[privacy]\n{line}\n", "a.toml")
    assert complaint in str(raised.value)
    assert line.partition(" ")[0] in str(raised.value)

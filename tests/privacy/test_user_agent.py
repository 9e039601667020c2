"""User-Agent in general."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.privacy.user_agent import general_user_agent, requested_with

SAFARI = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("came", "left"),
    [
        (
            f"Mozilla/5.0 (X11; Ubuntu; Linux x86_64) {WEBKIT} Chrome/130.0.6723.91 Safari/537.36",
            f"Mozilla/5.0 (X11; Linux x86_64) {WEBKIT} Chrome/130.0.0.0 Safari/537.36",
        ),
        (
            f"Mozilla/5.0 (Windows NT 10.0; WOW64) {WEBKIT} Chrome/129.0.1.2 Safari/537.36 Edg/129.0.2792.89",
            f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/129.0.0.0 Safari/537.36",
        ),
        (
            f"Mozilla/5.0 (Linux; Android 14; Pixel 8 Pro Build/AP1A) {WEBKIT} Chrome/130.0.1.2 Mobile Safari/537.36",
            f"Mozilla/5.0 (Linux; Android 10; K) {WEBKIT} Chrome/130.0.0.0 Mobile Safari/537.36",
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.13; rv:131.0) Gecko/20100101 Firefox/131.0.2",
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:131.0) Gecko/20100101 Firefox/131.0",
        ),
        (
            "Mozilla/5.0 (Android 13; Mobile; rv:131.0) Gecko/131.0 Firefox/131.0",
            "Mozilla/5.0 (Android 10; Mobile; rv:131.0) Gecko/131.0 Firefox/131.0",
        ),
        (
            f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) {SAFARI} Version/17.6 Mobile/15E148 Safari/604.1",
            f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) {SAFARI} Version/17.0 Mobile/15E148 Safari/604.1",
        ),
        (
            f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {SAFARI} Version/18.1 Safari/605.1.15",
            f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {SAFARI} Version/18.0 Safari/605.1.15",
        ),
        ("Mozilla/5.0 (compatible; SomeBot/1.0; owner@example.com)", "Mozilla/5.0"),
        ("curl/8.5.0", "curl/8"),
        ("git/2.39.5 (Apple Git-154)", "git/2"),
        ('pip/24.0 {"ci":null,"cpu":"x86_64","distro":{"name":"Debian"}}', "pip/24"),
        ("alice's own client", "alice's"),
        ("tool/nightly-7f3a", "tool"),
        ("(nobody)", "Mozilla/5.0"),
        ("", "Mozilla/5.0"),
    ],
)
def test_general(came: str, left: str) -> None:
    assert general_user_agent(came.encode()) == left.encode()


@given(st.binary(max_size=1000))
def test_any_input(value: bytes) -> None:
    left = general_user_agent(value)
    assert left.isascii()
    assert b"\r" not in left
    assert len(left) < 160
    assert general_user_agent(left) == left


def test_nested_comments_cost_no_more() -> None:
    """Open brackets without an end are read once."""
    assert general_user_agent(b"Mozilla/5.0 (" + b"(" * 500) == b"Mozilla/5.0"
    assert general_user_agent(b"Mozilla/5.0 (" + b"()" * 250) == b"Mozilla/5.0"


def test_requested_with() -> None:
    assert requested_with(b"XMLHttpRequest") == b"XMLHttpRequest"
    assert requested_with(b"com.example.app") is None

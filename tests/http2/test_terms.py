"""What a session and its owner agree on."""

from __future__ import annotations

from twistedproxy.http2.terms import SessionError, SessionLimits


def test_an_error_has_its_code_and_text() -> None:
    error = SessionError(11, "too much")
    assert (error.code, error.detail, str(error)) == (11, "too much", "too much")


def test_limits_unless_told_otherwise() -> None:
    assert SessionLimits() == (100, 262_144, 65_536)

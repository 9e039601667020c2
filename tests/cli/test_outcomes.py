"""What a run comes to."""

from __future__ import annotations

import pytest

from twistedproxy.cli.outcomes import EXIT_CODES, ControlError, NotReached, Refused, Silent, UnexpectedAnswer


def test_every_code_has_a_meaning() -> None:
    assert [code for code, _ in EXIT_CODES] == [0, 1, 2, 3, 4]
    assert all(meaning for _, meaning in EXIT_CODES)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Refused("Conflict", 409), 1),
        (Refused("Service Unavailable", 503), 1),
        (Refused("Internal Server Error", 500), 3),
        (UnexpectedAnswer("what?"), 3),
        (NotReached("nobody"), 4),
        (Silent("nobody yet"), 4),
    ],
)
def test_exit_code(error: ControlError, code: int) -> None:
    assert error.exit_code == code


def test_lines_of_a_refusal() -> None:
    assert Refused("Conflict", 409).lines == ["Conflict"]
    assert Refused("", 409).lines == [""]
    refused = Refused("Conflict", 409, "it is\ndraining", ["first", "second"])
    assert refused.lines == ["Conflict: it is", "  draining", "  first", "  second"]
    assert repr(Refused("Conflict", 409, "no")) == "<Refused 409 Conflict: no>"
    assert NotReached("nobody").lines == ["nobody"]


def test_a_detail_that_is_the_first_problem_is_said_once() -> None:
    assert Refused("Conflict", 409, "draining", ["draining"]).lines == ["Conflict: draining"]
    assert Refused("Conflict", 409, "a: 1", ["a: 1", "b: 2"]).lines == ["Conflict: a: 1", "  b: 2"]

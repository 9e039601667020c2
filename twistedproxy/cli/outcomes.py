"""What a run of ``pyproxyctl`` comes to: its exit codes, and the errors that lead to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

DONE: Final = 0
"""It has been done, or is as asked for."""

REFUSED: Final = 1
"""The daemon refused, or a check failed."""

WRONG_USAGE: Final = 2
"""The command line cannot be understood; click's own."""

UNEXPECTED: Final = 3
"""The API answered something that it should not, or this program has a fault."""

NOT_REACHED: Final = 4
"""No daemon could be reached."""

EXIT_CODES: Final = (
    (DONE, "done"),
    (REFUSED, "the daemon refused, or a check failed (not valid, not ready, not found)"),
    (WRONG_USAGE, "wrong usage"),
    (UNEXPECTED, "the API answered something unexpected, or there is a fault in pyproxyctl"),
    (NOT_REACHED, "no daemon reached: no socket, refused, no permission, no answer in time"),
)
"""Each code and what it means, for ``--help``."""


class ControlError(Exception):
    """Why there is no answer to go by. The text is one line that says what to do."""

    exit_code = UNEXPECTED

    @property
    def lines(self) -> Sequence[str]:
        """All there is to say, a line each."""
        return [str(self)]


class NotReached(ControlError):
    """No daemon answers at the socket."""

    exit_code = NOT_REACHED


class Silent(NotReached):
    """Somebody is there, but does not answer in time."""


class UnexpectedAnswer(ControlError):
    """What came back is not what this version of the API answers."""


class Refused(ControlError):
    """The daemon said no, by problem details (RFC 9457): ``title``, ``status``, ``detail`` and ``problems``."""

    def __init__(self, title: str, status: int, detail: str = "", problems: Sequence[str] = ()) -> None:
        super().__init__(f"{title}: {detail}" if detail else title)
        # A fault inside the daemon is not a refusal.
        self.exit_code = UNEXPECTED if status == 500 else REFUSED
        self.title = title
        self.status = status
        self.detail = detail
        self.problems = list(problems)

    def __repr__(self) -> str:
        return f"<Refused {self.status} {self}>"

    @property
    def lines(self) -> Sequence[str]:
        """The title and the detail, which may have lines of its own, and each problem that it does not tell already."""
        first, *more = str(self).splitlines() or [""]
        # The detail of a conflict is the first of its problems.
        problems = self.problems[1:] if self.problems[:1] == [self.detail] else self.problems
        return [first, *(f"  {line}" for line in (*more, *problems))]

"""What rules give a client besides leave: how its exchanges are treated by what comes after them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, NamedTuple


class GivenLimit(NamedTuple):
    """A limit, by its name, and the rule that has given it, by its own."""

    name: str
    rule: str


@dataclass(frozen=True, slots=True)
class Profile:
    """How an exchange is treated. What is None or empty was left to the settings.

    ``intercept`` is whether its tunnel is looked into, ``log`` whether it is written to the access log when all goes
    well. ``route`` and ``blocklists`` are names.
    """

    intercept: bool | None = None
    log: bool | None = None
    route: str = ""
    blocklists: tuple[str, ...] = ()
    limits: tuple[GivenLimit, ...] = ()

    def with_more(self, later: Profile) -> Profile:
        """This one as a later rule leaves it: what that says of a thing counts, and its names come on top."""
        return replace(
            self,
            intercept=self.intercept if later.intercept is None else later.intercept,
            log=self.log if later.log is None else later.log,
            route=later.route or self.route,
            blocklists=tuple(dict.fromkeys((*self.blocklists, *later.blocklists))),
            limits=self._with_limits(later.limits),
        )

    def _with_limits(self, later: tuple[GivenLimit, ...]) -> tuple[GivenLimit, ...]:
        """A limit that two rules have given holds once, as the first of them gave it."""
        given = {one.name for one in self.limits}
        return (*self.limits, *(one for one in later if one.name not in given))


NO_PROFILE: Final = Profile()
"""That of an exchange that no rule said anything of."""

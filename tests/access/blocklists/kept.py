"""What comes of a list when all of it is kept."""

from __future__ import annotations

from collections.abc import Iterable

from twistedproxy.access.blocklists.report import Bad
from twistedproxy.access.blocklists.rules import PathRule, RegexRule


class Kept:
    """A sink that keeps everything, but one expression that is bad."""

    def __init__(self) -> None:
        self.names: dict[bytes, int] = {}
        self.paths: list[PathRule] = []
        self.regexes: list[RegexRule] = []

    def add_names(self, names: Iterable[bytes], flags: int) -> None:
        for name in names:
            self.names[name] = self.names.get(name, 0) | flags

    def add_name(self, name: bytes, flags: int) -> None:
        self.add_names((name,), flags)

    def add_path(self, rule: PathRule) -> None:
        self.paths.append(rule)

    def add_regex(self, rule: RegexRule) -> None:
        if rule.expression == "(":
            raise Bad("no expression")
        self.regexes.append(rule)

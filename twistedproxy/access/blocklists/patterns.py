"""Rules for URLs: paths at hosts, in Adblock's notation, and regular expressions.

Theory of operation. Whoever writes a list must not be able to make the proxy think for long. Paths become expressions
whose every star takes the first place where what follows fits, and is never tried again (an atomic group): that finds
what backtracking would, in linear time. Regular expressions go to RE2, which has no backtracking; all of a list are
one automaton. What is looked at of a URL is bounded as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from twistedproxy.access.blocklists.report import Bad
from twistedproxy.access.blocklists.rules import PathRule

MOST_PATHS: Final = 20_000
"""How many rules for paths a list has."""

MOST_PATHS_OF_HOST: Final = 200
MOST_REGEXES: Final = 1000
LONGEST_REGEX: Final = 1024

LONGEST_SUBJECT: Final = 4096
"""How much of a URL is looked at, in characters."""

_MEMORY: Final = 32 << 20
_SEPARATOR: Final = r"(?:[^a-z0-9_.%\-]|$)"


class RegexesUnavailable(Exception):
    """There is a regular expression in a list, and no RE2 to compile it."""


def path_expression(path: str) -> re.Pattern[str]:
    """The expression that finds a `PathRule.path` at the beginning of a path in lower case."""
    ends = path.endswith("|")
    first, *others = (_SEPARATOR.join(map(re.escape, part.split("^"))) for part in path.removesuffix("|").split("*"))
    if not ends:
        return re.compile(first + "".join(f"(?>.*?{part})" for part in others), re.DOTALL)
    *between, last = others or [""]
    star = "(?:.*)" if others else ""
    return re.compile(rf"{first}{''.join(f'(?>.*?{part})' for part in between)}{star}{last}\Z", re.DOTALL)


class Paths:
    """Rules for paths, by host. Raises nothing; what is too many has been refused by `PathCount`."""

    def __init__(self, rules: Iterable[PathRule]) -> None:
        self._rules: dict[str, list[PathRule]] = {}
        self._compiled: dict[str, list[tuple[PathRule, re.Pattern[str]]]] = {}
        for rule in rules:
            self._rules.setdefault(rule.host, []).append(rule)

    def __repr__(self) -> str:
        return f"<Paths of {len(self._rules)} hosts>"

    def __bool__(self) -> bool:
        return bool(self._rules)

    def look_up(self, host: str, scheme: str, path: str) -> tuple[PathRule | None, PathRule | None]:
        """What blocks ``path`` there, and what excepts it."""
        blocks: PathRule | None = None
        passes: PathRule | None = None
        rest, subject = host, path[:LONGEST_SUBJECT].lower()
        while rest:
            if rest in self._rules:
                for rule, expression in self._of(rest):
                    if (rule.exact and rest is not host) or rule.scheme not in ("", scheme):
                        continue
                    if (passes if rule.passes else blocks) is None and expression.match(subject):
                        if rule.passes:
                            passes = rule
                        else:
                            blocks = rule
            rest = rest.partition(".")[2]
        return blocks, passes

    def _of(self, host: str) -> list[tuple[PathRule, re.Pattern[str]]]:
        found = self._compiled.get(host)
        if found is None:
            found = self._compiled[host] = [(rule, path_expression(rule.path)) for rule in self._rules[host]]
        return found


class PathCount:
    """Takes rules for paths, up to how many there may be."""

    def __init__(self) -> None:
        self.rules: list[PathRule] = []
        self._by_host: dict[str, int] = {}

    def add(self, rule: PathRule) -> None:
        """Take one more. Raises `Bad` when that is too many."""
        if len(self.rules) >= MOST_PATHS:
            raise Bad(f"more than {MOST_PATHS} rules for paths")
        count = self._by_host.get(rule.host, 0) + 1
        if count > MOST_PATHS_OF_HOST:
            raise Bad(f"more than {MOST_PATHS_OF_HOST} rules for paths at one host")
        self._by_host[rule.host] = count
        self.rules.append(rule)


class Regexes:
    """Regular expressions, all looked for at once. Raises `Bad` for one too many, and `RegexesUnavailable`."""

    def __init__(self, expressions: Sequence[str] = ()) -> None:
        self.expressions: list[str] = []
        self._set: Any = None
        self._ready = True
        for expression in expressions:
            self.add(expression)

    def __repr__(self) -> str:
        return f"<Regexes {len(self.expressions)}>"

    def __bool__(self) -> bool:
        return bool(self.expressions)

    def add(self, expression: str) -> None:
        """Take one more."""
        re2 = _re2()
        if len(self.expressions) >= MOST_REGEXES:
            raise Bad(f"more than {MOST_REGEXES} regular expressions")
        if len(expression) > LONGEST_REGEX:
            raise Bad(f"a regular expression of more than {LONGEST_REGEX} characters")
        options = _options(re2)
        try:
            if re2.compile(expression, options).search("") is not None:
                raise Bad("it is found in every URL")
        except re2.error as error:
            raise Bad(f"not a regular expression of RE2: {_words(error)}") from None
        if self._set is None or self._ready:
            self._begin(re2)
        self._set.Add(expression)
        self.expressions.append(expression)

    def _begin(self, re2: Any) -> None:
        self._set = re2.Set.SearchSet(_options(re2))
        self._ready = False
        for expression in self.expressions:
            self._set.Add(expression)

    def look_up(self, url: str) -> str:
        """The first of them that is found in ``url``; empty when none is."""
        if not self.expressions:
            return ""
        if not self._ready:
            self._set.Compile()
            self._ready = True
        found = self._set.Match(url[:LONGEST_SUBJECT])
        return self.expressions[min(found)] if found else ""


def regexes_available() -> bool:
    """Whether regular expressions can be used."""
    try:
        _re2()
    except RegexesUnavailable:
        return False
    return True


def _re2() -> Any:
    try:
        import re2  # takes 10 ms, and few lists need it
    except ImportError:
        raise RegexesUnavailable("regular expressions need the package google-re2") from None
    return re2


def _options(re2: Any) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = False
    options.max_mem = _MEMORY
    return options


def _words(error: Exception) -> str:
    word = error.args[0] if error.args else ""
    return word.decode("utf-8", "replace") if isinstance(word, bytes) else str(word)

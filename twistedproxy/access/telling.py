"""What a text must have in it for a pattern to fit: a few plain pieces, told apart from a text in no time.

Theory of operation. Of a glob it is the longest of what stands between its stars. Of a regular expression it is the
longest run of characters that it cannot do without, or, where it has alternatives, one of each. The standard library's
own parser takes the expression apart. Where that is not to be had, or there is no such run, nothing is known, and the
expression has to be asked itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

_WILD: Final = re.compile(r"[*?]")
_PARSE: Final[Callable[[str], Any] | None] = getattr(getattr(re, "_parser", None), "parse", None)

# Parts that stand for no characters, so that what is before and after them stands together.
_NOWHERE: Final = frozenset(("AT",))
_REPEATS: Final = frozenset(("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"))

Pieces = frozenset[str]
"""One of them is in every text that fits. None at all: nothing is known."""

_UNKNOWN: Final[Pieces] = frozenset()

_TELLING: Final = 24
"""Characters of a piece that are looked for at once with others."""


def of_glob(glob: str) -> Pieces:
    """The pieces of a glob; of a URL's, what comes after the scheme."""
    pieces = _WILD.split(glob)
    pieces[0] = pieces[0].rpartition("://")[2]
    return _known([max(pieces, key=len)])


def of_expression(expression: str) -> Pieces:
    """The pieces of a regular expression, that is searched for with regard to case."""
    if _PARSE is None:
        return _UNKNOWN
    parsed = _PARSE(expression)
    return _UNKNOWN if parsed.state.flags & re.IGNORECASE else _of_sequence(parsed)


def any_of(pieces: Iterable[str]) -> str:
    """An expression for what is in every text that has one of ``pieces``: how they begin.

    It tries a beginning that several have once, where `re` would try one piece after the other.
    """
    return _any_of([piece[:_TELLING] for piece in pieces])


def _any_of(words: Sequence[str]) -> str:
    following: dict[str, list[str]] = {}
    for word in words:
        following.setdefault(word[:1], []).append(word[1:])
    if "" in following:
        # One ends here, and is there whatever follows.
        return ""
    alternatives = [re.escape(first) + _any_of(rest) for first, rest in following.items()]
    return alternatives[0] if len(alternatives) == 1 else f"(?:{'|'.join(alternatives)})"


def _known(pieces: Iterable[str]) -> Pieces:
    found = frozenset(pieces)
    # The empty one is in every text.
    return _UNKNOWN if "" in found else found


def _of_sequence(parts: Iterable[Any]) -> Pieces:
    """The best pieces of parts that follow each other."""
    known: list[Pieces] = []
    run = ""
    for operation, argument in parts:
        kind = str(operation)
        if kind == "LITERAL":
            run += chr(argument)
        elif kind not in _NOWHERE:
            known += [_known([run]), _of_part(kind, argument)]
            run = ""
    known.append(_known([run]))
    # What tells most is the longest: of alternatives the shortest counts.
    return max(known, key=lambda pieces: min(map(len, pieces), default=0))


def _of_part(kind: str, argument: Any) -> Pieces:
    if kind == "SUBPATTERN":
        _group, added, _removed, inner = argument
        return _UNKNOWN if added & re.IGNORECASE else _of_sequence(inner)
    if kind == "ATOMIC_GROUP":
        return _of_sequence(argument)
    if kind in _REPEATS:
        least, _most, inner = argument
        return _of_sequence(inner) if least else _UNKNOWN
    if kind == "BRANCH":
        alternatives = [_of_sequence(one) for one in argument[1]]
        return frozenset().union(*alternatives) if all(alternatives) else _UNKNOWN
    return _UNKNOWN

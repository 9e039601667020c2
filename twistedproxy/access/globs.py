"""Globs, in which ``*`` stands for any characters and ``?`` for one, as regular expressions.

Theory of operation. What stands between two stars is taken where it comes first, and never looked for again (an atomic
group): if the rest does not fit from there, it fits from nowhere further on either. So the work is linear in the text
for each star, whatever a stranger sends.
"""

from __future__ import annotations

import re


def glob_expression(glob: str) -> str:
    """The regular expression that fits, as a whole, what ``glob`` fits."""
    first, *more = glob.split("*")
    expression = _piece(first)
    if more:
        *middle, last = more
        expression += "".join(f"(?>.*?{_piece(piece)})" for piece in middle if piece) + ".*" + _piece(last)
    return expression


def _piece(text: str) -> str:
    return "".join("." if character == "?" else re.escape(character) for character in text)

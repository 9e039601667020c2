"""TOML in, tables out, whatever the bytes are: what ``tomllib`` cannot take is a problem with its place."""

from __future__ import annotations

import re
import tomllib
from typing import Any, Final

from twistedproxy.settings.problems import Problem, SettingsError
from twistedproxy.settings.spelling import printable

MAX_SIZE: Final = 1024 * 1024
"""Bytes of the largest file that is read."""

MAX_KEY_PARTS: Final = 32
"""Parts of the longest dotted key; tomllib's work grows with their square, and ours have two."""

_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_PIECE = re.compile(r'"(?:[^"\\]|\\.)*+"?|\'[^\']*+\'?|[\w-]++|[ \t]++|(\.)|#|.', re.DOTALL)


def decode(content: bytes | str, source: str) -> str:
    """The text of the file, with line feeds only and no byte order mark; else SettingsError."""
    try:
        octets = content if isinstance(content, bytes) else content.encode()
        if len(octets) > MAX_SIZE:
            raise SettingsError([Problem(source, f"larger than {MAX_SIZE} bytes, the most that settings may have")])
        text = octets.decode()
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise SettingsError([Problem(source, "not valid UTF-8", line=line)]) from None
    except UnicodeEncodeError as error:
        line = error.object.count("\n", 0, error.start) + 1
        raise SettingsError([Problem(source, "not valid UTF-8", line=line)]) from None
    return text.removeprefix("\ufeff").replace("\r\n", "\n")


def parse(text: str, source: str) -> dict[str, Any]:
    """The tables of ``text``, which `decode` gave; else SettingsError with line and column."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.count(".") >= MAX_KEY_PARTS and _longest_chain(line) > MAX_KEY_PARTS:
            message = f"a key with more than {MAX_KEY_PARTS} parts"
            raise SettingsError([Problem(source, message, line=number)])
    try:
        # With a line feed at its end an error in the last line has a column too. After a carriage return it would
        # make the end of a line of what is none.
        return tomllib.loads(text if text.endswith(("\n", "\r")) else text + "\n")
    except RecursionError:
        raise SettingsError([Problem(source, "arrays or tables are nested too deeply")]) from None
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        place = _PLACE.search(message)
        line_number = column = None
        if place is not None:
            message = message[: place.start()]
            if place[1] is None:
                line_number = text.rstrip("\n").count("\n") + 1
                message += " at the end of the file"
            else:
                line_number, column = int(place[1]), int(place[2])
        problem = Problem(source, f"not valid TOML: {printable(message)}", line=line_number, column=column)
        raise SettingsError([problem]) from None
    except ValueError:
        # Python's own limit on the digits of a number.
        raise SettingsError([Problem(source, "not valid TOML: a number has too many digits")]) from None


def _longest_chain(line: str) -> int:
    """The most parts in a row with only dots and blanks between them, outside comments."""
    longest = parts = 0
    joined = False
    for piece in _PIECE.finditer(line):
        text = piece[0]
        if text == "#":
            break
        if piece[1]:
            joined = True
        elif text[0] in "\"'" or text[0].isalnum() or text[0] in "_-":
            parts = parts + 1 if joined else 1
            longest = max(longest, parts)
            joined = False
        elif not text.isspace():
            parts = 0
            joined = False
    return longest

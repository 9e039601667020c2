"""Values as text: in TOML for the file, and shortened to one safe line for a message."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time

from msgspec import Struct, to_builtins

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_SHOWN = 60
"""Characters of a value that a message shows."""


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def toml_string(text: str) -> str:
    """``text`` as a basic string of TOML, on one line."""
    return '"' + "".join(map(_escaped, text)) + '"'


def toml_value(value: object) -> str:
    """``value`` as TOML on one line: a boolean, an integer, a float, a string, a table, or a sequence of them.

    Of a struct, what it says of itself when it is encoded."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return toml_string(value)
        case Mapping():
            return "{ " + ", ".join(f"{toml_key(name)} = {toml_value(one)}" for name, one in value.items()) + " }"
        case Struct():
            return toml_value(to_builtins(value))
        case Sequence():
            return "[" + ", ".join(map(toml_value, value)) + "]"
    raise TypeError(f"not a value of the settings: {value!r}")


def toml_key(name: str) -> str:
    """``name`` as one part of a TOML key: bare where it can be."""
    return name if _BARE_KEY.fullmatch(name) else toml_string(name)


def dotted(path: Sequence[str]) -> str:
    """A key path as a person writes it, ``upstream.connect_timeout``, with odd names made safe to print."""
    return ".".join(shortened(toml_key(name)) for name in path)


def shortened(text: str) -> str:
    """``text`` with its middle left out where it is too long for a message."""
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 13]}...{text[-10:]}"


def printable(text: str) -> str:
    """``text`` on one line, with what is not printable escaped."""
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def shown(value: object) -> str:
    """What was found, for a message: short, on one line, whatever ``tomllib`` made of it."""
    match value:
        case bool() | float():
            return toml_value(value)
        case int():
            # Not every int has a decimal text: Python refuses those of more than 4300 digits.
            return str(value) if value.bit_length() <= 128 else "an integer of more than 128 bits"
        case str():
            return shortened(toml_string(value))
        case datetime():
            return "a date and time"
        case date():
            return "a date"
        case time():
            return "a time of day"
        case list():
            return "a list"
        case dict():
            return "a table"
    return f"a {type(value).__name__}"

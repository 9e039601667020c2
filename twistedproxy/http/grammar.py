"""The grammar that heads, lists and chunks are made of, as regular expressions and small readers.

Every expression is linear: what may follow a repeated character class is disjoint from it. Only repeats of a single
class are possessive; a possessive repeat of a group matches too much before Python 3.11.5.
"""

from __future__ import annotations

import re
from functools import lru_cache

TCHAR = rb"!#$%&'*+\-.^_`|~0-9A-Za-z"
"""RFC 9110 section 5.6.2: tchar, as the inside of a character class."""

TOKEN = rb"[" + TCHAR + rb"]++"

# RFC 9110 section 5.5: field-content is VCHAR, obs-text, SP and HTAB. Everything else (CR, LF and NUL above all, and
# the other controls too) makes the message invalid.
FIELD_CHAR = rb"\t\x20-\x7e\x80-\xff"

# RFC 9110 section 5.6.4: quoted-string = DQUOTE *( qdtext / quoted-pair ) DQUOTE
_QDTEXT = rb"[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]*+"
QUOTED_STRING = rb'"' + _QDTEXT + rb"(?:\\[" + FIELD_CHAR + rb"]" + _QDTEXT + rb')*"'

is_token = re.compile(TOKEN).fullmatch

# RFC 9110 section 7.8: protocol = protocol-name [ "/" protocol-version ]
is_protocol = re.compile(TOKEN + rb"(?:/" + TOKEN + rb")?").fullmatch

# RFC 9112 section 3: request-line = method SP request-target SP HTTP-version. A request-target has no fragment, and
# "#" in one makes recipients disagree about where the authority ends.
REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([\x21\x22\x24-\x7e]++) HTTP/([0-9])\.([0-9])\r\n")

# RFC 9112 section 4: status-line = HTTP-version SP status-code SP [ reason-phrase ]. The second SP is forgiven when
# there is no reason phrase: that is common, and leaves nothing in doubt.
STATUS_LINE = re.compile(rb"HTTP/([0-9])\.([0-9]) ([1-5][0-9][0-9])(?: ([" + FIELD_CHAR + rb"]*+))?\r\n")

# RFC 9112 section 5: field-line = field-name ":" OWS field-value OWS. Each of these matches at the beginning of a line
# only, and one whole line; so lines that it leaves out are found by counting. Those with white space at their end are
# a second expression's, because they are rare and that space is cheaper to leave than to take away.
_AT_LINE_START = rb"(?<![^\n])"
_VALUE = rb":[ \t]*+([" + FIELD_CHAR + rb"]*+)"
_NAME = _AT_LINE_START + rb"(" + TOKEN + rb")"
REQUEST_FIELD = re.compile(_NAME + _VALUE + rb"(?<![ \t])\r\n")
REQUEST_FIELD_SPACED = re.compile(_NAME + _VALUE + rb"\r\n")

# RFC 9112 section 5.1: white space before the colon is taken away from a response, never forwarded.
RESPONSE_FIELD = re.compile(_NAME + rb"[ \t]*+" + _VALUE + rb"(?<![ \t])\r\n")
RESPONSE_FIELD_SPACED = re.compile(_NAME + rb"[ \t]*+" + _VALUE + rb"\r\n")

# RFC 9112 section 7.1: chunk-size [ chunk-ext ] CRLF. 16 digits are as much as 64 bits can count. White space around
# the extensions' delimiters is the "bad" white space that a recipient parses (section 7.1.1).
_CHUNK_EXT = rb"[ \t]*+;[ \t]*+" + TOKEN + rb"(?:[ \t]*+=[ \t]*+(?:" + TOKEN + rb"|" + QUOTED_STRING + rb"))?"
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})((?:" + _CHUNK_EXT + rb")*)\r\n")

# What every chunk line begins with, for finding out early.
CHUNK_LINE_START = re.compile(rb"[0-9A-Fa-f]{1,16}(?:[ \t;\r]|\Z)")

# What no head may hold anywhere, for finding out early, while a head is still arriving: a line feed without its
# carriage return, a carriage return without its line feed, and controls.
FORBIDDEN_IN_HEAD = re.compile(rb"(?<!\r)\n|\r(?=[^\n])|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

# A quoted string that has no end takes all that follows, so that nothing of it passes for a member.
_LIST_MEMBER = re.compile(rb'(?:[^",]++|"[^"\\]*+(?:\\.[^"\\]*+)*(?:"|\\?\Z))+', re.DOTALL)

MAX_DIGITS = 19
"""Digits that a Content-Length may have: more would not fit the 64 bits that other recipients count in."""

LONGEST_REMEMBERED = 256
"""Bytes of a field's value whose reading is remembered. Peers choose the values, so longer ones would fill memory."""


def is_length(value: bytes) -> bool:
    """Whether ``value`` is a Content-Length that can be believed: 1 to 19 digits (RFC 9110 section 8.6)."""
    return value.isdigit() and len(value) <= MAX_DIGITS


def forbidden_octet(block: bytes | bytearray, start: int, end: int) -> str:
    """What is wrong with the first octet from ``start`` to ``end`` that no head can hold; nothing when there is none.

    A carriage return just before ``end`` is not judged: its line feed may follow.
    """
    found = FORBIDDEN_IN_HEAD.search(block, start, end)
    if found is None:
        return ""
    if block[found.start()] in b"\r\n":
        return "a line does not end with CR LF"
    return "there is a control character"


def list_members(values: bytes | tuple[bytes, ...]) -> tuple[bytes, ...]:
    """The members of a comma-separated list, of one field line or over all of several; empty ones are dropped.

    RFC 9110 section 5.6.1. Commas inside quoted strings do not separate.
    """
    if isinstance(values, bytes):
        return _remembered_members(values) if len(values) <= LONGEST_REMEMBERED else _members(values)
    return tuple(member for value in values for member in _members(value))


def list_tokens(values: bytes | tuple[bytes, ...]) -> frozenset[bytes]:
    """The members of a list of case-insensitive tokens, in lower case; for Connection, TE, Upgrade and their like."""
    if isinstance(values, bytes) and len(values) <= LONGEST_REMEMBERED:
        return _remembered_tokens(values)
    return frozenset(member.lower() for member in list_members(values))


def _members(value: bytes) -> tuple[bytes, ...]:
    members = _LIST_MEMBER.findall(value) if b'"' in value else value.split(b",")
    return tuple(stripped for member in members if (stripped := member.strip(b" \t")))


_remembered_members = lru_cache(maxsize=1024)(_members)


@lru_cache(maxsize=1024)
def _remembered_tokens(value: bytes) -> frozenset[bytes]:
    return frozenset(member.lower() for member in _members(value))

"""The grammar that heads, lists and chunks are made of, as regular expressions and small readers.

Every expression is linear: its character classes are disjoint from what follows them, or possessive.
"""

from __future__ import annotations

import re
from functools import lru_cache

TCHAR = rb"!#$%&'*+\-.^_`|~0-9A-Za-z"
"""RFC 9110 section 5.6.2: tchar, as the inside of a character class."""

TOKEN = rb"[" + TCHAR + rb"]+"

# RFC 9110 section 5.5: field-content is VCHAR, obs-text, SP and HTAB. Everything else (CR, LF and NUL above all, and
# the other controls too) makes the message invalid.
FIELD_CHAR = rb"\t\x20-\x7e\x80-\xff"

# RFC 9110 section 5.6.4: quoted-string = DQUOTE *( qdtext / quoted-pair ) DQUOTE
QUOTED_STRING = rb'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*+"'

is_token = re.compile(TOKEN).fullmatch

# RFC 9112 section 3: request-line = method SP request-target SP HTTP-version. A request-target has no fragment, and
# "#" in one makes recipients disagree about where the authority ends.
REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([\x21\x22\x24-\x7e]+) HTTP/([0-9])\.([0-9])")

# RFC 9112 section 4: status-line = HTTP-version SP status-code SP [ reason-phrase ]. The second SP is forgiven when
# there is no reason phrase: that is common, and leaves nothing in doubt.
STATUS_LINE = re.compile(rb"HTTP/([0-9])\.([0-9]) ([1-5][0-9][0-9])(?: ([" + FIELD_CHAR + rb"]*+))?")

# RFC 9112 section 5: field-line = field-name ":" OWS field-value OWS
REQUEST_FIELDS = re.compile(rb"(?:[" + TCHAR + rb"]++:[" + FIELD_CHAR + rb"]*+\r\n)*+")
REQUEST_FIELD = re.compile(rb"([" + TCHAR + rb"]++):[ \t]*+([" + FIELD_CHAR + rb"]*+)\r\n")

# RFC 9112 section 5.1: white space before the colon is taken away from a response, never forwarded.
RESPONSE_FIELDS = re.compile(rb"(?:[" + TCHAR + rb"]++[ \t]*+:[" + FIELD_CHAR + rb"]*+\r\n)*+")
RESPONSE_FIELD = re.compile(rb"([" + TCHAR + rb"]++)[ \t]*+:[ \t]*+([" + FIELD_CHAR + rb"]*+)\r\n")

# RFC 9112 section 7.1: chunk-size [ chunk-ext ] CRLF. 16 digits are as much as 64 bits can count.
CHUNK_LINE = re.compile(
    rb"([0-9A-Fa-f]{1,16})"
    rb"((?:[ \t]*+;[ \t]*+" + TOKEN + rb"(?:[ \t]*+=[ \t]*+(?:" + TOKEN + rb"|" + QUOTED_STRING + rb"))?+)*+)"
)

# What no head may hold anywhere, for finding out early, while a head is still arriving: a line feed without its
# carriage return, a carriage return without its line feed, and controls.
FORBIDDEN_IN_HEAD = re.compile(rb"(?<!\r)\n|\r(?=[^\n])|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

_LIST_MEMBER = re.compile(rb'(?:[^",]|' + QUOTED_STRING + rb")++")

MAX_DIGITS = 19
"""Digits that a Content-Length may have: more would not fit the 64 bits that other recipients count in."""


def is_length(value: bytes) -> bool:
    """Whether ``value`` is a Content-Length that can be believed: 1 to 19 digits (RFC 9110 section 8.6)."""
    return value.isdigit() and len(value) <= MAX_DIGITS


@lru_cache(maxsize=1024)
def list_members(values: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """The members of a comma-separated list over all of its field lines; empty ones are dropped.

    RFC 9110 section 5.6.1. Commas inside quoted strings do not separate.
    """
    members: list[bytes] = []
    for value in values:
        if b'"' in value:
            members.extend(member.strip(b" \t") for member in _LIST_MEMBER.findall(value))
        else:
            members.extend(member.strip(b" \t") for member in value.split(b","))
    return tuple(member for member in members if member)


@lru_cache(maxsize=1024)
def list_tokens(values: tuple[bytes, ...]) -> frozenset[bytes]:
    """The members of a list of case-insensitive tokens, in lower case; for Connection, TE, Upgrade and their like."""
    return frozenset(member.lower() for member in list_members(values))

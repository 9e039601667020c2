"""Fields as the operator names them: by name or glob, to be taken out, kept or given another value.

Those that frame a message, lead it to where it goes or say how its content is to be read are not for the taking.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from twistedproxy.settings.problems import Unfit

NEEDED: Final = frozenset(
    (
        "connection",
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "max-forwards",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "sec-websocket-accept",
        "sec-websocket-extensions",
        "sec-websocket-key",
        "sec-websocket-protocol",
        "sec-websocket-version",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
"""The names, in lower case, of the fields that no list reaches, not by a glob either."""

DECIDED_ELSEWHERE: Final[Mapping[str, str]] = MappingProxyType(
    {"via": "via", "forwarded": "forwarded_for", "x-forwarded-for": "forwarded_for"}
)
"""Fields that no list reaches because a key of their own decides on them: its name in ``privacy``, by theirs."""

OUT_OF_REACH: Final = NEEDED | DECIDED_ELSEWHERE.keys()

_NAME: Final = re.compile(r"[!#$%&'+.^_`|~0-9A-Za-z-]{1,128}")
_GLOB: Final = re.compile(r"[!#$%&'*?+.^_`|~0-9A-Za-z-]{1,128}")
# field-content of RFC 9110 section 5.5, in ASCII.
_VALUE: Final = re.compile(r"[!-~](?:[ -~]{0,2046}[!-~])?")


def check_field_name(value: object) -> None:
    """Accept a field's name, or a glob over names; else `Unfit` says why not."""
    if not isinstance(value, str):
        raise Unfit('a string such as "X-Device-Id"')
    if not _GLOB.fullmatch(value):
        raise Unfit('the name of a field such as "X-Device-Id", or a glob such as "X-Device-*"')
    _check_reach(value)


def check_field_line(value: object) -> None:
    """Accept a field's name and its value, with a colon between them; else `Unfit` says why not."""
    if not isinstance(value, str):
        raise Unfit('a string such as "User-Agent: browser"')
    name, colon, content = value.partition(":")
    if not colon or not _NAME.fullmatch(name) or not _VALUE.fullmatch(content.strip(" ")):
        raise Unfit('the name of a field, a colon and its value, such as "User-Agent: browser"')
    _check_reach(name)


def field_line(text: str) -> tuple[bytes, bytes]:
    """Name, in lower case, and value of what `check_field_line` has accepted."""
    name, _, value = text.partition(":")
    return name.lower().encode("ascii"), value.strip(" ").encode("ascii")


def _check_reach(name: str) -> None:
    name = name.lower()
    if name in NEEDED:
        raise Unfit("a field that neither framing nor routing nor reading the content depends on")
    if name in DECIDED_ELSEWHERE:
        raise Unfit("a field that has no key of its own", f"see privacy.{DECIDED_ELSEWHERE[name]}")

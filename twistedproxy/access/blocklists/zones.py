"""Response policy zones: what the DNS firewalls of name servers are fed with, in the master file format (RFC 1035
section 5).

Of the triggers only QNAME is acted on: owners below the zone's apex, and their CNAME ``.``, ``*.`` or ``rpz-drop.``,
which all block, or ``rpz-passthru.``, which excepts. Others are skipped.
"""

from __future__ import annotations

import re
from typing import Final

from twistedproxy.access.blocklists.names import is_address, listed_name
from twistedproxy.access.blocklists.report import Bad, Skipped
from twistedproxy.access.blocklists.rules import NameRule, excepted
from twistedproxy.access.blocklists.table import BELOW, SELF

_TYPES: Final = frozenset(
    b"A AAAA CAA CNAME DNAME DNSKEY DS HTTPS MX NAPTR NS NSEC NSEC3 PTR RRSIG SOA SRV SVCB TXT".split()
)
_TTL: Final = re.compile(rb"(?:[0-9]{1,10}[smhdw]?)+", re.IGNORECASE)
_BLOCKING: Final = frozenset((b".", b"*.", b"rpz-drop."))
_PASSING: Final = b"rpz-passthru."
_OTHER_TRIGGERS: Final = (b".rpz-ip", b".rpz-client-ip", b".rpz-nsdname", b".rpz-nsip")
_RECORD: Final = re.compile(rb"[^#;]*[ \t](?:CNAME|SOA)[ \t(]")

_DIRECTIVES: Final = (b"$TTL", b"$ORIGIN", b"$ttl", b"$origin")
_LINE: Final = re.compile(rb"^(?:\$(?:TTL|ORIGIN|ttl|origin)|[^#;\n]*[ \t](?:CNAME|SOA)[ \t(])", re.MULTILINE)


def has_zone_line(block: bytes) -> bool:
    """Whether one of many lines looks like one of a zone's."""
    # Most blocks have none of the words.
    may_have = b"CNAME" in block or b"SOA" in block or (b"$" in block and any(one in block for one in _DIRECTIVES))
    return may_have and _LINE.search(block) is not None


def is_zone_line(line: bytes) -> bool:
    """Whether it looks like one of a zone's."""
    return line.startswith((b"$TTL", b"$ORIGIN", b"$ttl", b"$origin")) or _RECORD.match(line) is not None


class ZoneReading:
    """What earlier lines of a zone mean for the next one."""

    def __init__(self) -> None:
        self._origin = b""
        self._owner = b""
        self._open = False

    def __repr__(self) -> str:
        return f"<ZoneReading {self._origin!r}>"

    @property
    def under_way(self) -> bool:
        """Whether a record goes on in the next line."""
        return self._open

    def rule(self, line: bytes) -> NameRule | None:
        """What a line is; None where it is no trigger. Raises `Bad` and `Skipped`."""
        text = line.split(b";", 1)[0]
        words = text.replace(b"(", b" ( ").replace(b")", b" ) ").split()
        if self._open or b"(" in words:
            # Only records that say nothing here go over several lines.
            self._open = b")" not in words
            if words and b"SOA" in text.upper() and not text[:1].isspace():
                self._apex(words[0])
            return None
        if not words:
            return None
        if words[0].startswith(b"$"):
            if words[0].upper() == b"$ORIGIN" and len(words) == 2:
                self._origin = words[1].lower()
            elif words[0].upper() != b"$TTL":
                raise Skipped
            return None
        if not text[:1].isspace():
            self._owner = words.pop(0).lower()
        return self._record(words)

    def _record(self, words: list[bytes]) -> NameRule | None:
        while words and (_TTL.fullmatch(words[0]) or words[0].upper() == b"IN"):
            words.pop(0)
        kind, *data = words or [b""]
        kind = kind.upper()
        if kind not in _TYPES:
            raise Bad("no record of a zone")
        if kind == b"SOA":
            self._apex(self._owner)
        if kind in (b"SOA", b"NS"):
            return None
        if kind != b"CNAME":
            raise Skipped
        if len(data) != 1:
            raise Bad("a CNAME has one target")
        target = data[0].lower()
        owner = self._relative(self._owner)
        if owner.endswith(_OTHER_TRIGGERS) or (target not in _BLOCKING and target != _PASSING):
            raise Skipped
        wild = owner.startswith(b"*.")
        name = listed_name(owner.removeprefix(b"*."))
        if name is None:
            raise Bad("the owner is no host")
        if wild and is_address(name):
            raise Bad("there is nothing below an address")
        rule = NameRule(name, BELOW if wild else SELF)
        return excepted(rule) if target == _PASSING else rule

    def _apex(self, owner: bytes) -> None:
        if owner != b"@" and owner.endswith(b"."):
            self._origin = owner.lower()

    def _relative(self, owner: bytes) -> bytes:
        """The owner without the zone that it is in."""
        if not owner.endswith(b"."):
            return owner
        if self._origin not in (b"", b".") and owner.endswith(b"." + self._origin):
            return owner[: -len(self._origin) - 1]
        return owner

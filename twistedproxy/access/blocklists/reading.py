"""Reading a list: bytes in, as they come, and rules out; whatever they are, nothing is raised.

Theory of operation. Most lines of most lists are one host in one form, and a list has a million of them. A regular
expression takes all such lines out of a block of 64 KiB at once; the others, comments above all, are looked at one by
one. With the format ``auto`` that goes for each line by itself, so that a list may mix formats; only after a line of a
zone all that can be are of the zone. How much of a list comes at once makes no difference.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Protocol

from twistedproxy.access.blocklists.adblock import COSMETIC, adblock_rule, regex_rule
from twistedproxy.access.blocklists.hosts_and_domains import (
    DNSMASQ,
    dnsmasq_rules,
    domain_rules,
    hosts_rules,
    is_hosts_line,
)
from twistedproxy.access.blocklists.names import LABEL
from twistedproxy.access.blocklists.report import SHOWN, Bad, Report, Skipped
from twistedproxy.access.blocklists.rules import ALL, NameRule, PathRule, RegexRule, Rule
from twistedproxy.access.blocklists.table import SELF
from twistedproxy.access.blocklists.zones import ZoneReading, has_zone_line, is_zone_line

AUTO: Final = "auto"
FORMATS: Final = (AUTO, "domains", "hosts", "dnsmasq", "rpz", "adblock", "regexes")

LONGEST_LINE: Final = 4096
"""Bytes; a longer line is a bad one, of which only the beginning is kept."""

_BLOCK: Final = 1 << 16
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

# A last label that begins with a letter: what ends in a number may be an address.
_HOST: Final = rb"(?![^\n]{260})((?:%b\.){1,126}[a-z][a-z0-9_-]{0,62})" % LABEL
_FAST: Final = {
    "domains": re.compile(rb"^%b[ \t]*\r?$" % _HOST, re.MULTILINE),
    "hosts": re.compile(
        rb"^(?:0\.0\.0\.0|127\.0\.0\.1|::1?)[ \t]+(?!localhost\.localdomain)%b[ \t]*\r?$" % _HOST, re.MULTILINE
    ),
    "adblock": re.compile(rb"^\|\|%b\^\r?$" % _HOST, re.MULTILINE),
    "dnsmasq": re.compile(
        rb"^(?:address=/|(?:server|local)=/(?=[^/\n]+/\r?$))%b/(?:0\.0\.0\.0|127\.0\.0\.1|::)?\r?$" % _HOST,
        re.MULTILINE,
    ),
}
_MARKS: Final = {"hosts": b" ", "adblock": b"||", "dnsmasq": b"=/"}
_COMMENTS: Final = {
    "domains": (b"#", b"!", b"//"),
    "hosts": (b"#",),
    "dnsmasq": (b"#",),
    "rpz": (b";",),
    "adblock": (b"!", b"[", b"# "),
    "regexes": (b"# ", b"#\t"),
}


class Sink(Protocol):
    """What takes the rules."""

    def add_names(self, names: Iterable[bytes], flags: int) -> None:
        """Take names with dots that are all good for ``flags``, of `table`."""

    def add_name(self, name: bytes, flags: int) -> None:
        """Take one, also one without a dot."""

    def add_path(self, rule: PathRule) -> None:
        """Take a rule for paths. Raises `Bad`."""

    def add_regex(self, rule: RegexRule) -> None:
        """Take a regular expression. Raises `Bad`."""


class Reading:
    """Reads one list of a format into ``sink``, and keeps ``report``.

    ``subdomains`` says whether a name in a list of domains or a hosts file stands for all below it too.
    """

    def __init__(self, format: str, sink: Sink, *, subdomains: bool = True) -> None:
        self.report = Report()
        self._format = format
        self._sink = sink
        self._subdomains = subdomains
        self._zone = ZoneReading()
        self._is_zone = False
        self._rest = b""
        self._too_long = False

    def __repr__(self) -> str:
        return f"<Reading {self._format} lines={self.report.lines}>"

    def feed(self, data: bytes) -> None:
        """Read on."""
        for start in range(0, len(data), _BLOCK):
            self._feed_some(data[start : start + _BLOCK])

    def end(self) -> Report:
        """There is no more."""
        if self._too_long:
            self._end_long_line()
        elif self._rest:
            rest, self._rest = self._rest, b""
            self._lines(rest)
        return self.report

    def _feed_some(self, data: bytes) -> None:
        end = data.rfind(b"\n")
        if end < 0:
            self._keep(data)
            return
        if self._too_long:
            self._end_long_line()
            start = data.find(b"\n") + 1
        else:
            start = 0
        whole = self._rest + data[start:end] if not start else data[start:end]
        self._rest = b""
        if end >= start:
            self._lines(whole)
        self._keep(data[end + 1 :])

    def _keep(self, data: bytes) -> None:
        if self._too_long:
            return
        self._rest += data
        if len(self._rest) > LONGEST_LINE + len(_BYTE_ORDER_MARK):
            self._rest = self._rest[: SHOWN + 1 + len(_BYTE_ORDER_MARK)]
            self._too_long = True

    def _end_long_line(self) -> None:
        text, self._rest = self._rest, b""
        self._too_long = False
        if not self.report.lines:
            text = text.removeprefix(_BYTE_ORDER_MARK)
        self.report.lines += 1
        self.report.is_bad(self.report.lines, text, "too long a line")

    def _lines(self, block: bytes) -> None:
        if not self.report.lines:
            block = block.removeprefix(_BYTE_ORDER_MARK)
        wanted = block.count(b"\n") + 1
        is_zone = self._is_zone or (self._format == AUTO and has_zone_line(block))
        for format, expression in _FAST.items():
            if is_zone or self._format not in (AUTO, format):
                continue
            if self._format == AUTO and _MARKS.get(format, b"") not in block:
                continue
            names = expression.findall(block)
            if not names:
                continue
            self._sink.add_names(names, ALL if self._subdomains or format in ("adblock", "dnsmasq") else SELF)
            self.report.names += len(names)
            if len(names) == wanted:
                self.report.lines += wanted
                return
            block = expression.sub(b"", block)
        report = self.report
        for line in block.split(b"\n"):
            report.lines += 1
            if line and (not line.isspace() or len(line) > LONGEST_LINE):
                try:
                    self._line(line)
                except Bad as bad:
                    report.is_bad(report.lines, line, str(bad))
                except Skipped:
                    report.skipped += 1

    def _line(self, line: bytes) -> None:
        if len(line) > LONGEST_LINE:
            raise Bad("too long a line")
        text = line.strip()
        format = self._format if self._format != AUTO else self._recognised(line, text)
        if self._zone.under_way:
            format = "rpz"
        if not format or (text.startswith(_COMMENTS[format]) and not COSMETIC.match(text)):
            return
        for rule in self._rules(format, line, text):
            self._take(rule)

    def _recognised(self, line: bytes, text: bytes) -> str:
        """The format of one line; empty for a comment of any."""
        if self._zone.under_way:
            return "rpz"
        if COSMETIC.search(text):
            return "adblock"
        if text.startswith((b"#", b"!", b";", b"[A")):
            return ""
        if text.startswith((b"||", b"@@", b"|h")) or (text.startswith(b"/") and text.endswith(b"/")):
            return "adblock"
        if text.startswith(DNSMASQ):
            return "dnsmasq"
        if not self._is_zone and is_hosts_line(text):
            return "hosts"
        if self._is_zone or is_zone_line(line):
            self._is_zone = True
            return "rpz"
        return "domains"

    def _rules(self, format: str, line: bytes, text: bytes) -> Iterable[Rule]:
        match format:
            case "domains":
                return domain_rules(text, self._subdomains)
            case "hosts":
                return hosts_rules(text, self._subdomains)
            case "dnsmasq":
                if not text.startswith(DNSMASQ):
                    raise Skipped
                return dnsmasq_rules(text)
            case "rpz":
                found = self._zone.rule(line)
                return (found,) if found is not None else ()
            case "adblock":
                return (adblock_rule(text),)
        return (regex_rule(text),)

    def _take(self, rule: Rule) -> None:
        if isinstance(rule, NameRule):
            self._sink.add_name(rule.name, rule.flags)
            self.report.names += 1
            return
        if isinstance(rule, PathRule):
            self._sink.add_path(rule)
        else:
            self._sink.add_regex(rule)
        self.report.rules += 1

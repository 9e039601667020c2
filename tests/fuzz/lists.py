"""Lists of hosts and URLs to block, valid or nearly, in all formats, and what holds for them (see `check_list`)."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from random import Random

from tests.access.blocklists.kept import Kept
from tests.fuzz.messages import cuts
from tests.fuzz.reading import Reading, octets, pieces
from twistedproxy.access.blocklists import reading
from twistedproxy.access.blocklists.names import asked_name, is_address, listed_name
from twistedproxy.access.blocklists.patterns import path_expression
from twistedproxy.access.blocklists.report import MOST_FAULTS, Report
from twistedproxy.access.blocklists.rules import PathRule, RegexRule
from twistedproxy.access.blocklists.table import BELOW, PASS_BELOW

MOST_NAMES = 64
"""Names that come of one line."""

HOSTS = (b"a.example", b"B.Example", b"x-y.ads.example", b"_dmarc.a.example", b"a.example.", b"192.0.2.1", b"b.test")
ODD_HOSTS = (
    *(b"localhost", b"com", b"-", b"..", b"a..b", b"*.a.example", b".a.example", b"[::1]", b"2001:db8::1", b"0x7f.1"),
    *(
        b"\xc3\xbc.example",
        b"\xff.example",
        b"xn--bcher-kva.example",
        b"a" * 64 + b".example",
        b"a." * 130 + b"example",
    ),
    *(
        b"localhost.localdomain",
        b"300.1.1.1",
        b"1.2.3",
        b"a.1",
        b"*",
        b"\xe2\x84\xaa.example",
        b"a\xe3\x80\x82example",
        b"",
    ),
)
LINES = (
    *(
        b"%b",
        b"%b",
        b"0.0.0.0 %b",
        b"127.0.0.1\t%b other.example # x",
        b":: %b",
        b"||%b^",
        b"||%b^",
        b"@@||%b^",
        b"*.%b",
    ),
    *(
        b"address=/%b/",
        b"server=/%b/",
        b"local=/%b/",
        b"address=/%b/0.0.0.0",
        b"||%b/ads/*.js|",
        b"|https://%b/x",
        b"%b # x",
    ),
    *(
        b"%b CNAME .",
        b"*.%b IN CNAME rpz-passthru.",
        b"%b 60 CNAME rpz-drop.",
        b"||%b^$important",
        b"||%b^$script",
        b"  %b ",
    ),
)
PLAIN = (
    *(
        b"",
        b" ",
        b"# comment",
        b"! comment",
        b"; comment",
        b"[Adblock Plus 2.0]",
        b"example.com##.ad",
        b"/track[0-9]+/",
        b"/(/",
    ),
    *(
        b"$TTL 60",
        b"$ORIGIN rpz.example.",
        b"@ SOA ns.a. admin.a. (",
        b" 1 2 3 4 5 )",
        b"@ IN SOA a. b. 1 2 3 4 5",
        b" NS ns.",
    ),
    *(
        b"1 2 3",
        b"# CNAME x",
        b"||",
        b"@@",
        b"|",
        b"address=/",
        b"$",
        b"||a.example/" + b"*a" * 20,
        b" " * 5000,
        b"x" * 5000,
    ),
    *(b"0.0.0.0 " + b"a.example " * 70, b"\xef\xbb\xbfa.example", b"\0", b"\xff\xfe"),
)
LONG = (b" " * 4100, b"x" * 4200, b"a.example" + b" " * 4088, b"\xef\xbb\xbfa.example" + b" " * 4090)

SPLICES = (
    *(
        b"\n",
        b"\r\n",
        b"\r",
        b" ",
        b"\t",
        b"#",
        b"!",
        b";",
        b"$",
        b"||",
        b"@@",
        b"^",
        b"*",
        b".",
        b"/",
        b"|",
        b"(",
        b")",
    ),
    *(
        b" CNAME .",
        b"$TTL 60\n",
        b"0.0.0.0 ",
        b"address=/",
        b"\xef\xbb\xbf",
        b"\xff",
        b"\0",
        b"\x0b",
        b"\x1c",
        b"\xc2\x85",
    ),
)


def block(random: Random) -> bytes:
    """A few lines of a list."""
    lines = []
    for _ in range(random.randrange(1, 8)):
        if random.randrange(4) == 0:
            lines.append(random.choice(PLAIN if random.randrange(100) else LONG))
        else:
            host = random.choice(ODD_HOSTS) if random.randrange(8) == 0 else random.choice(HOSTS)
            lines.append(random.choice(LINES) % host)
    end = b"\r\n" if random.randrange(6) == 0 else b"\n"
    return end.join(lines) + (end if random.randrange(3) else b"")


class Usable(Kept):
    """One that sees whether a path can be used."""

    def add_path(self, rule: PathRule) -> None:
        path_expression(rule.path).match("/" + "a" * 200)
        super().add_path(rule)


Read = tuple[dict[bytes, int], list[PathRule], list[RegexRule], Report]


def read_list(received: Iterable[bytes], format: str, subdomains: bool) -> Read:
    """All that comes of a list in pieces."""
    kept = Usable()
    under_way = reading.Reading(format, kept, subdomains=subdomains)
    for piece in received:
        under_way.feed(piece)
    report = under_way.end()
    return kept.names, kept.paths, kept.regexes, report


def _how(data: bytes) -> tuple[str, bool]:
    """The format, most often any; and whether names stand for what is below them too."""
    number = zlib.crc32(data)
    others = reading.FORMATS[number % len(reading.FORMATS)]
    return (reading.AUTO if number & 0x300 else others), bool(number & 0x400)


def list_reading(data: bytes) -> Reading:
    """What is made of a list, in the form that the fuzzer looks at."""
    format, subdomains = _how(data)
    names, paths, regexes, report = read_list([data], format, subdomains)
    why = report.faults[0].why[:30] if report.faults else ""
    return Reading(closed=f"{format} {bool(names)} {bool(paths or regexes)} {why}")


def check_list(data: bytes, random: Random) -> None:
    """Raises `AssertionError` when

    * anything comes out as an exception, or what is listed or reported depends on how the bytes were split;
    * a name is listed in a spelling that nobody who asks for it would be found with, or what is below an address;
    * the numbers in the report do not come to what was read, or more is told of bad lines than may be.
    """
    format, subdomains = _how(data)
    expected = read_list([data] if data else [], format, subdomains)
    for received in (octets(data), pieces(data, cuts(random, len(data)))):
        assert read_list(received, format, subdomains) == expected
    names, paths, regexes, report = expected
    for name, flags in names.items():
        assert listed_name(name) == name
        assert asked_name(name.decode("ascii")) == name.decode("ascii")
        assert 0 < flags < 16
        assert not is_address(name) or not flags & (BELOW | PASS_BELOW)
    lines = data.count(b"\n") + (not data.endswith(b"\n") and bool(data))
    assert report.lines == lines
    assert len(names) <= report.names <= MOST_NAMES * lines
    assert report.rules == len(paths) + len(regexes)
    assert report.bad + report.skipped <= lines
    assert len(report.faults) == min(report.bad, MOST_FAULTS)
    assert all(
        len(fault.text) < 100 and fault.text.isprintable() and 0 < fault.line <= lines for fault in report.faults
    )

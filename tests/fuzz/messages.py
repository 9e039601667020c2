"""Messages that are valid, or nearly: drawn from a ``random.Random``, so that hypothesis and the fuzzer share them.

Each element of a message comes from a table in which the ordinary values stand beside those that parsers are known to
disagree about. Most messages have none or one of the latter, because two mistakes in one message hide each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from hypothesis import strategies as st

Draw = Callable[[Random], bytes]

METHODS = (b"GET", b"GET", b"POST", b"HEAD", b"PUT", b"OPTIONS", b"TRACE", b"CONNECT", b"DELETE", b"PURGE", b"M-SEARCH")
ODD_METHODS = (b"get", b"G\xc3\x89T", b"G@T", b"(GET", b"G" * 64, b"G" * 65, b"", b"GET\t", b"!#$%&'*+-.^_`|~")

TARGETS = (
    b"http://origin.example/",
    b"http://origin.example/path?query=1&b",
    b"http://origin.example:8080/a",
    b"HTTP://Origin.Example",
    b"http://[2001:db8::1]:8080/x",
    b"http://192.0.2.1?q",
    b"https://origin.example/",
)
ODD_TARGETS = (
    b"*",
    b"/",
    b"/path",
    b"origin.example:443",
    b"[::1]:443",
    b"origin.example:",
    b"origin.example:0",
    b"origin.example:65536",
    b"http://user:pass@origin.example/",
    b"http:///path",
    b"http://origin.example:/",
    b"http://origin.example:99999/",
    b"http://origin.example/#fragment",
    b"http://origin.example/a b",
    b"http://origin.example\\@other.example/",
    b"http://%6frigin.example/",
    b"http://origin..example/",
    b"http://origin.example./",
    b"http://[::1/",
    b"ftp://origin.example/",
    b"http://origin.example/\xc3\xa9",
    b"http://origin.example/" + b"a" * 300,
)

VERSIONS = (b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0")
ODD_VERSIONS = (
    b"HTTP/1.2",
    b"HTTP/2.0",
    b"HTTP/0.9",
    b"http/1.1",
    b"HTTP/1.10",
    b"HTTP/1",
    b"HTTP/1.1 ",
    b"",
    b"HTTP/11",
)

STATUSES = (
    b"200 OK",
    b"200 OK",
    b"204 No Content",
    b"304 Not Modified",
    b"404 Not Found",
    b"500 ",
    b"301 Moved\t\xc3\xa9",
)
ODD_STATUSES = (
    b"100 Continue",
    b"101 Switching Protocols",
    b"103 Early Hints",
    b"204",
    b"426 Upgrade Required",
    b"99 Low",
    b"600 High",
    b"2000 Long",
    b" 200 OK",
    b"200  OK",
    b"OK",
    b"200\x00OK",
)

FIELDS = (
    (b"Host", b"origin.example"),
    (b"Accept", b"text/html, */*;q=0.8"),
    (b"User-Agent", b"Agent/1.0 (a comment)"),
    (b"Cookie", b"a=1; b=2"),
    (b"Set-Cookie", b"a=1; Path=/"),
    (b"X-Empty", b""),
    (b"x-lower", b"value  with   spaces"),
    (b"X-Latin", b"caf\xe9 \xff"),
    (b"Via", b"1.0 fred, 1.1 p.example.net (a, comment)"),
    (b"Date", b"Sun, 06 Nov 1994 08:49:37 GMT"),
    (b"Server", b"origin"),
)
HOP_FIELDS = (
    (b"Connection", b"keep-alive"),
    (b"Connection", b"close"),
    (b"Connection", b"X-Empty, x-lower"),
    (b"connection", b"close, , upgrade"),
    (b"Connection", b"Host, Via, Content-Length, Transfer-Encoding"),
    (b"Keep-Alive", b"timeout=5"),
    (b"Proxy-Connection", b"keep-alive"),
    (b"Proxy-Authorization", b"Basic c2VjcmV0"),
    (b"TE", b"trailers, deflate;q=0.5"),
    (b"Upgrade", b"websocket"),
    (b"Upgrade", b"h2c, chat/2.0, /odd"),
    (b"Max-Forwards", b"3"),
    (b"Max-Forwards", b"00000000000000000000000001"),
    (b"Expect", b"100-continue"),
    (b"Expect", b"200-ok"),
    (b"Trailer", b"X-Trailer"),
)
ODD_FIELDS = (
    b"Host: a.example\r\nHost: b.example\r\n",
    b"Host: a, b\r\n",
    b"Host: \r\n",
    b"Host: user@a.example\r\n",
    b"X-Folded: a\r\n b\r\n",
    b" X-Leading: a\r\n",
    b"X-Space : a\r\n",
    b"X-Tab\t: a\r\n",
    b"X-No-Colon\r\n",
    b": no name\r\n",
    b"X(Paren): a\r\n",
    b"X-\xc3\xa9: a\r\n",
    b"X-LF: a\n",
    b"X-CR: a\rb\r\n",
    b"X-CRCR: a\r\r\n",
    b"X-NUL: a\x00b\r\n",
    b"X-Control: a\x01\x7f\r\n",
    b"X-Spaces: \t a \t \r\n",
    b"X-Quote: \"open, 'a\r\n",
    b'Connection: "close, X-Empty\r\n',
)
FRAMINGS = (
    b"Content-Length: 5\r\n",
    b"content-length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: Chunked\r\n",
    b"Content-Length: 0\r\n",
)
ODD_FRAMINGS = (
    b"Content-Length: +5\r\n",
    b"Content-Length: -5\r\n",
    b"Content-Length: 0x5\r\n",
    b"Content-Length: 5 5\r\n",
    b"Content-Length: 5,5\r\n",
    b"Content-Length: 5, 6\r\n",
    b"Content-Length: 05\r\n",
    b"Content-Length: \r\n",
    b"Content-Length: 5_0\r\n",
    b"Content-Length: 00000000000000000005\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"Content-Length: 5\r\nContent-Length: 5\r\n",
    b"Content-Length: 5\r\nContent-Length: 6\r\n",
    b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    b"Content-Length : 5\r\n",
    b"Transfer-Encoding : chunked\r\n",
    b"Transfer-Encoding:\tchunked\t\r\n",
    b"Transfer-Encoding:\x0bchunked\r\n",
    b"Transfer-Encoding: chunked, chunked\r\n",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding: chunked, gzip\r\n",
    b"Transfer-Encoding: gzip\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Transfer-Encoding: xchunked\r\n",
    b"Transfer-Encoding: chunked;q=1\r\n",
    b"Transfer-Encoding: ,chunked,\r\n",
    b'Transfer-Encoding: chunked"\r\n',
    b'Transfer-Encoding: "chunked"\r\n',
    b"Transfer-Encoding:\r\n",
    b"Transfer_Encoding: chunked\r\n",
)

CHUNKS = (
    b"5\r\nhello\r\n",
    b"A\r\n0123456789\r\n",
    b"1\r\nx\r\n",
    b"00e\r\n14 octets here\r\n",
    b"3\r\n\r\n\r\r\n",
    b"2;a=b\r\nhi\r\n",
)
ODD_CHUNKS = (
    b"5 \r\nhello\r\n",
    b" 5\r\nhello\r\n",
    b"+5\r\nhello\r\n",
    b"-5\r\nhello\r\n",
    b"0x5\r\nhello\r\n",
    b"5_\r\nhello\r\n",
    b"5\nhello\r\n",
    b"5\r\nhello\n",
    b"5\r\nhello",
    b"4\r\nhello\r\n",
    b"6\r\nhello\r\n",
    b"g\r\nhello\r\n",
    b"\r\nhello\r\n",
    b"ffffffffffffffff\r\nhello\r\n",
    b"00000000000000005\r\nhello\r\n",
    b"10000000000000005\r\nhello\r\n",
    b'5;a="b;\\"c"\r\nhello\r\n',
    b"5;a;b=c\r\nhello\r\n",
    b"5 ; a = b\r\nhello\r\n",
    b"5;\r\nhello\r\n",
    b"5;a=\r\nhello\r\n",
    b'5;a="b\r\nhello\r\n',
    b"5;a\x00\r\nhello\r\n",
    b"5;a\nb\r\nhello\r\n",
    b"5\r\r\nhello\r\n",
    b"5;" + b"e" * 5000 + b"\r\nhello\r\n",
)
ENDS = (b"0\r\n\r\n", b"0\r\n\r\n", b"000\r\n\r\n", b"0\r\nX-Trailer: a\r\n\r\n", b"0;x\r\nX-T: a\r\nX-T: b \r\n\r\n")
ODD_ENDS = (
    b"0\r\n",
    b"0\n\n",
    b"0\r\n\n",
    b"0\r\nContent-Length: 5\r\nHost: x\r\n\r\n",
    b"0\r\nX-Trailer : a\r\n\r\n",
    b"0\r\n folded\r\n\r\n",
    b"0\r\nX: a\r\n b\r\n\r\n",
    b"0\r\nno colon\r\n\r\n",
    b"0\r\nX(Paren): a\r\n\r\n",
    b"0\r\nX: \x00\r\n\r\n",
    b"0\r\n\r\r\n\r\n",
    b"0\r\nX: a\n\r\n",
    b"0\r\nX: " + b"t" * 700 + b"\r\n\r\n",
    b"0 \r\n\r\n",
    b"",
)

SPLICES = (
    *(b"\r\n", b"\r", b"\n", b"\r\n\r\n", b"\x00", b" ", b"\t", b"\x0b", b"\x7f", b"\xff"),
    *(b":", b",", b";", b"=", b'"', b"\\", b"#", b"@", b"0", b"5", b"f"),
    *(b"HTTP/1.1", b"chunked", b"0\r\n\r\n", b"Connection: close\r\n", b"GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n"),
    *FRAMINGS,
)


class Oddity:
    """How many odd values a message may still get."""

    __slots__ = ("left", "random")

    def __init__(self, random: Random, left: int) -> None:
        self.random = random
        self.left = left

    def one(self, ordinary: Sequence[bytes], odd: Sequence[bytes]) -> bytes:
        """An ordinary value or, now and then, an odd one."""
        if self.left and self.random.randrange(8) == 0:
            self.left -= 1
            return self.random.choice(odd)
        return self.random.choice(ordinary)


def _fields(random: Random, oddity: Oddity) -> bytes:
    lines = [b"%b: %b\r\n" % random.choice(FIELDS) for _ in range(random.randrange(4))]
    lines += [b"%b: %b\r\n" % random.choice(HOP_FIELDS) for _ in range(random.choice((0, 0, 1, 2)))]
    if oddity.left and random.randrange(4) == 0:
        oddity.left -= 1
        lines.append(random.choice(ODD_FIELDS))
    if random.randrange(2):
        lines.append(oddity.one(FRAMINGS, ODD_FRAMINGS))
    random.shuffle(lines)
    return b"".join(lines)


def _content(random: Random, oddity: Oddity, head: bytes) -> bytes:
    """Content as the head announces it, mostly."""
    kind = random.randrange(12)
    if (b"chunked" in head.lower() and kind) or kind == 1:
        chunks = [oddity.one(CHUNKS, ODD_CHUNKS) for _ in range(random.randrange(4))]
        return b"".join(chunks) + oddity.one(ENDS, ODD_ENDS)
    if (b"ength: 5" in head or kind == 2) and kind != 3:
        return b"hello"
    return b"he" if kind == 4 else b""


def request(random: Random, oddities: int = 2) -> bytes:
    """One request."""
    oddity = Oddity(random, oddities)
    line = b"%b %b %b\r\n" % (
        oddity.one(METHODS, ODD_METHODS),
        oddity.one(TARGETS, ODD_TARGETS),
        oddity.one(VERSIONS, ODD_VERSIONS),
    )
    lines = _fields(random, oddity)
    if b"host" not in lines.lower() and random.randrange(8):
        lines = b"Host: origin.example\r\n" + lines
    head = line + lines + b"\r\n"
    if random.randrange(16) == 0:
        head = b"\r\n" + head
    return head + _content(random, oddity, head)


def response(random: Random, oddities: int = 2) -> bytes:
    """One response."""
    oddity = Oddity(random, oddities)
    line = b"%b %b\r\n" % (oddity.one(VERSIONS, ODD_VERSIONS), oddity.one(STATUSES, ODD_STATUSES))
    head = line + _fields(random, oddity) + b"\r\n"
    return head + (_content(random, oddity, head) or random.choice((b"", b"", b"until the end")))


def mutated(random: Random, data: bytes, splices: Sequence[bytes] = SPLICES) -> bytes:
    """The bytes with some of them removed, doubled, changed or moved, or some of ``splices`` put in."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        start = random.randrange(len(changed) + 1)
        end = min(len(changed), start + random.choice((1, 1, 2, 4, 16, 64)))
        kind = random.randrange(6)
        if kind == 0:
            del changed[start:end]
        elif kind == 1:
            changed[start:start] = random.choice(splices)
        elif kind == 2:
            changed[start:end] = random.choice(splices)
        elif kind == 3:
            changed[start:start] = changed[start:end]
        elif kind == 4 and start < len(changed):
            changed[start] = random.randrange(256)
        elif kind == 5:
            lines = bytes(changed).split(b"\n")
            random.shuffle(lines)
            changed[:] = b"\n".join(lines)
    return bytes(changed)


def several(random: Random, one: Draw, splices: Sequence[bytes] = SPLICES) -> bytes:
    """One message or a few in a row, sometimes mutated."""
    data = b"".join(one(random) for _ in range(random.choice((1, 1, 1, 2, 3))))
    return mutated(random, data, splices) if random.randrange(3) == 0 else data


def cuts(random: Random, size: int) -> list[int]:
    """Where to cut ``size`` bytes into pieces."""
    return sorted(random.randrange(size + 1) for _ in range(random.choice((1, 2, 3, 8))))


_RANDOMS = st.randoms(use_true_random=False)

REQUESTS: st.SearchStrategy[bytes] = _RANDOMS.map(lambda random: several(random, request))
RESPONSES: st.SearchStrategy[bytes] = _RANDOMS.map(lambda random: several(random, response))

"""The ClientHello, from real clients and made up: what it says, what it is not, and what reading it costs."""

from __future__ import annotations

import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.tls.client_hello import (
    LONGEST_HELLO,
    TLS12,
    TLS13,
    ClientHello,
    HelloError,
    HelloReader,
    HelloTooLarge,
    MalformedHello,
    NotTLS,
    is_grease,
)

GREASE = [0x0A0A + 0x1010 * number for number in range(16)]


def vector(size: int, data: bytes) -> bytes:
    return len(data).to_bytes(size) + data


def extension(kind: int, data: bytes = b"") -> bytes:
    return kind.to_bytes(2) + vector(2, data)


def sni(name: bytes, kind: int = 0) -> bytes:
    return extension(0, vector(2, bytes([kind]) + vector(2, name)))


def alpn(*names: bytes) -> bytes:
    return extension(16, vector(2, b"".join(vector(1, name) for name in names)))


def versions(*numbers: int) -> bytes:
    return extension(43, vector(1, b"".join(number.to_bytes(2) for number in numbers)))


def ech(kind: int = 0, rest: bytes | None = None) -> bytes:
    body = b"\0\1\0\1\7" + vector(2, b"k" * 32) + vector(2, b"p" * 100) if rest is None else rest
    return extension(0xFE0D, bytes([kind]) + body)


def body(
    extensions: Iterable[bytes] | None = (),
    *,
    version: int = TLS12,
    session: bytes = b"s" * 32,
    suites: bytes = b"\x13\x01",
    compression: bytes = b"\0",
) -> bytes:
    fixed = version.to_bytes(2) + bytes(32) + vector(1, session) + vector(2, suites) + vector(1, compression)
    return fixed if extensions is None else fixed + vector(2, b"".join(extensions))


def message(content: bytes, kind: int = 1) -> bytes:
    return bytes([kind]) + vector(3, content)


def records(data: bytes, size: int = 2**14, version: bytes = b"\3\1") -> bytes:
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    return b"".join(b"\x16" + version + vector(2, piece) for piece in pieces)


def hello(*extensions: bytes, **more: Any) -> bytes:
    return records(message(body(extensions, **more)))


def read(data: bytes, limit: int = LONGEST_HELLO) -> ClientHello | None:
    return HelloReader(limit).feed(data)


def whole(data: bytes) -> ClientHello:
    found = read(data)
    assert found is not None
    return found


def outcome(pieces: Sequence[bytes], limit: int = LONGEST_HELLO) -> object:
    """What comes of feeding these: a hello, None, or the error."""
    reader = HelloReader(limit)
    try:
        for piece in pieces:
            reader.feed(piece)
    except HelloError as error:
        return type(error), str(error)
    assert reader.received == b"".join(pieces)
    return reader.hello


# ---------------------------------------------------------------- real clients


def of_python(name: str | None, configure: Callable[[ssl.SSLContext], object] = lambda context: None) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    # Whatever the system's own lowest version is.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    configure(context)
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def highest(version: ssl.TLSVersion) -> Callable[[ssl.SSLContext], object]:
    return lambda context: setattr(context, "maximum_version", version)


@pytest.mark.parametrize(
    ("name", "configure", "expected"),
    [
        ("A.Test", lambda _: None, ClientHello("a.test", False, (), (TLS13, TLS12), False)),
        (None, lambda _: None, ClientHello("", False, (), (TLS13, TLS12), False)),
        # OpenSSL, as RFC 6066 has it, sends no address.
        ("192.0.2.7", lambda _: None, ClientHello("", False, (), (TLS13, TLS12), False)),
        ("bücher.test", lambda _: None, ClientHello("xn--bcher-kva.test", False, (), (TLS13, TLS12), False)),
        (
            "a.test",
            lambda context: context.set_alpn_protocols(["h2", "http/1.1"]),
            ClientHello("a.test", False, (b"h2", b"http/1.1"), (TLS13, TLS12), False),
        ),
        ("a.test", highest(ssl.TLSVersion.TLSv1_2), ClientHello("a.test", False, (), (TLS12,), False)),
        (
            "a.test",
            lambda context: setattr(context, "minimum_version", ssl.TLSVersion.TLSv1_3),
            ClientHello("a.test", False, (), (TLS13,), False),
        ),
        ("a.test", lambda context: context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256"), None),
        ("a.test", lambda context: context.set_ecdh_curve("prime256v1"), None),
        ("x" * 63 + ".test", lambda _: None, ClientHello("x" * 63 + ".test", False, (), (TLS13, TLS12), False)),
    ],
)
def test_python(name: str | None, configure: Any, expected: ClientHello | None) -> None:
    assert whole(of_python(name, configure)) == (expected or ClientHello("a.test", False, (), (TLS13, TLS12), False))


def of_program(*command: str) -> bytes:
    """The first bytes that a program sends to a TLS server; ``{port}`` stands for where that is."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(20)
        port = str(listening.getsockname()[1])
        words = [word.replace("{port}", port) for word in command]
        with subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as program:
            accepted, _ = listening.accept()
            with accepted:
                accepted.settimeout(20)
                reader = HelloReader()
                while reader.feed(accepted.recv(64)) is None:
                    pass
            program.kill()
    return bytes(reader.received)


def test_openssl() -> None:
    connect = ("openssl", "s_client", "-connect", "127.0.0.1:{port}")
    found = whole(of_program(*connect, "-servername", "b.Test", "-alpn", "h2,foo", "-tls1_3"))
    assert found == ClientHello("b.test", False, (b"h2", b"foo"), (TLS13,), False)
    assert whole(of_program(*connect, "-noservername", "-tls1_2")).versions == (TLS12,)


def test_curl() -> None:
    resolve = ("--noproxy", "*", "--resolve", "c.test:{port}:127.0.0.1")
    found = whole(of_program("curl", "-sk", *resolve, "--http1.1", "https://c.test:{port}/"))
    assert (found.server_name, found.protocols) == ("c.test", (b"http/1.1",))
    assert TLS13 in found.versions


# ---------------------------------------------------------------- what it says


def test_without_extensions() -> None:
    """RFC 8446 section 4.1.2: TLS 1.2 and below need none."""
    assert whole(records(message(body(None)))) == ClientHello("", False, (), (TLS12,), False)
    assert whole(hello()) == ClientHello("", False, (), (TLS12,), False)


@pytest.mark.parametrize(("legacy", "expected"), [(0x0300, 0x0300), (0x0301, 0x0301), (TLS12, TLS12), (TLS13, TLS12)])
def test_version_without_the_extension(legacy: int, expected: int) -> None:
    """RFC 8446 section 4.2.1: TLS 1.2 is then the highest."""
    assert whole(hello(version=legacy)).versions == (expected,)


@pytest.mark.parametrize(
    ("name", "expected", "is_address"),
    [
        (b"a", "a", False),
        (b"EXAMPLE.com", "example.com", False),
        (b"_dmarc.a_b.test", "_dmarc.a_b.test", False),
        (b"xn--bcher-kva.example", "xn--bcher-kva.example", False),
        (b"1.2.3.4.test", "1.2.3.4.test", False),
        (b"a" * 63 + b"." + b"b" * 63, "a" * 63 + "." + "b" * 63, False),
        (b"192.0.2.7", "192.0.2.7", True),
        (b"2001:DB8:0::1", "2001:db8::1", True),
    ],
)
def test_server_name(name: bytes, expected: str, is_address: bool) -> None:
    """RFC 6066 section 3."""
    found = whole(hello(sni(name)))
    assert (found.server_name, found.is_address) == (expected, is_address)


@pytest.mark.parametrize("value", GREASE)
def test_grease(value: int) -> None:
    """RFC 8701 section 3: what is made up is ignored, wherever it stands."""
    made_up = value.to_bytes(2)
    data = hello(
        extension(value, b"\0"),
        sni(b"a.test"),
        alpn(made_up, b"h2"),
        versions(value, TLS13, TLS12),
        suites=made_up + b"\x13\x01",
    )
    assert whole(data) == ClientHello("a.test", False, (b"h2",), (TLS13, TLS12), False)
    assert is_grease(value)


@pytest.mark.parametrize("value", [0x0A1A, 0x1A0A, 0x0B0B, 0x0A0B, TLS13, 0])
def test_what_is_no_grease(value: int) -> None:
    assert not is_grease(value)
    assert whole(hello(versions(value))).versions == (value,)


def test_encrypted_client_hello() -> None:
    """RFC 9849 section 5: the name that can be read is the outer one."""
    assert whole(hello(sni(b"public.test"), ech())) == ClientHello("public.test", False, (), (TLS12,), True)
    assert whole(hello(ech(rest=b"\0\1\0\1\7" + vector(2, b"") + vector(2, b"p")))).offers_ech


def test_several_versions() -> None:
    data = hello(versions(0x7F1C, TLS13, TLS12, 0x0302, 0x0301))
    assert whole(data).versions == (0x7F1C, TLS13, TLS12, 0x0302, 0x0301)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 50, 300])
def test_fragments(size: int) -> None:
    """RFC 8446 section 5.1: a message may be spread over records."""
    content = message(body((sni(b"a.test"), alpn(b"h2"))))
    assert whole(records(content, size)) == whole(records(content))


@pytest.mark.parametrize("version", [b"\3\0", b"\3\1", b"\3\2", b"\3\3", b"\3\4"])
def test_version_of_the_record(version: bytes) -> None:
    """RFC 8446 section 5.1: it is to be ignored."""
    assert whole(records(message(body()), version=version))


@pytest.mark.parametrize(
    "more", [b"\x17\x03\x03\x00\x10" + b"x" * 16, b"\x14\x03\x03\x00\x01\x01", b"\xff", b"G" * 70_000]
)
def test_what_follows_is_kept_and_not_judged(more: bytes) -> None:
    reader = HelloReader()
    data = hello(sni(b"a.test"))
    assert reader.feed(data + more) == whole(data)
    assert reader.feed(b"more") == whole(data)
    assert reader.received == data + more + b"more"


# ---------------------------------------------------------------- what it is not


@pytest.mark.parametrize(
    "data",
    [
        b"G",
        b"GET / HTTP/1.1\r\n",
        b"SSH-2.0-",
        b"\0",
        b"\x80\x2e\x01\x03\x01",
        b"\x15\x03\x03\x00\x02",
        b"\x17",
        b"\xff",
    ],
)
def test_another_protocol_is_known_by_its_first_byte(data: bytes) -> None:
    with pytest.raises(NotTLS, match=f"the first byte is {data[0]:#04x}, and TLS begins with 0x16"):
        read(data[:1])
    with pytest.raises(NotTLS):
        read(data)


def test_another_protocol_is_known_by_its_next_bytes() -> None:
    assert read(b"\x16") is None
    assert read(b"\x16\x03") is None
    assert read(b"\x16\x03\x01") is None
    for data in (b"\x16\x02", b"\x16\x04", b"\x16G", b"\x16\x03\x05", b"\x16\x03\xff"):
        with pytest.raises(NotTLS):
            read(data)


def test_nothing() -> None:
    assert read(b"") is None
    assert repr(HelloReader()) == "<HelloReader 0 bytes incomplete>"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x16\x03\x01\x00\x00", "a record of 0 bytes"),
        (b"\x16\x03\x01\x40\x01", "a record of 16385 bytes"),
        (b"\x16\x03\x01\x00\x04\x02", "the handshake begins with message 2, not 1"),
        (records(message(body())[:20])[:-3] + b"xyz" + b"\x17", "a record of type 23 interrupts it"),
        (records(message(body())[:20]) + b"\x16\x02", "a record of version 2.x"),
        (records(message(body()) + b"\0"), "another message follows in the same record"),
        (records(message(body()) + message(b"", 20)), "another message follows"),
        (records(message(b"")), "the ClientHello ends too early"),
        (records(message(body()[:40])), "the ClientHello ends too early"),
        (hello(version=0x0203), "it is for version 2.x"),
        (hello(session=b"s" * 33), "a field of 33 bytes in the ClientHello"),
        (hello(suites=b""), "a field of 0 bytes"),
        (hello(suites=b"abc"), "half a cipher suite"),
        (hello(compression=b""), "a field of 0 bytes"),
        (records(message(body(None) + b"\0")), "the ClientHello ends too early"),
        (records(message(body(None) + b"\0\5" + bytes(4))), "the ClientHello ends too early"),
        (records(message(body() + b"\0")), "1 bytes are left over in the ClientHello"),
        (hello(b"\0\0\0"), "the extensions ends too early"),
        (hello(b"\0\0\0\5abcd"), "the extensions ends too early"),
        (hello(sni(b"a"), sni(b"b")), "extension 0 comes twice"),
        (hello(alpn(b"a"), alpn(b"a")), "extension 16 comes twice"),
        (hello(extension(0x1234), extension(0x1234)), "extension 4660 comes twice"),
        (hello(extension(41), sni(b"a")), "an extension follows pre_shared_key"),
        (hello(extension(0)), "server_name ends too early"),
        (hello(extension(0, b"\0\0")), "a field of 0 bytes in server_name"),
        (hello(extension(0, vector(2, b"\0" + vector(2, b"")))), "a field of 0 bytes in server_name"),
        (hello(extension(0, vector(2, b"\0\0\7abc"))), "server_name ends too early"),
        (hello(extension(0, vector(2, b"\0" + vector(2, b"a")) + b"x")), "1 bytes are left over in server_name"),
        (hello(extension(0, vector(2, (b"\0" + vector(2, b"a")) * 2))), "more than one server name"),
        (hello(sni(b"a", 1)), "a server name of type 1"),
        (hello(extension(16)), "ALPN ends too early"),
        (hello(alpn()), "a field of 0 bytes in ALPN"),
        (hello(alpn(b"h2", b"")), "a field of 0 bytes in ALPN"),
        (hello(extension(16, vector(2, b"\5ab"))), "ALPN ends too early"),
        (hello(extension(16, vector(2, b"\1a") + b"x")), "1 bytes are left over in ALPN"),
        (hello(extension(43)), "supported_versions ends too early"),
        (hello(versions()), "a field of 0 bytes in supported_versions"),
        (hello(extension(43, b"\3\3\4\3")), "half a version"),
        (hello(extension(43, b"\2\3\4\3")), "1 bytes are left over in supported_versions"),
        (hello(ech(1, b"")), "an encrypted_client_hello that is not the outer one"),
        (hello(ech(0, b"")), "encrypted_client_hello ends too early"),
        (hello(ech(0, b"\0\1\0\1\7" + bytes(4))), "a field of 0 bytes in encrypted_client_hello"),
    ],
)  # fmt: skip
def test_malformed(data: bytes, reason: str) -> None:
    with pytest.raises(MalformedHello, match=reason.replace(".", r"\.")):
        read(data)
    assert outcome([data]) == outcome([bytes([one]) for one in data])


@pytest.mark.parametrize(
    "name",
    [
        b"a.test.",
        b".a",
        b"a..b",
        b"-a.test",
        b"a-.test",
        b"a b",
        b"a\0.test",
        b"a.test\n",
        b"*.test",
        b"b\xc3\xbccher.test",
        b"a" * 64,
        b"a." * 127,
        b"1.2.3",
        b"127.1",
        b"0x7f.1",
        b"a.0x7f",
        b"256.1.1.1",
        b"01.2.3.4",
        b"[::1]",
        b"fe80::1%eth0",
        b"a:443",
        b"a/b",
    ],
)
def test_what_is_no_host_name(name: bytes) -> None:
    with pytest.raises(MalformedHello, match="the server name is no host name"):
        read(hello(sni(name)))


# ---------------------------------------------------------------- bounds


def test_too_large_is_said_before_it_has_come() -> None:
    announced = records(b"\1" + (LONGEST_HELLO + 1).to_bytes(3))
    with pytest.raises(HelloTooLarge, match="it is larger than 65536 bytes"):
        read(announced)
    with pytest.raises(HelloTooLarge):
        read(b"\x16\x03\x01\x40\x00\x01\xff\xff\xff")
    with pytest.raises(HelloTooLarge):
        read(b"\x16\x03\x01\x01\x00", limit=200)


def test_many_small_records_count_too() -> None:
    content = message(body((extension(0x1234, bytes(15_000)),)))
    assert read(records(content))
    with pytest.raises(HelloTooLarge):
        read(records(content, 1))


def test_cost_is_linear() -> None:
    """Byte by byte, in tiny records, with as many extensions as there is room for: some 2 µs a byte."""
    content = message(body(extension(kind) for kind in range(1000, 2800)))
    data = records(content, 1)
    reader = HelloReader()
    began = time.process_time()
    for one in data:
        reader.feed(bytes([one]))
    assert reader.hello
    assert time.process_time() - began < 2


# ---------------------------------------------------------------- any input

SAMPLES = [
    hello(extension(0x1A1A), sni(b"www.a.test"), alpn(b"h2", b"http/1.1"), versions(0x2A2A, TLS13, TLS12), ech()),
    records(message(body((sni(b"192.0.2.7"), alpn(b"h2")))), 7),
    of_python("a.test", lambda context: context.set_alpn_protocols(["h2"])),
    records(message(body(None))),
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(SAMPLES)))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(data) - 1))
        match draw(st.sampled_from(["set", "insert", "delete", "cut"])):
            case "set":
                data[place] = draw(st.integers(0, 255))
            case "insert":
                data[place:place] = draw(st.binary(max_size=6))
            case "delete" if len(data) > 1:
                del data[place]
            case _:
                del data[max(1, place) :]
    return bytes(data)


@given(mutated() | st.binary(max_size=200), st.lists(st.integers(0, 600)), st.sampled_from([100, LONGEST_HELLO]))
def test_any_split_gives_the_same(data: bytes, cuts: list[int], limit: int) -> None:
    """And nothing but its own errors."""
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[start:end] for start, end in pairwise(edges)]
    assert outcome(pieces, limit) == outcome([data], limit)

"""The grammar: what each expression matches, and that none takes more than linear time."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import partial

import pytest

from twistedproxy.http import grammar
from twistedproxy.http.grammar import (
    CHUNK_LINE,
    LONGEST_REMEMBERED,
    REQUEST_FIELD,
    REQUEST_FIELD_SPACED,
    REQUEST_LINE,
    RESPONSE_FIELD,
    RESPONSE_FIELD_SPACED,
    STATUS_LINE,
    forbidden_octet,
    is_length,
    is_protocol,
    is_token,
    list_members,
    list_tokens,
)

TCHARS = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
FIELD_CHARS = bytes([9, *range(32, 127), *range(128, 256)])
EXPRESSIONS = {name: value for name, value in vars(grammar).items() if isinstance(value, re.Pattern)}


def octets_matched(expression: re.Pattern[bytes], before: bytes, after: bytes) -> bytes:
    """The octets that may stand between the two."""
    return bytes(octet for octet in range(256) if expression.fullmatch(before + bytes([octet]) + after))


def test_tchar() -> None:
    """RFC 9110 section 5.6.2."""
    assert bytes(octet for octet in range(256) if is_token(bytes([octet]))) == bytes(sorted(TCHARS))
    assert not is_token(b"")


def test_method_octets() -> None:
    """RFC 9110 section 9.1: a method is a token."""
    assert octets_matched(REQUEST_LINE, b"G", b"T / HTTP/1.1\r\n") == bytes(sorted(TCHARS))


def test_target_octets() -> None:
    """RFC 9112 section 3.2: visible ASCII; and no fragment, as RFC 9110 section 7.1 says."""
    assert octets_matched(REQUEST_LINE, b"GET /", b" HTTP/1.1\r\n") == bytes(set(range(33, 127)) - {ord("#")})


def test_phrase_octets() -> None:
    """RFC 9112 section 4: reason-phrase."""
    assert octets_matched(STATUS_LINE, b"HTTP/1.1 200 A", b"B\r\n") == FIELD_CHARS


@pytest.mark.parametrize("code", [b"100", b"199", b"200", b"599"])
def test_status_code(code: bytes) -> None:
    """RFC 9110 section 15: from 100 to 599."""
    assert STATUS_LINE.fullmatch(b"HTTP/1.1 " + code + b" \r\n")


@pytest.mark.parametrize("code", [b"099", b"600", b"20", b"2000", b"+200", b"2 0", b""])
def test_no_status_code(code: bytes) -> None:
    assert not STATUS_LINE.fullmatch(b"HTTP/1.1 " + code + b" \r\n")


@pytest.mark.parametrize("expression", [REQUEST_FIELD_SPACED, RESPONSE_FIELD_SPACED])
def test_field_octets(expression: re.Pattern[bytes]) -> None:
    """RFC 9110 sections 5.1 and 5.5: a name is a token; a value is visible, obs-text, SP and HTAB."""
    assert octets_matched(expression, b"X", b"Y: v\r\n") == bytes(sorted(TCHARS + b":"))
    assert octets_matched(expression, b"X: a", b"b\r\n") == FIELD_CHARS


SECTION = b"A: 1\r\nB:2\r\nC:\t3 3\r\nD:\r\nE: \t 5\r\n"


@pytest.mark.parametrize("expression", [REQUEST_FIELD, REQUEST_FIELD_SPACED, RESPONSE_FIELD, RESPONSE_FIELD_SPACED])
def test_field_lines(expression: re.Pattern[bytes]) -> None:
    """RFC 9112 section 5: OWS before the value is not part of it."""
    lines = [(b"A", b"1"), (b"B", b"2"), (b"C", b"3 3"), (b"D", b""), (b"E", b"5")]
    assert expression.findall(SECTION) == lines
    # Also in the middle of a head.
    assert expression.findall(b"x: y\r\n" + SECTION + b"z: z\r\n", 6, 6 + len(SECTION)) == lines


@pytest.mark.parametrize(
    ("expression", "line", "expected"),
    [
        (REQUEST_FIELD, b"A: 1 \r\n", []),
        (REQUEST_FIELD, b"A: \r\n", []),
        (REQUEST_FIELD_SPACED, b"A: 1 \t\r\n", [(b"A", b"1 \t")]),
        (REQUEST_FIELD_SPACED, b"A: \r\n", [(b"A", b"")]),
        (REQUEST_FIELD_SPACED, b"A : 1\r\n", []),
        (RESPONSE_FIELD, b"A \t: 1\r\n", [(b"A", b"1")]),
        (RESPONSE_FIELD, b"A : 1 \r\n", []),
        (RESPONSE_FIELD_SPACED, b"A : 1 \r\n", [(b"A", b"1 ")]),
    ],
)
def test_white_space_of_field_lines(
    expression: re.Pattern[bytes], line: bytes, expected: list[tuple[bytes, bytes]]
) -> None:
    assert expression.findall(line) == expected


@pytest.mark.parametrize("expression", [REQUEST_FIELD_SPACED, RESPONSE_FIELD_SPACED])
@pytest.mark.parametrize(
    "section",
    [
        *(
            b"x A: 1\r\n",
            b" A: 1\r\n",
            b"A: 1\n",
            b"A: 1\rB: 2\r\n",
            b"A: \x00\r\n",
            b"A\r\n",
            b": 1\r\n",
            b"A: 1\r\r\n",
        ),
        *(
            b"A: 1\nB: 2\r\n",
            b"\nA: 1\r\n",
            b"A\n: 1\r\n",
            b"A: 1\r\n B: 2\r\n",
            b"A: 1\r\nB\r\nC: 3\r\n",
            b"\r\nA: 1\r\n",
        ),
    ],
)
def test_lines_that_are_left_out_are_counted(expression: re.Pattern[bytes], section: bytes) -> None:
    """A match is one whole line, so a section with anything else in it has fewer matches than line feeds."""
    assert len(expression.findall(section)) < section.count(b"\n")


# RFC 9112 section 7.1: chunk-size [ chunk-ext ] CRLF
@pytest.mark.parametrize(
    ("line", "size", "extensions"),
    [
        (b"0", b"0", b""),
        (b"5", b"5", b""),
        (b"aBcDeF0123456789", b"aBcDeF0123456789", b""),
        (b"0000000000000005", b"0000000000000005", b""),
        # RFC 9112 section 7.1.1: chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )
        (b"5;a", b"5", b";a"),
        (b"5;a=b", b"5", b";a=b"),
        (b"5;a=b;c;d=e", b"5", b";a=b;c;d=e"),
        (b"5 ; a = b", b"5", b" ; a = b"),
        (b"5\t;\ta\t=\tb", b"5", b"\t;\ta\t=\tb"),
        (b'5;a="b c;d"', b"5", b';a="b c;d"'),
        (b'5;a=""', b"5", b';a=""'),
        (b'5;a="\\"\\\\\xff"', b"5", b';a="\\"\\\\\xff"'),
        (b'5;a="b";c', b"5", b';a="b";c'),
    ],
)
def test_chunk_line(line: bytes, size: bytes, extensions: bytes) -> None:
    match = CHUNK_LINE.fullmatch(line + b"\r\n")
    assert match is not None
    assert match.groups() == (size, extensions)


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b" ", b" 5", b"5 ", b"5\t", b"+5", b"-5", b"0x5", b"5x", b"g", b"5_0", b"5,5", b"5 5", b"5.0", b"\xb25"),
        *(
            b"00000000000000005",
            b"fffffffffffffffff",
            b";a",
            b"5;",
            b"5;;a",
            b"5; ",
            b"5;a=",
            b"5;a= ",
            b"5;=b",
            b"5;a=b=",
        ),
        *(
            b'5;a="',
            b'5;a="b',
            b'5;a="b\\"',
            b'5;a="b"c',
            b'5;"a"=b',
            b'5;a=b"c"',
            b"5;a(b",
            b"5;a b",
            b"5;a;",
            b"5a;b c",
        ),
        *(
            b"5;a\x00",
            b'5;a="\x00"',
            b'5;a="\r"',
            b'5;a="\n"',
            b"5;a\r",
            b"5;a\n",
            b"5\r",
            b"5\n",
            b"5;a=b ",
            b"5;\x0ba",
        ),
    ],
)
def test_no_chunk_line(line: bytes) -> None:
    assert not CHUNK_LINE.fullmatch(line + b"\r\n")


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r", b"\r\r\n", b"\n\r"])
def test_chunk_line_ends_with_crlf(ending: bytes) -> None:
    assert not CHUNK_LINE.fullmatch(b"5" + ending)


def test_possessive_groups_are_not_used() -> None:
    """Before Python 3.11.5 one took ``5;`` for a chunk line: a repeat that failed left its beginning matched."""
    for name, expression in EXPRESSIONS.items():
        assert not re.search(rb"\)[*+?}]\+|\(\?>", expression.pattern), name


@pytest.mark.parametrize(
    ("block", "found"),
    [
        (b"A: b\r\nC: d\r\n", ""),
        (b"\t \x7e\x80\xff", ""),
        (b"\r\n\r\n", ""),
        (b"a\r", ""),
        (b"\n", "a line does not end with CR LF"),
        (b"a\nb", "a line does not end with CR LF"),
        (b"a\r\n\nb", "a line does not end with CR LF"),
        (b"a\rb", "a line does not end with CR LF"),
        (b"a\r\r\n", "a line does not end with CR LF"),
        *((bytes([octet]), "there is a control character") for octet in range(32) if octet not in b"\t\r\n"),
        (b"\x7f", "there is a control character"),
        (b"a\x00\n", "there is a control character"),
        (b"a\n\x00", "a line does not end with CR LF"),
    ],
)
def test_forbidden_octet(block: bytes, found: str) -> None:
    """RFC 9112 section 2.2 and RFC 9110 section 5.5."""
    assert forbidden_octet(block, 0, len(block)) == found
    assert forbidden_octet(bytearray(b"\r" + block), 1, len(block) + 1) == ("" if block == b"\n" else found)


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        *((value, True) for value in (b"0", b"5", b"05", b"1234567890123456789", b"9999999999999999999")),
        *((value, False) for value in (b"", b"12345678901234567890", b"00000000000000000005")),
        *(
            (value, False)
            for value in (b"+5", b"-5", b"0x5", b"5 5", b"5,5", b"5.", b"5_5", b" 5", b"\xb2", "٥".encode())
        ),
    ],
)
def test_length(value: bytes, valid: bool) -> None:
    """RFC 9110 section 8.6: digits, and no more of them than can be counted with."""
    assert is_length(value) is valid


@pytest.mark.parametrize("protocol", [b"websocket", b"TLS/1.0", b"h2c", b"a/b"])
def test_protocol(protocol: bytes) -> None:
    """RFC 9110 section 7.8."""
    assert is_protocol(protocol)


@pytest.mark.parametrize("protocol", [b"", b"/", b"/1", b"a/", b"a/b/c", b"a b", b'"a"', b"a,b"])
def test_no_protocol(protocol: bytes) -> None:
    assert not is_protocol(protocol)


@pytest.mark.parametrize(
    ("values", "members"),
    [
        ((), ()),
        ((b"",), ()),
        ((b"a",), (b"a",)),
        ((b"a, b",), (b"a", b"b")),
        ((b"a", b"b"), (b"a", b"b")),
        ((b" a\t,\tb c ",), (b"a", b"b c")),
        # RFC 9110 section 5.6.1: empty members are none.
        ((b",, a ,,b,", b"", b","), (b"a", b"b")),
        # RFC 9110 section 5.6.4: a comma in a quoted string separates nothing.
        ((b'a;q="b,c", d',), (b'a;q="b,c"', b"d")),
        ((b'"a\\",b", c',), (b'"a\\",b"', b"c")),
        ((b'"", b',), (b'""', b"b")),
        # What is quoted wrongly stays what it is: nothing of it becomes a member.
        ((b'chunked"',), (b'chunked"',)),
        ((b'"chunked',), (b'"chunked',)),
        ((b'a, "chunked, b',), (b"a", b'"chunked, b')),
        ((b'"a\\', b"b"), (b'"a\\', b"b")),
        ((b'a"b"c, d',), (b'a"b"c', b"d")),
    ],
)
def test_list_members(values: tuple[bytes, ...], members: tuple[bytes, ...]) -> None:
    assert list_members(values) == members
    assert len(values) != 1 or list_members(values[0]) == members


@pytest.mark.parametrize(
    ("values", "tokens"),
    [
        ((), frozenset()),
        ((b"Keep-Alive, CLOSE",), {b"keep-alive", b"close"}),
        ((b"close", b"Close, x"), {b"close", b"x"}),
        ((b'close"',), {b'close"'}),
    ],
)
def test_list_tokens(values: tuple[bytes, ...], tokens: frozenset[bytes]) -> None:
    assert list_tokens(values) == tokens
    assert len(values) != 1 or list_tokens(values[0]) == tokens


def test_long_values_are_not_remembered() -> None:
    """A peer chooses the values: remembered without a limit they would hold as much memory as it likes."""
    for read, remembered in ((list_members, grammar._remembered_members), (list_tokens, grammar._remembered_tokens)):
        remembered.cache_clear()
        short = b"a," * (LONGEST_REMEMBERED // 2)
        assert len(read(short)) == (1 if read is list_tokens else LONGEST_REMEMBERED // 2)
        assert remembered.cache_info().currsize == 1
        for number in range(10):
            assert read(b"%d," % number * LONGEST_REMEMBERED)
            assert read((b"%d" % number, b"b"))
        assert remembered.cache_info().currsize == 1


# ---------------------------------------------------------------- cost

LARGE = 1 << 17

HOSTILE = [
    b"a" * LARGE,
    b"a " * (LARGE // 2),
    b"a: " * (LARGE // 3),
    b" " * LARGE,
    b"\t: " * (LARGE // 3),
    b"5;" + b";" * LARGE,
    b"5;a" * (LARGE // 3),
    b"5" + b" " * LARGE,
    b"5" + b";a=" * (LARGE // 3),
    b"5" + b';a="b"' * (LARGE // 6),
    b'5;a="' + b"\\" * LARGE,
    b'5;a="' + b'\\"' * (LARGE // 2),
    b'5;a="' + b'";a="' * (LARGE // 5),
    b'"' * LARGE,
    b'"\\' * (LARGE // 2),
    b'"' + b'\\"' * (LARGE // 2) + b"x",
    b'"a,' * (LARGE // 3),
    b"," * LARGE,
    b"A: b\r\n" * (LARGE // 6) + b"x",
    b"A: b \r\n" * (LARGE // 7),
    b"\r" * LARGE,
    b"\n" * LARGE,
    b"\r\n" * (LARGE // 2),
    b"http:" * (LARGE // 5),
    b"GET " + b"/" * LARGE,
    b"HTTP/1.1 200 " + b"x" * LARGE,
]


def cpu_seconds(function: Callable[[], object]) -> float:
    """What the call costs; the least of a few, since others use the machine too."""
    costs = []
    for _ in range(3):
        began = time.process_time()
        function()
        costs.append(time.process_time() - began)
    return min(costs)


FINDING = {"REQUEST_FIELD", "REQUEST_FIELD_SPACED", "RESPONSE_FIELD", "RESPONSE_FIELD_SPACED", "_LIST_MEMBER"}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_expressions_are_linear(name: str) -> None:
    """What is quadratic in 128 KiB takes many seconds; what is linear, a few thousandths of one."""
    expression = EXPRESSIONS[name]
    if name in FINDING:
        function: Callable[[bytes], object] = expression.findall
    else:
        function = expression.search if name == "FORBIDDEN_IN_HEAD" else expression.match
    for block in HOSTILE:
        assert cpu_seconds(partial(function, block)) < 0.25, block[:20]


def test_lists_are_linear() -> None:
    for block in HOSTILE:
        assert cpu_seconds(partial(list_members, (block,))) < 0.25, block[:20]

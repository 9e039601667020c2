"""Fields and heads."""

from __future__ import annotations

import time

import pytest

from twistedproxy.http.message import CHUNKED, END, UNTIL_CLOSE, End, Fields, RequestHead, ResponseHead

LINES = [(b"Host", b"h"), (b"Set-Cookie", b"a=1"), (b"X", b""), (b"set-cookie", b"b=2"), (b"SET-COOKIE", b"a=1")]


def test_lines_keep_order_and_case() -> None:
    """RFC 9110 section 5.3: also of lines with the same name."""
    assert Fields(LINES).lines == LINES
    assert Fields(iter(LINES)).lines == LINES


def test_lines_are_the_fields_own() -> None:
    lines = [(b"A", b"1")]
    fields = Fields(lines)
    lines.append((b"B", b"2"))
    assert fields.lines == [(b"A", b"1")]


def test_values_in_order() -> None:
    fields = Fields(LINES)
    assert fields.values(b"set-cookie") == (b"a=1", b"b=2", b"a=1")
    assert fields.values(b"host") == (b"h",)
    assert fields.values(b"x") == (b"",)
    assert fields.values(b"y") == ()


def test_first_value() -> None:
    fields = Fields(LINES)
    assert fields.first(b"set-cookie") == b"a=1"
    assert fields.first(b"host") == b"h"
    assert fields.first(b"x") == b""
    assert fields.first(b"y") == b""


def test_presence() -> None:
    fields = Fields(LINES)
    assert b"x" in fields
    assert b"set-cookie" in fields
    assert b"y" not in fields
    # Names are asked for in lower case.
    assert b"Host" not in fields
    assert b"host" not in Fields()


def test_index() -> None:
    assert Fields(LINES).index == {b"host": b"h", b"set-cookie": (b"a=1", b"b=2", b"a=1"), b"x": b""}


def test_equality_is_by_content() -> None:
    assert Fields(LINES) == Fields(LINES)
    assert Fields(LINES) != Fields(LINES[1:])
    assert Fields([(b"A", b"1")]) != Fields([(b"a", b"1")])
    assert Fields() != []
    assert End(Fields(LINES)) == End(Fields(LINES))
    assert End(Fields(LINES)) != END
    with pytest.raises(TypeError):
        hash(Fields())
    with pytest.raises(TypeError):
        hash(END)


@pytest.mark.parametrize(
    ("minor", "options", "kept"),
    [
        (1, frozenset(), True),
        (1, frozenset((b"keep-alive",)), True),
        (1, frozenset((b"close",)), False),
        (1, frozenset((b"keep-alive", b"close")), False),
        (0, frozenset(), False),
        (0, frozenset((b"keep-alive",)), False),
    ],
)
def test_persistence(minor: int, options: frozenset[bytes], kept: bool) -> None:
    """RFC 9112 section 9.3: a proxy keeps no HTTP/1.0 connection, whatever it asks for."""
    assert RequestHead(b"GET", b"/", minor, Fields(), 0, options).keep_alive is kept
    assert ResponseHead(200, b"OK", minor, Fields(), 5, options).keep_alive is kept


def test_response_until_close_is_the_last() -> None:
    """RFC 9112 section 6.3, rule 8."""
    assert not ResponseHead(200, b"OK", 1, Fields(), UNTIL_CLOSE).keep_alive
    assert ResponseHead(200, b"OK", 1, Fields(), CHUNKED).keep_alive


def test_representations() -> None:
    assert repr(Fields([(b"A", b"1")])) == "Fields([(b'A', b'1')])"
    assert repr(RequestHead(b"GET", b"/", 1, Fields())) == "<RequestHead b'GET' b'/' HTTP/1.1 length=0>"
    assert repr(ResponseHead(404, b"", 0, Fields(), CHUNKED)) == "<ResponseHead 404 HTTP/1.0 length=-1>"
    assert repr(END) == "End(Fields([]))"


def test_no_attribute_can_be_added() -> None:
    """These exist for each request: they have slots."""
    for instance in (Fields(), END, RequestHead(b"GET", b"/", 1, Fields()), ResponseHead(200, b"", 1, Fields())):
        assert not hasattr(instance, "__dict__")


def test_many_lines_of_one_name_are_linear() -> None:
    """Joined one by one the values would be copied each time: two thousand million copies, which take seconds."""
    lines = [(b"A", b"")] * (1 << 16)
    began = time.process_time()
    fields = Fields(lines)
    assert time.process_time() - began < 0.5
    assert len(fields.values(b"a")) == 1 << 16

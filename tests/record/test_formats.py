"""The lines of the access log, byte by byte."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.access.blocklists.lists import Listed
from twistedproxy.record.escaping import LONGEST
from twistedproxy.record.finished import FinishedExchange
from twistedproxy.record.formats import (
    AccessFormat,
    CombinedFormat,
    JSONFormat,
    JSONLine,
    SquidFormat,
    access_format,
)
from twistedproxy.routes.route import Route
from twistedproxy.settings.parents import ParentAddress

Make = Callable[..., FinishedExchange]

UNREADABLE: dict[str, Any] = {
    "kind": "answer",
    "method": b"",
    "url": b"",
    "version": b"",
    "status": 400,
    "upstream_address": "",
    "connect_seconds": -1.0,
    "first_byte_seconds": -1.0,
    "bytes_to_upstream": 0,
    "bytes_from_upstream": 0,
}
AGENT = b"Mozilla/5.0 (X11; Linux x86_64)"

OFFICE = Route("office", (ParentAddress("http", "proxy.example", 3128),))

SQUID_LINES: list[tuple[dict[str, Any], bytes]] = [
    (
        {},
        (
            b"1795421523.125     42 192.0.2.7 TCP_MISS/200 1270 GET http://origin.example/path?q=1 -"
            b" HIER_DIRECT/203.0.113.9 text/html\n"
        ),
    ),
    (
        {"finished_wall": 1795421523.0, "finished_at": 5012.3456, "user": b"alice", "response_fields": {}},
        (
            b"1795421523.000  12346 192.0.2.7 TCP_MISS/200 1270 GET http://origin.example/path?q=1 alice"
            b" HIER_DIRECT/203.0.113.9 -\n"
        ),
    ),
    (
        {
            "kind": "tunnel",
            "method": b"CONNECT",
            "url": b"origin.example:443",
            "upstream_address": "[2001:db8::1]:443",
            "client_address": "2001:db8::2",
            "finished_at": 6234.5678,
            "response_fields": {},
        },
        (
            b"1795421523.125 1234568 2001:db8::2 TCP_TUNNEL/200 1270 CONNECT origin.example:443 -"
            b" HIER_DIRECT/2001:db8::1 -\n"
        ),
    ),
    (
        {"kind": "answer", "status": 403, "upstream_address": "", "reason": "port_denied"},
        (
            b"1795421523.125     42 192.0.2.7 TCP_DENIED/403 1270 GET http://origin.example/path?q=1 -"
            b" HIER_NONE/- text/html port_denied\n"
        ),
    ),
    (
        {"kind": "answer", "status": 407, "upstream_address": "", "reason": "no_credentials"},
        (
            b"1795421523.125     42 192.0.2.7 TCP_DENIED/407 1270 GET http://origin.example/path?q=1 -"
            b" HIER_NONE/- text/html no_credentials\n"
        ),
    ),
    (
        {"kind": "answer", "status": 504, "reason": "first_byte_timeout"},
        (
            b"1795421523.125     42 192.0.2.7 NONE/504 1270 GET http://origin.example/path?q=1 -"
            b" HIER_DIRECT/203.0.113.9 text/html first_byte_timeout\n"
        ),
    ),
    (
        # The origin's own refusal is not the proxy's.
        {"status": 403},
        (
            b"1795421523.125     42 192.0.2.7 TCP_MISS/403 1270 GET http://origin.example/path?q=1 -"
            b" HIER_DIRECT/203.0.113.9 text/html\n"
        ),
    ),
    (
        {"status": 0, "bytes_to_client": 0, "response_fields": {}, "reason": "client_left"},
        (
            b"1795421523.125     42 192.0.2.7 TCP_MISS_ABORTED/000 0 GET http://origin.example/path?q=1 -"
            b" HIER_DIRECT/203.0.113.9 - client_left\n"
        ),
    ),
    (
        {"kind": "tunnel", "reason": "client_left"},
        (
            b"1795421523.125     42 192.0.2.7 TCP_TUNNEL_ABORTED/200 1270 GET http://origin.example/path?q=1 -"
            b" HIER_DIRECT/203.0.113.9 text/html client_left\n"
        ),
    ),
    (
        # From another proxy.
        {"route": OFFICE},
        (
            b"1795421523.125     42 192.0.2.7 TCP_MISS/200 1270 GET http://origin.example/path?q=1 -"
            b" FIRSTUP_PARENT/203.0.113.9 text/html\n"
        ),
    ),
    (
        {"route": OFFICE, "upstream_address": "", "status": 502, "reason": "parent_unreachable"},
        (
            b"1795421523.125     42 192.0.2.7 TCP_MISS/502 1270 GET http://origin.example/path?q=1 -"
            b" HIER_NONE/- text/html parent_unreachable\n"
        ),
    ),
    (
        {**UNREADABLE, "reason": "malformed_request"},
        (
            b"1795421523.125     42 192.0.2.7 NONE/400 1270 - error:malformed_request - HIER_NONE/- text/html"
            b" malformed_request\n"
        ),
    ),
    (
        UNREADABLE,
        b"1795421523.125     42 192.0.2.7 NONE/400 1270 - error:unreadable - HIER_NONE/- text/html\n",
    ),
    (
        {"url": b"http://alice:secret@origin.example/a@b"},
        (
            b"1795421523.125     42 192.0.2.7 TCP_MISS/200 1270 GET http://origin.example/a@b -"
            b" HIER_DIRECT/203.0.113.9 text/html\n"
        ),
    ),
    (
        {
            "url": b'http://origin.example/ x\r\n"\xff',
            "method": b"G ET\n",
            "user": b"al ice\n",
            "reason": "a b\n",
            "response_fields": {b"content-type": b" text/ht ml\n\x00\t; x"},
        },
        (
            b"1795421523.125     42 192.0.2.7 TCP_MISS/200 1270 G%20ET%0A http://origin.example/%20x%0D%0A%22%FF"
            b" al%20ice%0A HIER_DIRECT/203.0.113.9 text/ht%20ml%0A%00 a%20b%0A\n"
        ),
    ),
    (
        # The client of a Unix socket has no address.
        {"client_address": ""},
        (
            b"1795421523.125     42 - TCP_MISS/200 1270 GET http://origin.example/path?q=1 -"
            b" HIER_DIRECT/203.0.113.9 text/html\n"
        ),
    ),
]

COMBINED_LINES: list[tuple[dict[str, Any], bytes]] = [
    (
        {},
        (
            b'192.0.2.7 - - [23/Nov/2026:08:12:03 +0000] "GET http://origin.example/path?q=1 HTTP/1.1" 200 1270'
            b' "-" "-"\n'
        ),
    ),
    (
        {
            "user": b"alice",
            "request_fields": {b"referer": b"http://before.example/", b"user-agent": AGENT},
            "version": b"HTTP/1.0",
        },
        (
            b'192.0.2.7 - alice [23/Nov/2026:08:12:03 +0000] "GET http://origin.example/path?q=1 HTTP/1.0"'
            b' 200 1270 "http://before.example/" "Mozilla/5.0 (X11; Linux x86_64)"\n'
        ),
    ),
    (
        {
            "kind": "tunnel",
            "method": b"CONNECT",
            "url": b"origin.example:443",
            "client_address": "2001:db8::2",
        },
        (b'2001:db8::2 - - [23/Nov/2026:08:12:03 +0000] "CONNECT origin.example:443 HTTP/1.1" 200 1270 "-" "-"\n'),
    ),
    (
        {**UNREADABLE, "reason": "malformed_request"},
        b'192.0.2.7 - - [23/Nov/2026:08:12:03 +0000] "-" 400 1270 "-" "-"\n',
    ),
    (
        {**UNREADABLE, "method": b"GET"},
        b'192.0.2.7 - - [23/Nov/2026:08:12:03 +0000] "GET - -" 400 1270 "-" "-"\n',
    ),
    (
        {"status": 0, "bytes_to_client": 0, "reason": "client_left", "finished_wall": 1798761599.999},
        (b'192.0.2.7 - - [31/Dec/2026:23:59:59 +0000] "GET http://origin.example/path?q=1 HTTP/1.1" 000 0 "-" "-"\n'),
    ),
    (
        {
            "url": b"http://alice:secret@origin.example/",
            "request_fields": {b"referer": b"http://bob:secret@before.example/", b"user-agent": b"me@home"},
        },
        (
            b'192.0.2.7 - - [23/Nov/2026:08:12:03 +0000] "GET http://origin.example/ HTTP/1.1" 200 1270'
            b' "http://before.example/" "me@home"\n'
        ),
    ),
    (
        {
            "user": b'al "ice',
            "method": b"G ET",
            "url": b'http://origin.example/ \\"\r\n',
            "version": b"HTTP/1.1\x00",
            "request_fields": {b"referer": b'" 200 1 "', b"user-agent": b"a \\ b\x80\n"},
        },
        rb"192.0.2.7 - al\x20\x22ice [23/Nov/2026:08:12:03 +0000]"
        rb' "G\x20ET http://origin.example/\x20\x5C\x22\x0D\x0A HTTP/1.1\x00" 200 1270'
        rb' "\x22 200 1 \x22" "a \x5C b\x80\x0A"' + b"\n",
    ),
]

JSON_LINES: list[tuple[dict[str, Any], bytes]] = [
    (
        {"request_fields": {b"user-agent": AGENT}},
        (
            b'{"started":"2026-11-23T08:12:03.083Z","finished":"2026-11-23T08:12:03.125Z","seconds":0.042,'
            b'"connect_seconds":0.01,"first_byte_seconds":0.0305,"kind":"forward","client_address":"192.0.2.7",'
            b'"client_port":40000,"user":null,"method":"GET","url":"http://origin.example/path?q=1",'
            b'"version":"HTTP/1.1","status":200,"bytes_from_client":101,"bytes_to_client":1270,'
            b'"bytes_to_upstream":133,"bytes_from_upstream":1180,"upstream_address":"203.0.113.9:80","route":null,'
            b'"reused":false,"content_type":"text/html; charset=utf-8","referer":null,'
            b'"user_agent":"Mozilla/5.0 (X11; Linux x86_64)","reason":null,"detail":null,"rule":null,'
            b'"list":null,"category":null}\n'
        ),
    ),
    (
        {**UNREADABLE, "reason": "malformed_request", "detail": "the method is empty", "response_fields": {}},
        (
            b'{"started":"2026-11-23T08:12:03.083Z","finished":"2026-11-23T08:12:03.125Z","seconds":0.042,'
            b'"connect_seconds":null,"first_byte_seconds":null,"kind":"answer","client_address":"192.0.2.7",'
            b'"client_port":40000,"user":null,"method":null,"url":null,'
            b'"version":null,"status":400,"bytes_from_client":101,"bytes_to_client":1270,'
            b'"bytes_to_upstream":0,"bytes_from_upstream":0,"upstream_address":null,"route":null,'
            b'"reused":false,"content_type":null,"referer":null,'
            b'"user_agent":null,"reason":"malformed_request","detail":"the method is empty","rule":null,'
            b'"list":null,"category":null}\n'
        ),
    ),
    (
        {
            "url": b'http://alice:secret@origin.example/"\r\n\x00\x7f\x85\xff\\',
            "user": b"\xe4lice",
            "request_fields": {b"referer": b"http://bob:secret@before.example/"},
            "detail": "\u2028\udc80\U0001f600",
            "listed": Listed("ads", "", "a.example", True),
            "finished_at": 5000.1,
            "route": OFFICE,
            "reused": True,
        },
        (
            b'{"started":"2026-11-23T08:12:03.025Z","finished":"2026-11-23T08:12:03.125Z","seconds":0.1,'
            b'"connect_seconds":0.01,"first_byte_seconds":0.0305,"kind":"forward","client_address":"192.0.2.7",'
            b'"client_port":40000,"user":"\\u00e4lice","method":"GET",'
            b'"url":"http://origin.example/\\"\\r\\n\\u0000\\u007f\\u0085\\u00ff\\\\",'
            b'"version":"HTTP/1.1","status":200,"bytes_from_client":101,"bytes_to_client":1270,'
            b'"bytes_to_upstream":133,"bytes_from_upstream":1180,"upstream_address":"203.0.113.9:80","route":"office",'
            b'"reused":true,"content_type":"text/html; charset=utf-8","referer":"http://before.example/",'
            b'"user_agent":null,"reason":null,"detail":"\\u2028\\\\udc80\\ud83d\\ude00","rule":null,'
            b'"list":"ads","category":null}\n'
        ),
    ),
]


def test_names_of_users_are_utf_8_in_json(finished: Make) -> None:
    written = [JSONFormat()(finished(user=user)).decode() for user in ("Jörg".encode(), b"J\xf6rg", b"a\tb")]
    assert [
        '"user":"J\\u00f6rg"' in written[0],
        '"user":"J\\u00f6rg"' in written[1],
        '"user":"a\\tb"' in written[2],
    ] == [
        True,
        True,
        True,
    ]


@pytest.mark.parametrize(("changes", "line"), SQUID_LINES)
def test_squid(finished: Make, changes: dict[str, Any], line: bytes) -> None:
    assert SquidFormat()(finished(**changes)) == line


@pytest.mark.parametrize(("changes", "line"), COMBINED_LINES)
def test_combined(finished: Make, changes: dict[str, Any], line: bytes) -> None:
    assert CombinedFormat()(finished(**changes)) == line


@pytest.mark.parametrize(("changes", "line"), JSON_LINES)
def test_json(finished: Make, changes: dict[str, Any], line: bytes) -> None:
    assert JSONFormat()(finished(**changes)) == line


@pytest.mark.parametrize(
    ("lines", "name"), [(SQUID_LINES, "squid"), (COMBINED_LINES, "combined"), (JSON_LINES, "json")]
)
def test_a_format_with_warm_caches_writes_the_same(
    finished: Make, lines: list[tuple[dict[str, Any], bytes]], name: str
) -> None:
    format = access_format(name)
    for changes, line in lines * 2:
        assert format(finished(**changes)) == line


def test_formats_are_found_by_name() -> None:
    assert repr(access_format("squid")) == "<SquidFormat>"
    assert repr(access_format("combined")) == "<CombinedFormat>"
    assert repr(access_format("json")) == "<JSONFormat>"
    with pytest.raises(KeyError):
        access_format("Squid")


@pytest.mark.parametrize("name", ["squid", "combined", "json"])
def test_secret_fields_are_never_logged(finished: Make, name: str) -> None:
    secret = {
        b"authorization": b"Basic secret",
        b"proxy-authorization": b"Basic secret",
        b"cookie": b"secret=1",
        b"set-cookie": b"secret=1",
    }
    exchange = finished(
        url=b"http://secret:secret@origin.example/",
        request_fields={**secret, b"referer": b"http://secret:secret@origin.example/"},
        response_fields=secret,
    )
    assert b"secret" not in access_format(name)(exchange)


@pytest.mark.parametrize("name", ["squid", "combined", "json"])
def test_the_length_of_a_line_is_bounded(finished: Make, name: str) -> None:
    longest = b"http://origin.example/" + b"\xff" * 65536
    exchange = finished(
        url=longest,
        method=longest,
        user=longest,
        version=longest,
        reason="\xff" * 65536,
        detail="\U0001f600" * 65536,
        request_fields={b"referer": longest, b"user-agent": longest},
        response_fields={b"content-type": longest},
    )
    line = access_format(name)(exchange)
    assert len(line) < 9 * 6 * LONGEST
    assert line.count(b"...") >= 5


def test_a_clean_value_that_is_too_long_is_cut(finished: Make) -> None:
    exchange = finished(url=b"u" * (LONGEST + 1), request_fields={b"referer": b"r" * (LONGEST + 1)})
    assert SquidFormat()(exchange).split()[6] == b"u" * LONGEST + b"..."
    assert b'"GET ' + b"u" * LONGEST + b"... HTTP/1.1" in CombinedFormat()(exchange)
    assert b'"' + b"r" * LONGEST + b'..." "-"\n' in CombinedFormat()(exchange)
    assert json.loads(JSONFormat()(exchange))["url"] == "u" * LONGEST + "..."


def test_caches_do_not_grow_with_what_strangers_send(finished: Make) -> None:
    for format in (SquidFormat(), CombinedFormat(), JSONFormat()):
        for number in range(3000):
            format(
                finished(
                    method=b"M%d" % number,
                    finished_wall=1795421523.0 + number,
                    client_address=f"192.0.2.{number}",
                    upstream_address=f"203.0.113.{number}:80",
                    response_fields={b"content-type": b"a/%d" % number},
                )
            )
        caches = [getattr(format, name) for name in type(format).__slots__]
        assert max(len(cache) for cache in caches if isinstance(cache, dict)) <= 1024


# ---------------------------------------------------------------- whatever is sent

HOSTILE = st.one_of(
    st.binary(max_size=40),
    st.text(alphabet=" \"'\\\r\n\t\0%@:/?#[]{}ab\x7f\x80\xff", max_size=20).map(lambda text: text.encode("latin-1")),
    st.sampled_from([b"", b"GET", b"http://u:p@h/"]),
)
TEXT = st.one_of(st.sampled_from(["", "client_left", "denied"]), st.text(max_size=20), st.just("\ud800\n"))
COUNT = st.integers(0, 2**63)
PHASE = st.one_of(st.just(-1.0), st.floats(0.0, 1e6))


@st.composite
def hostile_exchanges(draw: st.DrawFn) -> dict[str, Any]:
    started = draw(st.floats(0.0, 1e9))
    return {
        "kind": draw(st.sampled_from(["forward", "tunnel", "intercept", "answer"])),
        "client_address": draw(TEXT),
        "client_port": draw(st.integers(0, 65535)),
        "user": draw(HOSTILE),
        "method": draw(HOSTILE),
        "url": draw(HOSTILE),
        "version": draw(HOSTILE),
        "status": draw(st.integers(0, 999)),
        "bytes_from_client": draw(COUNT),
        "bytes_to_client": draw(COUNT),
        "bytes_to_upstream": draw(COUNT),
        "bytes_from_upstream": draw(COUNT),
        "started_at": started,
        "finished_at": started + draw(st.floats(0.0, 1e7)),
        "finished_wall": draw(st.floats(1e9, 1e10)),
        "connect_seconds": draw(PHASE),
        "first_byte_seconds": draw(PHASE),
        "upstream_address": draw(TEXT),
        "reused": draw(st.booleans()),
        "reason": draw(TEXT),
        "detail": draw(TEXT),
        "request_fields": {b"referer": draw(HOSTILE), b"user-agent": draw(HOSTILE)},
        "response_fields": {b"content-type": draw(HOSTILE)},
    }


def written(format: AccessFormat, exchange: FinishedExchange) -> str:
    """The line without its newline, which is whole, and printable ASCII."""
    line = format(exchange)
    assert line.endswith(b"\n")
    text = line[:-1].decode("ascii")
    assert text.isprintable()
    return text


@given(hostile_exchanges())
def test_a_squid_line_has_ten_columns_or_eleven(finished: Make, changes: dict[str, Any]) -> None:
    columns = written(SquidFormat(), finished(**changes)).split()
    assert len(columns) == (11 if changes["reason"] else 10)
    assert not any('"' in column for column in columns)
    assert re.fullmatch(r"[A-Z_]+/\d{3}", columns[3])


COMBINED = re.compile(
    r'[^ "]+ - [^ "]+ \[\d\d/[A-Z][a-z][a-z]/\d{4}:\d\d:\d\d:\d\d \+0000\] '
    r'"(?:-|[^ "]+ [^ "]+ [^ "]+)" \d{3} \d+ "[^"]+" "[^"]+"'
)


@given(hostile_exchanges())
def test_a_combined_line_has_its_parts_and_no_others(finished: Make, changes: dict[str, Any]) -> None:
    line = written(CombinedFormat(), finished(**changes))
    assert COMBINED.fullmatch(line)
    assert line.count('"') == 6
    assert re.sub(r"\\x[0-9A-F]{2}", "", line.partition(" ")[2]).count("\\") == 0


@given(hostile_exchanges())
def test_a_json_line_is_one_object_with_all_members(finished: Make, changes: dict[str, Any]) -> None:
    exchange = finished(**changes)
    line = written(JSONFormat(), exchange)
    members = msgspec.json.decode(line, type=JSONLine, strict=True)
    assert list(json.loads(line)) == list(JSONLine.__struct_fields__)
    finished_at = datetime.fromisoformat(members.finished)
    assert finished_at.tzinfo is UTC
    assert abs(finished_at.timestamp() - exchange.finished_wall) <= 0.001
    assert members.seconds == pytest.approx(exchange.finished_at - exchange.started_at, abs=1e-6)
    assert (members.method or "").encode("latin-1") == exchange.method
    assert (members.user or "").encode("latin-1") == exchange.user
    assert members.status == exchange.status
    assert members.bytes_to_client == exchange.bytes_to_client

"""The line of each key, found by asking tomllib about pieces."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.settings.locate import Places

DOCUMENT = '''\
# A comment = 1

[downstream]
max_fields = 64  # [not] a table
"head_timeout" = "5s"
listen = [
    # "tcp:1",
    "tcp:80", "tcp:81",

    """tcp
:82""",
    "tcp:83"]
  [ log ]
access = """
[upstream]
max_idle = 3
"""
level = 'info'
[upstream]
  tls_timeout =   3
[access]
clients = ["a]",
  "b"
  , "c"]
connect_ports = [ 443 ]
[tunnel.inner]
splice = true
[[resolver]]
ttl = 1
[[resolver]]
threads = 1
'''

DOTTED = """\
upstream.connect_timeout = 1
upstream . "max_idle" = 2
access = { clients = ["x", "y"] }
log.deep.deeper = 3
top = 1
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("downstream", 3),
        ("downstream.max_fields", 4),
        ("downstream.head_timeout", 5),
        ("downstream.listen", 6),
        ("log", 13),
        ("log.access", 14),
        ("log.level", 18),
        ("upstream", 19),
        ("upstream.max_idle", None),
        ("upstream.tls_timeout", 20),
        ("access.clients", 22),
        ("access.connect_ports", 25),
        ("tunnel", 26),
        ("tunnel.inner", 26),
        ("resolver", 28),
        ("resolver.ttl", 29),
        ("resolver.threads", 31),
        ("nowhere", None),
    ],
)
def test_where_each_key_stands(path: str, line: int | None) -> None:
    assert Places(DOCUMENT).line(path.split(".")) == line


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("upstream", 1),
        ("upstream.connect_timeout", 1),
        ("upstream.max_idle", 2),
        ("access", 3),
        ("access.clients", 3),
        ("log.deep", 4),
        ("top", 5),
    ],
)
def test_where_keys_without_headers_stand(path: str, line: int) -> None:
    assert Places(DOTTED).line(path.split(".")) == line


@pytest.mark.parametrize(
    ("path", "entry", "line"),
    [
        ("downstream.listen", 0, 8),
        ("downstream.listen", 1, 8),
        # An entry of several lines cannot be told apart, nor what follows it: the list's own line.
        ("downstream.listen", 2, 6),
        ("downstream.listen", 3, 6),
        ("access.clients", 0, 22),
        ("access.clients", 1, 23),
        ("access.clients", 2, 22),
        ("access.clients", 9, 22),
        ("access.connect_ports", 0, 25),
        ("log.level", 0, 18),
        ("nowhere", 0, None),
    ],
)
def test_where_the_entries_of_a_list_stand(path: str, entry: int, line: int | None) -> None:
    assert Places(DOCUMENT).entry_line(path.split("."), entry) == line


def test_the_last_entry_may_close_the_list() -> None:
    places = Places('a = ["x",\n"y",\n"z"]\n')
    assert [places.entry_line(["a"], entry) for entry in range(4)] == [1, 2, 3, 1]


VALUES = st.one_of(
    st.sampled_from(["1", "1.5", "true", '"text"', "'[x]'", '"""one"""', "[1, 2]", "{ a = 1, b = [2] }", "07:32:00"]),
    st.sampled_from(['"""\n[x]\ny = 1\n"""', "'''\n'''", "[\n]", "[\n  1, # ]\n  2,\n]", '[\n"""\n]\n""",\n[1]]']),
)
STATEMENTS = st.lists(
    st.one_of(
        st.tuples(st.just("key"), VALUES),
        st.just(("table", "")),
        st.sampled_from(["", "   ", "# [x]", "#"]).map(lambda text: ("blank", text)),
    ),
    max_size=12,
)


def document(statements: list[tuple[str, str]]) -> tuple[str, dict[tuple[str, ...], int]]:
    """A document of these statements, and the line of each key by construction."""
    lines: list[str] = []
    places: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, (what, text) in enumerate(statements):
        if what == "table":
            table = (f"t{number}",)
            places[table] = len(lines) + 1
            text = f"[{table[0]}]"
        elif what == "key":
            places[*table, f"k{number}"] = len(lines) + 1
            text = f"k{number} = {text}"
        lines += text.split("\n")
    return "\n".join(lines), places


@given(STATEMENTS)
def test_every_key_of_every_document_is_found(statements: list[tuple[str, str]]) -> None:
    text, expected = document(statements)
    places = Places(text)
    assert {path: places.line(path) for path in expected} == expected


def paths(tables: dict[str, Any]) -> set[tuple[str, ...]]:
    inner = {(name, key) for name, value in tables.items() if isinstance(value, dict) for key in value}
    return inner | {(name,) for name in tables}


def first_prefix_with(text: str, path: tuple[str, ...]) -> int:
    """The smallest number of lines that tomllib takes and that have the key."""
    lines = text.split("\n")
    for count in range(1, len(lines) + 1):
        try:
            tables = tomllib.loads("\n".join(lines[:count]))
        except tomllib.TOMLDecodeError:
            continue
        if path in paths(tables):
            return count
    raise AssertionError(f"no {path} in {text!r}")


@given(STATEMENTS.map(lambda all: [(what, text.replace("\n", " ")) for what, text in all if '"""\n' not in text]))
def test_for_keys_of_one_line_it_is_the_first_prefix_that_has_them(statements: list[tuple[str, str]]) -> None:
    text, _ = document([(what, text) for what, text in statements if "#" not in text or what == "blank"])
    places = Places(text)
    for path in paths(tomllib.loads(text)):
        assert places.line(path) == first_prefix_with(text, path)


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The length of every text that is given to tomllib."""
    lengths: list[int] = []
    loads = tomllib.loads

    def counting(text: str) -> dict[str, Any]:
        lengths.append(len(text))
        return loads(text)

    monkeypatch.setattr(tomllib, "loads", counting)
    return lengths


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("".join(f"[t{n}]\nk = {n}\n" for n in range(5000)), ("t4999", "k"), 10_000),
        ("a = [\n" + '  "10.0.0.0/8",\n' * 10_000 + "]\nb = 1\n", ("b",), 10_003),
        ('a = """\n' + "[x]\n" * 100 + '"""\n' + "b = 1\n", ("b",), 103),
    ],
    ids=["many keys", "one long list", "one long string"],
)
def test_the_work_grows_with_the_text(parsed: list[int], text: str, path: tuple[str, ...], line: int) -> None:
    assert Places(text).line(path) == line
    assert sum(parsed) < max(3 * len(text), 1 << 18)


def test_the_work_is_cut_off_where_it_would_grow_with_the_square(parsed: list[int]) -> None:
    text = "first = 1\na = [\n" + "  [1],\n" * 20_000 + "]\nb = 1\n"
    places = Places(text)
    assert places.line(["first"]) == 1
    assert places.line(["b"]) is None
    assert sum(parsed) < 4 * len(text) + (1 << 18)


def test_places_can_be_looked_at() -> None:
    assert repr(Places("[a]\nb = 1\n")) == "<Places keys=2 lines=3>"

"""The fuzzer finds what was hidden for it, makes it small, and gives it in a form that can be given back."""

from __future__ import annotations

import ast
from random import Random

import pytest

from tests.fuzz import invariants
from tests.fuzz.__main__ import as_literal
from tests.fuzz.engine import TARGETS, Finding, Fuzzer, failure, minimized
from twistedproxy.http import forwarding, reader, websocket
from twistedproxy.http.message import FieldLine


def first_finding(name: str, most: int) -> Finding:
    fuzzer = Fuzzer(TARGETS[name], Random(1))
    for _ in range(most):
        finding = fuzzer.step()
        if finding is not None:
            return finding
    raise AssertionError(f"nothing found: {fuzzer!r}")


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_is_found_in_the_readers_as_they_are(name: str) -> None:
    fuzzer = Fuzzer(TARGETS[name], Random(7))
    assert [fuzzer.step() for _ in range(300)] == [None] * 300
    assert len(fuzzer.corpus) > 12
    assert repr(fuzzer).startswith(f"<Fuzzer {name} executions=300 corpus=")


def test_runs_are_repeatable() -> None:
    corpora = []
    for _ in range(2):
        fuzzer = Fuzzer(TARGETS["requests"], Random(3))
        for _ in range(100):
            fuzzer.step()
        corpora.append(fuzzer.corpus)
    assert corpora[0] == corpora[1]


def test_another_exception_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def take(self: reader.RequestReader) -> bytes:
        raise IndexError("planted")

    monkeypatch.setattr(reader.RequestReader, "_next_sized", take)
    finding = first_finding("requests", 300)
    assert "IndexError: planted" in finding.report
    assert len(finding.data) < 120
    assert b"ontent-" in finding.data


def test_smuggling_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def lines(*arguments: object) -> list[FieldLine]:
        # A second field that frames gets through, now and then.
        written = forwarding.forwarded_request_lines(*arguments)  # type: ignore[arg-type]  # whatever it was called with
        return [*written, (b"Content-Length", b"1")] if (b"TE", b"trailers") in written else written

    monkeypatch.setattr(invariants, "forwarded_request_lines", lines)
    finding = first_finding("requests", 2000)
    assert "AssertionError" in finding.report
    assert b"te:" in finding.data.lower()


def test_a_difference_between_splits_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    receive = reader.ResponseReader.receive

    def receive_wrongly(self: reader.ResponseReader, data: bytes) -> None:
        receive(self, data.replace(b"hello", b"jello"))

    monkeypatch.setattr(reader.ResponseReader, "receive", receive_wrongly)
    finding = first_finding("responses", 300)
    assert b"hello" in finding.data
    assert failure(finding.target, finding.data) == finding.report
    monkeypatch.undo()
    assert failure(finding.target, finding.data) == ""


def test_a_message_that_is_lost_in_a_split_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    feed = websocket.MessageReader.feed

    def feed_wrongly(self: websocket.MessageReader, data: bytes) -> list[websocket.Message]:
        return [one for one in feed(self, data) if len(data) > 1 or one.kind != "ping"]

    monkeypatch.setattr(websocket.MessageReader, "feed", feed_wrongly)
    finding = first_finding("websocket", 300)
    assert 0x89 in finding.data
    assert len(finding.data) < 30


def test_minimized() -> None:
    tried = []

    def fails(data: bytes) -> bool:
        tried.append(data)
        return b"a" in data and data.count(b"\n") > 1

    assert sorted(minimized(b"xyz\n" * 50 + b"bab\n" * 3, fails)) == sorted(b"\n\na")
    assert minimized(b"", fails) == b""
    tried.clear()
    minimized(b"ab\n" * 1000, fails, attempts=20)
    assert len(tried) == 20


@pytest.mark.parametrize(
    "data", [b"", b"'", b'"', b"\\", b"\\'", b'\\"', b"'\"'", b"GET / HTTP/1.1\r\n\x00\xff", bytes(range(256))]
)
def test_literal(data: bytes) -> None:
    """Between the single quotes of a shell, as the report has it."""
    literal = as_literal(data)
    assert ast.literal_eval(literal) == data
    assert "'" not in literal
    assert "\n" not in literal

"""The log of messages: a line for each."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from twisted.internet.task import Clock

from twistedproxy.http.websocket import Message
from twistedproxy.record.discreet import Discretion
from twistedproxy.record.log_file import LogFile
from twistedproxy.record.message_log import MessageLine, MessageLog


@dataclass
class Policy:
    logged_content: int = 100
    discretion: Discretion = field(default_factory=Discretion)

    def logs_messages_of(self, host: str) -> bool:
        return host == "chat.example"


@dataclass
class Numbered:
    number: int = 17
    stream: int = 0


@dataclass
class Watched:
    """An exchange that has become a WebSocket."""

    url: bytes = b"http://chat.example/room?name=me"
    client_address: str = "192.0.2.7"
    client_port: int = 40000
    snapshot: Policy = field(default_factory=Policy)
    downstream: Numbered = field(default_factory=Numbered)


class Written:
    """A log, and what it has written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = LogFile(str(path), Clock())
        self.file.open()
        self.log = MessageLog(3, lambda: 1_800_000_000.0625)
        self.log.go_on_in(self.file)

    @property
    def text(self) -> str:
        self.file.flush()
        return self.path.read_text(encoding="ascii")

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Written]:
    made = Written(tmp_path / "websocket.log")
    yield made
    made.log.go_on_in(None)


def test_line(written: Written) -> None:
    written.log.message(Watched(), "from_client", Message("text", b'say "hi"', 8, 10, 2, compressed=True))
    assert written.text == (
        '{"time":"2027-01-15T08:00:00.063Z","connection":"3-17","stream":null,"client_address":"192.0.2.7","client_port":40000,'
        '"url":"http://chat.example/room?name=me","direction":"from_client","kind":"text","length":8,'
        '"payload_length":10,"frames":2,"compressed":true,"code":null,"content":"say \\"hi\\"","encoding":null,'
        '"truncated":false,"reason":null}\n'
    )
    assert list(written.lines[0]) == [one.name for one in msgspec.structs.fields(MessageLine)]


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (Message("text", "Grüße\n\x00\x7f".encode(), 10, 10, 1), {"content": "Grüße\n\x00\x7f", "encoding": None}),
        (Message("text", b"\xff\xfe", 2, 2, 1), {"content": "\ufffd\ufffd", "encoding": None}),
        (Message("text", b"", 0, 0, 1), {"content": "", "encoding": None, "length": 0}),
        (Message("binary", b"\x00\xff\n", 3, 3, 1), {"content": "AP8K", "encoding": "base64"}),
        (Message("binary", b"", 0, 0, 1), {"content": None, "encoding": None}),
        (Message("ping", b"?", 1, 1, 1), {"content": "Pw==", "encoding": "base64"}),
        (Message("close", b"\x03\xe8bye", 5, 5, 1), {"content": "bye", "code": 1000, "encoding": None}),
        (Message("close", b"", 0, 0, 1), {"content": "", "code": None}),
        (Message("text", b"\xf2H", 2, 2, 1, opaque=True), {"content": "8kg=", "encoding": "base64"}),
    ],
)
def test_content(written: Written, message: Message, told: dict[str, Any]) -> None:
    """Text as it is, everything else in base64; and always one line of printable ASCII."""
    written.log.message(Watched(), "from_upstream", message)
    text = written.text
    assert text.count("\n") == 1
    assert text.rstrip("\n").isprintable()
    line = written.lines[0]
    assert {name: line[name] for name in told} == told
    assert (line["direction"], line["kind"], line["truncated"]) == ("from_upstream", message.kind, False)


@pytest.mark.parametrize("most", [0, 3, 100])
def test_content_beyond_the_bound(written: Written, most: int) -> None:
    """Also when it was read for somebody who wants more."""
    watched = Watched(snapshot=Policy(most))
    written.log.message(watched, "from_client", Message("binary", b"x" * 100, 1000, 1000, 1))
    written.log.message(watched, "from_client", Message("text", "ü".encode() * 50, 100, 100, 1))
    binary, text = written.lines
    assert base64.b64decode(binary["content"] or "") == b"x" * most
    assert text["content"] == "ü" * (most // 2)
    assert (binary["truncated"], text["truncated"]) == (True, most < 100)
    assert (binary["length"], text["length"]) == (1000, 100)


def test_stream_of_a_client_of_http_2(written: Written) -> None:
    watched = Watched(downstream=Numbered(17, 5))
    written.log.message(watched, "from_client", Message("text", b"", 0, 0, 1))
    assert (written.lines[0]["connection"], written.lines[0]["stream"]) == ("3-17", 5)


def test_unreadable(written: Written) -> None:
    written.log.unreadable(Watched(), "from_client", "Invalid opcode 0x3")
    line = written.lines[0]
    assert (line["kind"], line["reason"], line["length"], line["content"]) == (
        "unreadable",
        "Invalid opcode 0x3",
        None,
        None,
    )


def test_url_is_made_safe(written: Written) -> None:
    url = b"http://me:secret@chat.example/\xff\n" + b"x" * 10_000
    written.log.message(Watched(url=url), "from_client", Message("text", b"", 0, 0, 1))
    told = written.lines[0]["url"]
    assert told.startswith("http://chat.example/\xff\nx")
    assert len(told) == 8192 + 3
    assert "secret" not in written.text


def test_wants(written: Written) -> None:
    assert written.log.wants(Watched(), "chat.example") == 100
    assert written.log.wants(Watched(snapshot=Policy(0)), "chat.example") == 0
    assert written.log.wants(Watched(), "other.example") is None
    written.log.go_on_in(None)
    assert written.log.wants(Watched(), "chat.example") is None


def test_another_file_takes_over(written: Written, tmp_path: Path) -> None:
    """For WebSockets under way too; and none is written to when it is switched off."""
    message = Message("text", b"x", 1, 1, 1)
    written.log.message(Watched(), "from_client", message)
    other = LogFile(str(tmp_path / "other.log"), Clock())
    other.open()
    written.log.go_on_in(other)
    written.log.message(Watched(), "from_client", message)
    written.log.go_on_in(None)
    written.log.message(Watched(), "from_client", message)
    written.log.unreadable(Watched(), "from_client", "x")
    written.log.reopen()
    assert [path.read_text().count("\n") for path in (written.path, tmp_path / "other.log")] == [1, 1]
    assert written.log.lost_lines == 0
    assert repr(written.log) == "<MessageLog None>"


def test_lost_lines_of_all_files(written: Written) -> None:
    written.file.lost_lines = 2
    assert written.log.lost_lines == 2
    written.log.go_on_in(None)
    assert written.log.lost_lines == 2


def test_reopen(written: Written) -> None:
    written.path.rename(written.path.with_suffix(".1"))
    written.log.reopen()
    assert written.path.read_text() == ""

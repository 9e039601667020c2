"""gRPC through interception: HTTP/2 on both sides, streams in both directions, and the status in the trailers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import grpc
import pytest

from tests.live.daemon import PATIENCE, Daemon, awaited
from tests.live.intercepting import started
from tests.live.origin import Authority

SERVER = Path(__file__).with_name("grpc_server.py")


class Service:
    """What a client has of the server, through the proxy."""

    def __init__(self, daemon: Daemon, port: int) -> None:
        exported = daemon.control("ca", "export")
        assert exported.returncode == 0, exported
        credentials = grpc.ssl_channel_credentials(exported.stdout.encode())
        self.daemon = daemon
        self.channel = grpc.secure_channel(
            f"localhost:{port}", credentials, options=[("grpc.http_proxy", daemon.url), ("grpc.enable_retries", 0)]
        )
        # It has its sockets from now on.
        grpc.channel_ready_future(self.channel).result(PATIENCE)

    def method(self, kind: str, name: str) -> Any:
        """A method of the server's."""
        return getattr(self.channel, kind)(f"/test.Bytes/{name}")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Service]:
    server = subprocess.Popen(
        [sys.executable, str(SERVER), str(authority.leaf)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert server.stdout is not None
    port = int(server.stdout.readline())
    daemon = started(tmp_path_factory.mktemp("grpc"), authority)
    made = Service(daemon, port)
    yield made
    made.channel.close()
    daemon.stop()
    server.communicate()
    assert server.returncode == 0


@pytest.mark.parametrize("size", [0, 5, 3_000_000])
def test_a_question_and_its_answer(service: Service, size: int) -> None:
    message = b"m" * size
    answer, call = service.method("unary_unary", "echo").with_call(
        message, metadata=(("x-ask", "something"),), timeout=PATIENCE
    )
    assert answer == message
    assert dict(call.trailing_metadata()) == {"x-asked": "something", "x-bytes-bin": b"\x00\xff"}
    assert call.code() is grpc.StatusCode.OK


def test_a_status_that_is_no_success(service: Service) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        service.method("unary_unary", "refuse")(b"", timeout=PATIENCE)
    assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert raised.value.details() == "not today: ü"


def test_a_stream_of_answers(service: Service) -> None:
    answers = service.method("unary_stream", "count")(b"1000", timeout=PATIENCE)
    assert list(answers) == [b"%d" % number for number in range(1000)]


def test_a_stream_of_messages(service: Service) -> None:
    messages = (b"x" * 10_000 for _ in range(300))
    assert service.method("stream_unary", "total")(messages, timeout=PATIENCE) == b"3000000"


def test_a_conversation(service: Service) -> None:
    """Each message is answered before the next is sent: nothing is held back on the way."""
    said: SimpleQueue[bytes | None] = SimpleQueue()
    answers = service.method("stream_stream", "chat")(iter(said.get, None), timeout=PATIENCE)
    for number in range(20):
        said.put(b"message %d" % number)
        assert next(answers) == b"MESSAGE %d" % number
    said.put(None)
    assert list(answers) == []
    assert answers.code() is grpc.StatusCode.OK


def test_many_at_once(service: Service) -> None:
    calls = [service.method("unary_unary", "echo").future(b"%d" % number, timeout=PATIENCE) for number in range(100)]
    assert [call.result() for call in calls] == [b"%d" % number for number in range(100)]


def test_one_that_is_cancelled_leaves_the_others(service: Service) -> None:
    said: SimpleQueue[bytes | None] = SimpleQueue()
    answers = service.method("stream_stream", "chat")(iter(said.get, None), timeout=PATIENCE)
    said.put(b"hello")
    assert next(answers) == b"HELLO"
    answers.cancel()
    said.put(None)
    assert service.method("unary_unary", "echo")(b"still here", timeout=PATIENCE) == b"still here"


def test_it_was_looked_into(service: Service) -> None:
    service.method("unary_unary", "echo")(b"once more", timeout=PATIENCE)
    entry = awaited(
        lambda: next((e for e in map(json.loads, service.daemon.lines_so_far()) if e["method"] == "POST"), None),
        "a line in the access log",
    )
    assert entry is not None
    assert (entry["version"], entry["status"], entry["url"].endswith("/test.Bytes/echo")) == ("HTTP/2.0", 200, True)

"""``scripts/bench``: its load inside tunnels sees what is wrong, and its page keeps what is measured apart."""

from __future__ import annotations

import socket
import ssl
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from scripts.benchmark.http2_client import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW,
    WINDOW_UPDATE,
    HTTP2Client,
    Unexpected,
    frame,
)
from scripts.benchmark.sections import Section

SCRIPTS = Path(__file__).parents[1] / "scripts"
BODY = (b"0123456789abcdef" * 7)[:100]
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + BODY


# ---------------------------------------------------------------- HTTP/2


@pytest.fixture
def client() -> HTTP2Client:
    """One that has sent its first request, on stream 1."""
    client = HTTP2Client("localhost:1", "/100", BODY)
    assert client.opening().startswith(PREFACE + b"\0\0\x12\x04\0\0\0\0\0")
    assert client.request().endswith(b"\x04\x04/100\x00\x0auser-agent\x06load/1\x00\x06accept\x03*/*")
    return client


def test_http2_request_has_an_odd_stream_each(client: HTTP2Client) -> None:
    assert client.request()[3:9] == bytes((HEADERS, END_STREAM | END_HEADERS, 0, 0, 0, 3))
    assert client.request()[3:9] == bytes((HEADERS, END_STREAM | END_HEADERS, 0, 0, 0, 5))


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_http2_response_in_pieces(client: HTTP2Client, size: int) -> None:
    client.request()
    said = frame(SETTINGS, 0, 0) + frame(HEADERS, END_HEADERS, 3, b"\x20\x88") + frame(HEADERS, 0, 1, b"\x88")
    said += frame(CONTINUATION, END_HEADERS, 1, b"\x5c\x01") + frame(DATA, 0, 1, BODY[:40]) + frame(0xFA, 0, 1, b"?")
    said += frame(DATA, END_STREAM, 3, BODY) + frame(PING, 0, 0, b"12345678")
    said += frame(DATA, END_STREAM | PADDED, 1, b"\x02" + BODY[40:] + b"\0\0")
    assert sum(client.feed(said[at : at + size]) for at in range(0, len(said), size)) == 2
    assert client.reply == frame(SETTINGS, ACK, 0) + frame(PING, ACK, 0, b"12345678")


@pytest.mark.parametrize(
    "said",
    [
        frame(HEADERS, END_HEADERS, 1, b"\x8d"),  # 404
        frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x88"),
        frame(HEADERS, END_HEADERS, 1, b"\x88") + frame(DATA, END_STREAM, 1, BODY[1:]),
        frame(HEADERS, END_HEADERS, 1, b"\x88") + frame(DATA, END_STREAM, 1, BODY.upper()),
        frame(HEADERS, END_HEADERS, 1, b"\x88") + frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x88"),
        frame(HEADERS, END_HEADERS, 3, b"\x88"),
        frame(DATA, 0, 1, BODY),
        frame(HEADERS, 0, 1, b"\x88") + frame(DATA, 0, 1, BODY),
        frame(CONTINUATION, END_HEADERS, 1),
        frame(RST_STREAM, 0, 1, b"\0\0\0\x02"),
        frame(GOAWAY, 0, 0, bytes(8)),
    ],
)
def test_http2_sees_what_is_wrong(client: HTTP2Client, said: bytes) -> None:
    with pytest.raises(Unexpected):
        client.feed(said)


def test_http2_opens_the_window_again(client: HTTP2Client) -> None:
    client.feed(frame(HEADERS, END_HEADERS, 1, b"\x88"))
    piece = frame(DATA, 0, 1, bytes(2**20))
    received = 0
    while not client.reply:
        client._received[1] = bytearray()
        client.feed(piece)
        received += 2**20
    assert WINDOW // 2 < received < WINDOW
    assert client.reply == frame(WINDOW_UPDATE, 0, 0, struct.pack(">L", received))


# ---------------------------------------------------------------- the load, and what it must not take


class Proxy:
    """Opens a tunnel to anywhere, and gives each request in it the same answer."""

    def __init__(self, authority: trustme.CA, answer: bytes, status: bytes = b"200 OK") -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost", "127.1.0.1", "127.1.0.2").configure_cert(self._context)
        self._answer = answer
        self._status = status
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.asked: list[bytes] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            if self._listening.fileno() < 0 or not (head := connection.recv(4096)):
                connection.close()
                return
            self.asked.append(head.split(b"\r\n")[0])
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.sendall(b"HTTP/1.1 " + self._status + b"\r\n\r\n")
            try:
                with self._context.wrap_socket(connection, server_side=True) as secured:
                    while secured.recv(4096):
                        secured.sendall(self._answer)
            except OSError:
                return

    def stop(self) -> None:
        # A connection without a word is the end.
        socket.create_connection(("127.0.0.1", self.port)).close()
        for thread in self._threads:
            thread.join()
        self._listening.close()


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


Started = Callable[..., Proxy]


@pytest.fixture
def proxy(authority: trustme.CA) -> Iterator[Started]:
    made: list[Proxy] = []

    def start(answer: bytes = GOOD, status: bytes = b"200 OK") -> Proxy:
        made.append(Proxy(authority, answer, status))
        return made[-1]

    yield start
    for one in made:
        one.stop()


def load(proxy: Proxy, authority: trustme.CA, directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    trusted = directory / "trusted.pem"
    authority.cert_pem.write_to_path(trusted)
    command = [sys.executable, "-m", "benchmark.tls_load", *options]
    command += ["--proxy", str(proxy.port), "--origin", "443", "--authority", str(trusted)]
    return subprocess.run(command, cwd=SCRIPTS, input="\n", capture_output=True, text=True, check=False, timeout=60)


GET = ("get", "--count", "20", "--concurrent", "3")


def test_load_of_kept_connections(proxy: Started, authority: trustme.CA, tmp_path: Path) -> None:
    good = proxy()
    done = load(good, authority, tmp_path, *GET)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('ready\n{"done": 20, "seconds": ')
    assert good.asked == [b"CONNECT localhost:443 HTTP/1.1"] * 3


def test_load_of_new_connections(proxy: Started, authority: trustme.CA, tmp_path: Path) -> None:
    good = proxy()
    for options, asked in (((), [b"127.1.0.1"] * 2), (("--first", "0"), [b"127.1.0.1", b"127.1.0.2"])):
        good.asked.clear()
        done = load(good, authority, tmp_path, "connections", "--count", "2", "--concurrent", "2", *options)
        assert done.returncode == 0, done.stderr
        assert sorted(good.asked) == [b"CONNECT " + one + b":443 HTTP/1.1" for one in asked]


def test_load_of_downloads(proxy: Started, authority: trustme.CA, tmp_path: Path) -> None:
    body = b"0123456789abcdef" * 10_000
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body)
    options = ("download", "--count", "3", "--concurrent", "2")
    assert load(proxy(head + body), authority, tmp_path, *options).returncode == 0
    done = load(proxy(head + body[:-1] + b"?"), authority, tmp_path, *options)
    assert done.returncode == 1
    assert "not the body that was to come" in done.stderr


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (GOOD.replace(b"200", b"502"), "the proxy answered"),
        (GOOD.replace(b"100", b"99"), "the proxy answered"),
        (GOOD.upper(), "not the body that was to come"),
    ],
)
def test_load_sees_a_wrong_answer(
    proxy: Started, authority: trustme.CA, tmp_path: Path, answer: bytes, said: str
) -> None:
    done = load(proxy(answer), authority, tmp_path, *GET)
    assert done.returncode == 1
    assert said in done.stderr


def test_load_sees_a_refused_tunnel(proxy: Started, authority: trustme.CA, tmp_path: Path) -> None:
    done = load(proxy(status=b"403 Forbidden"), authority, tmp_path, *GET)
    assert "ConnectionError: the proxy answered" in done.stderr


def test_load_trusts_the_proxys_authority_alone(proxy: Started, tmp_path: Path) -> None:
    done = load(proxy(), trustme.CA(), tmp_path, *GET)
    assert "CERTIFICATE_VERIFY_FAILED" in done.stderr


def test_load_wants_the_version_that_it_asks_for(proxy: Started, authority: trustme.CA, tmp_path: Path) -> None:
    done = load(proxy(), authority, tmp_path, *GET, "--protocol", "h2")
    assert "the proxy does not speak h2" in done.stderr


# ---------------------------------------------------------------- the page


def test_sections_are_replaced_and_kept() -> None:
    one, other = Section("<!-- one -->", "<!-- /one -->"), Section("<!-- other -->", "<!-- /other -->")
    page = f"head\n\n{one.kept('')}\n\n{other.kept('')}\n\ntail"
    page = other.replaced(one.replaced(page, "first"), "second")
    page = one.replaced(page, "third")
    assert page == (
        "head\n\n<!-- one -->\n\nthird\n\n<!-- /one -->\n\n<!-- other -->\n\nsecond\n\n<!-- /other -->\n\ntail"
    )
    assert one.kept(page) == "<!-- one -->\n\nthird\n\n<!-- /one -->"
    with pytest.raises(ValueError, match="no place for <!-- other"):
        other.replaced(one.kept(page), "second")

"""The origins of the live tests, in a process of their own: HTTP and WebSocket, each with and without TLS, and HTTP/2.

Run with the directory of files to serve and the file with the certificate and its key. It prints its five ports as
JSON, and runs until its standard input is closed. They are at 127.0.0.1, and at ::1 too. What it answers depends on the
path:

    /hello              a line of text
    /request            the request line and the fields, as JSON
    /digest             length and SHA-256 of the request's content, as JSON
    /bytes/N            N bytes, by their length
    /chunked/N          N bytes, chunked
    /events/GATE        an event, and another one when the gate is opened
    /gated/GATE         a line of text when the gate is opened
    /early              a line of text, before the request's content is read
    /open/GATE          opens a gate
    /socket             a WebSocket beside all that, which is an echo too
    /git/...            git's own server for the repositories in the directory
    /files/...          the files of the directory
"""

from __future__ import annotations

import hashlib
import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from origin_http2 import HTTP2Server, echoed
from origin_ipv6 import lead_there
from websockets.protocol import SERVER, State
from websockets.protocol import Protocol as WebSocketProtocol
from websockets.sync.server import Server, ServerConnection, serve
from websockets.utils import accept_key

LINE = b"hello from the origin\n"
PATTERN = bytes(range(256)) * 256
PATIENCE = 60.0


class Gates:
    """What answers may wait for, each by its name."""

    def __init__(self) -> None:
        self._gates: dict[str, threading.Event] = {}
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> threading.Event:
        with self._lock:
            return self._gates.setdefault(name, threading.Event())


class Answer(SimpleHTTPRequestHandler):
    """One connection's requests and their answers."""

    protocol_version = "HTTP/1.1"
    # Some clients send a head and its content in two pieces, which Nagle's delay would hold apart.
    disable_nagle_algorithm = True

    def __init__(self, gates: Gates, *arguments: object, directory: str) -> None:
        self.gates = gates
        super().__init__(*arguments, directory=directory)  # type: ignore[arg-type]  # as the server gives them

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        room, _, rest = urlsplit(self.path).path.lstrip("/").partition("/")
        if room == "early":
            self.say("text/plain", LINE)
        content = b"".join(self.content())
        if room == "early":
            # It has said all.
            pass
        elif room == "git":
            self.git(content)
        elif room == "socket":
            self.echo()
        elif room == "files":
            self.path = f"/{rest}"
            super().do_GET()
        elif room == "digest":
            self.say_json({"length": len(content), "sha256": hashlib.sha256(content).hexdigest()})
        elif room == "request":
            fields = [[name, value] for name, value in self.headers.items()]
            self.say_json({"line": self.requestline, "fields": fields})
        elif room == "bytes":
            self.head("application/octet-stream", ("Content-Length", rest))
            for piece in pattern(int(rest)):
                self.wfile.write(piece)
        elif room == "chunked":
            self.head("application/octet-stream", ("Transfer-Encoding", "chunked"))
            for piece in pattern(int(rest)):
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
        elif room == "events":
            self.head("text/event-stream", ("Connection", "close"))
            self.wfile.write(b"data: first\n\n")
            self.gates[rest].wait(PATIENCE)
            self.wfile.write(b"data: second\n\n")
        else:
            if room == "gated":
                self.gates[rest].wait(PATIENCE)
            elif room == "open":
                self.gates[rest].set()
            self.say("text/plain", LINE)

    do_POST = do_PUT = do_GET

    def do_HEAD(self) -> None:
        self.head("text/plain", ("Content-Length", str(len(LINE))))

    def content(self) -> Iterator[bytes]:
        """The request's content, in pieces."""
        if self.headers["Transfer-Encoding"]:
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            left = int(self.headers["Content-Length"] or 0)
            while left:
                piece = self.rfile.read(min(left, len(PATTERN)))
                if not piece:
                    raise ConnectionError("the content is cut")
                left -= len(piece)
                yield piece

    def head(self, media_type: str, *fields: tuple[str, str]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", media_type)
        for name, value in fields:
            self.send_header(name, value)
        self.end_headers()

    def say(self, media_type: str, content: bytes) -> None:
        self.head(media_type, ("Content-Length", str(len(content))))
        self.wfile.write(content)

    def say_json(self, value: object) -> None:
        self.say("application/json", json.dumps(value).encode())

    def echo(self) -> None:
        """Be a WebSocket, and send its messages back."""
        self.send_response(101)
        for name, value in (("Upgrade", "websocket"), ("Connection", "Upgrade")):
            self.send_header(name, value)
        self.send_header("Sec-WebSocket-Accept", accept_key(self.headers["Sec-WebSocket-Key"]))
        self.end_headers()
        self.close_connection = True
        socket = WebSocketProtocol(SERVER, state=State.OPEN, max_size=None)
        while data := self.rfile.read1(len(PATTERN)):
            for piece in echoed(socket, data):
                self.wfile.write(piece)
                if not piece:
                    return

    def git(self, content: bytes) -> None:
        """What ``git http-backend`` makes of the request, by CGI."""
        url = urlsplit(self.path)
        environment = os.environ | {
            "GIT_PROJECT_ROOT": self.directory,
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": url.path.removeprefix("/git"),
            "QUERY_STRING": url.query,
            "CONTENT_TYPE": self.headers["Content-Type"] or "",
            "HTTP_CONTENT_ENCODING": self.headers["Content-Encoding"] or "",
            "GIT_PROTOCOL": self.headers["Git-Protocol"] or "",
        }
        done = subprocess.run(["git", "http-backend"], input=content, env=environment, capture_output=True)
        lines, _, answer = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in lines.decode().split("\r\n"))
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


class QuietServer(ThreadingHTTPServer):
    """A server that takes clients as they are: they leave in the middle, or do not trust it."""

    request_queue_size = 256
    context: ssl.SSLContext | None = None

    def finish_request(self, request: object, client_address: object) -> None:
        # In the connection's own thread, since a client may take its time over the handshake.
        if self.context is not None:
            with self.context.wrap_socket(request, server_side=True) as secured:  # type: ignore[arg-type]
                super().finish_request(secured, client_address)
                # Without this word of TLS what ends with the connection is cut.
                secured.unwrap()
        else:
            super().finish_request(request, client_address)  # type: ignore[arg-type]

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), OSError | ValueError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


def pattern(length: int) -> Iterator[bytes]:
    """So many bytes, in pieces."""
    for _ in range(length // len(PATTERN)):
        yield PATTERN
    if rest := length % len(PATTERN):
        yield PATTERN[:rest]


def echo(connection: ServerConnection) -> None:
    """Send every message back."""
    for message in connection:
        connection.send(message)


def main(directory: str, certificate: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    gates = Gates()
    answer = partial(Answer, gates, directory=directory)
    plain = QuietServer(("127.0.0.1", 0), answer)
    secured = QuietServer(("127.0.0.1", 0), answer)
    secured.context = context
    sockets: list[Server] = [serve(echo, "127.0.0.1", 0), serve(echo, "127.0.0.1", 0, ssl=context)]
    http2 = HTTP2Server(directory, certificate, lambda gate: gates[gate].wait(PATIENCE), pattern)
    for server in (plain, secured, *sockets, http2):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    ports = [plain.server_port, secured.server_port, *(server.socket.getsockname()[1] for server in sockets)]
    ports.append(http2.port)
    lead_there(ports)
    print(json.dumps(dict(zip(("http", "https", "ws", "wss", "h2"), ports, strict=True))), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])

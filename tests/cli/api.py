"""A control API to talk to: real HTTP on a real Unix socket, with the answers that a test puts in."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import msgspec

Raw = bytes | Callable[[], bytes]


class Silence:
    """No answer at all, until the server is closed."""


def answer(value: Any, status: int = 200, kind: str = "application/json") -> bytes:
    """A whole response that carries ``value``."""
    body = value.encode() if isinstance(value, str) else msgspec.json.encode(value)
    head = f"HTTP/1.1 {status} Any\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


def problem(title: str, status: int, detail: str = "", problems: list[str] | None = None) -> bytes:
    """A response with problem details (RFC 9457)."""
    details = {"type": "about:blank", "title": title, "status": status, "detail": detail, "problems": problems or []}
    return answer(details, status, "application/problem+json")


class Exchange(BaseHTTPRequestHandler):
    """One request, noted, and the answer that was put in for it."""

    server: API

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def _serve(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append((self.command, self.path, content))
        given = self.server.answers.get((self.command, self.path), problem("Not Found", 404, "there is no such thing"))
        if isinstance(given, Silence):
            self.server.closing.wait()
            return
        self.wfile.write(given() if callable(given) else given)
        self.close_connection = True

    do_GET = do_POST = do_PUT = do_DELETE = _serve


class API(socketserver.UnixStreamServer):
    """The server. ``answers`` are raw responses by method and path; ``requests`` are what came in."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), Exchange)
        self.path = path
        self.answers: dict[tuple[str, str], Raw | Silence] = {}
        self.requests: list[tuple[str, str, bytes]] = []
        self.closing = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self._thread.start()

    def get_request(self) -> tuple[Any, Any]:
        """The connection, and a name for its client, who has none on a Unix socket."""
        accepted, _ = super().get_request()
        return accepted, ("local", 0)

    def close(self) -> None:
        """Stop."""
        self.closing.set()
        self.shutdown()
        self._thread.join()
        self.server_close()

"""A server of lists of what is blocked."""

from __future__ import annotations

import http.server


class ListServer(http.server.ThreadingHTTPServer):
    """Serves ``content`` with an ETag; ``answers`` are the statuses of its answers."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.content = b""
        self.statuses: list[int] = []
        self.fails = False
        self.url = f"http://127.0.0.1:{self.server_address[1]}/list"


class _Answer(http.server.BaseHTTPRequestHandler):
    server: ListServer

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        content = self.server.content
        etag = f'"{len(content)}"'
        if self.server.fails:
            self.close_connection = True
            return
        status = 304 if self.headers.get("If-None-Match") == etag else 200
        self.server.statuses.append(status)
        self.send_response(status)
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(content) if status == 200 else 0))
        self.end_headers()
        if status == 200:
            self.wfile.write(content)

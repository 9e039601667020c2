"""The origin for tunnels, a program of its own: sends as many bytes as it is asked for, or answers a ping.

A client sends one line at a time: ``SEND n`` is answered with n bytes and a close, ``PING`` with ``PONG``.
"""

from __future__ import annotations

import socketserver
import sys
import threading

CHUNK = memoryview(bytes(range(256)) * 1024)


class StreamOrigin(socketserver.StreamRequestHandler):
    """One connection, in a thread of its own."""

    def handle(self) -> None:
        """Answer line after line until the peer closes."""
        try:
            while line := self.rfile.readline(64):
                if line == b"PING\n":
                    self.connection.sendall(b"PONG\n")
                else:
                    left = int(line.removeprefix(b"SEND "))
                    while left > 0:
                        chunk = CHUNK[:left]
                        self.connection.sendall(chunk)
                        left -= len(chunk)
                    return
        except (BrokenPipeError, ConnectionResetError):
            return


class StreamServer(socketserver.ThreadingTCPServer):
    """A thread a connection; thousands of them are idle at times."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 4096


if __name__ == "__main__":
    threading.stack_size(256 * 1024)
    with StreamServer(("127.0.0.1", int(sys.argv[1])), StreamOrigin) as server:
        server.serve_forever()

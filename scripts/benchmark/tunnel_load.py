"""The load for tunnels, a program of its own: opens tunnels through a proxy, or connections to a relay.

Prints one line of JSON with what it did. Modes: ``setup`` (open, small GET, close; many times), ``bulk``
(receive many bytes) and ``idle`` (open many, pass a few bytes both ways, say so, hold them until standard
input ends).
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

TIMEOUT_SECONDS = 60


class Load:
    """What to do, and how to reach the origin."""

    def __init__(self, proxy: int, origin: int, connect: bool) -> None:
        self.address = ("127.0.0.1", proxy)
        authority = f"127.0.0.1:{origin}"
        self.connect_request = f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode()
        self.get_request = f"GET /100 HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode()
        self.connect = connect

    def open(self) -> socket.socket:
        """A connection to the origin, through the proxy."""
        connection = socket.create_connection(self.address, timeout=TIMEOUT_SECONDS)
        if self.connect:
            connection.sendall(self.connect_request)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                received = connection.recv(4096)
                if not received:
                    raise ConnectionError(f"the proxy closed after {head!r}")
                head += received
            if head.split(b" ", 2)[1] != b"200":
                raise ConnectionError(f"the proxy answered {head!r}")
        return connection

    def get(self) -> None:
        """One tunnel: open it, fetch 100 bytes through it, close it."""
        with self.open() as connection:
            connection.sendall(self.get_request)
            answer = b""
            while True:
                received = connection.recv(4096)
                answer += received
                head, end, body = answer.partition(b"\r\n\r\n")
                if end and len(body) == 100:
                    break
                if not received:
                    raise ConnectionError(f"the tunnel closed after {answer!r}")
            if not head.startswith(b"HTTP/1.1 200"):
                raise ConnectionError(f"the origin answered {head!r}")

    def receive(self, size: int) -> None:
        """One tunnel that brings ``size`` bytes, and then its end."""
        buffer = bytearray(1 << 18)
        with self.open() as connection:
            connection.sendall(b"SEND %d\n" % size)
            total = 0
            while received := connection.recv_into(buffer):
                total += received
        if total != size:
            raise ConnectionError(f"{total} bytes of {size} arrived")

    def ping(self) -> socket.socket:
        """One tunnel that has passed a few bytes both ways and stays open."""
        connection = self.open()
        connection.sendall(b"PING\n")
        answer = b""
        while answer != b"PONG\n":
            received = connection.recv(16)
            if not received:
                raise ConnectionError("the tunnel closed")
            answer += received
        return connection


def main() -> None:
    """Parse the command line, do it, print what was done."""
    options = argparse.ArgumentParser()
    options.add_argument("mode", choices=("setup", "bulk", "idle"))
    options.add_argument("--proxy", type=int, required=True)
    options.add_argument("--origin", type=int, required=True)
    options.add_argument("--no-connect", action="store_true")
    options.add_argument("--count", type=int, required=True, help="tunnels in all; in bulk mode, bytes in all")
    options.add_argument("--concurrent", type=int, required=True)
    chosen = options.parse_args()
    load = Load(chosen.proxy, chosen.origin, not chosen.no_connect)
    count: int = chosen.count
    concurrent: int = chosen.concurrent
    started = perf_counter()
    threading.stack_size(256 * 1024)
    with ThreadPoolExecutor(concurrent) as pool:
        if chosen.mode == "bulk":
            list(pool.map(load.receive, [count // concurrent] * concurrent))
        elif chosen.mode == "setup":
            shares = [len(range(index, count, concurrent)) for index in range(concurrent)]

            def several(share: int) -> None:
                for _ in range(share):
                    load.get()

            list(pool.map(several, shares))
        else:
            held = list(pool.map(lambda _: load.ping(), range(count)))
    print(json.dumps({"done": count, "seconds": perf_counter() - started}), flush=True)
    if chosen.mode == "idle":
        sys.stdin.read()
        for connection in held:
            connection.close()


if __name__ == "__main__":
    main()

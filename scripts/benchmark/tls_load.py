"""The load inside intercepted tunnels, a program of its own. It trusts the proxy's authority and nobody else.

Modes: ``get`` (kept-alive connections, small GETs), ``connections`` (connect, CONNECT, TLS handshake, GET, close; to
one address, or to another each time) and ``download`` (a large file, again and again). Every status and body is
checked. It says ``ready`` when its connections stand, begins when a line comes in, prints one line of JSON with what it
did, and holds its connections until standard input ends.
"""

from __future__ import annotations

import argparse
import json
import re
import select
import socket
import ssl
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Protocol

from benchmark.http2_client import HTTP2Client

TIMEOUT_SECONDS = 60
NAME = "localhost"
PATTERN = b"0123456789abcdef" * 4096
"""What all bodies begin with, and repeat."""

RECEIVE_SIZE = 1 << 16
_STATUS = b"HTTP/1.1 200 "
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


def address(number: int) -> str:
    """One of the origin's addresses."""
    return f"127.1.{number // 250}.{number % 250 + 1}"


class Client(Protocol):
    """What the load needs of a version of HTTP."""

    reply: bytes

    def opening(self) -> bytes: ...

    def request(self) -> bytes: ...

    def feed(self, data: bytes) -> int: ...


class HTTP1Client:
    """One connection of HTTP/1.1, and one request at a time on it."""

    reply = b""

    def __init__(self, authority: str, path: str, body: bytes) -> None:
        head = f"GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: load/1\r\nAccept: */*\r\n\r\n"
        self._request = head.encode()
        self._body = body
        self._received = b""

    def opening(self) -> bytes:
        return b""

    def request(self) -> bytes:
        return self._request

    def feed(self, data: bytes) -> int:
        """1 when the response is complete, with status 200 and the whole body. Raises ConnectionError."""
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end or len(body) < len(self._body):
            if end:
                _check_head(head, len(self._body))
            return 0
        _check_head(head, len(self._body))
        if body != self._body:
            raise ConnectionError("not the body that was to come")
        self._received = b""
        return 1


def _check_head(head: bytes, length: int) -> None:
    found = _LENGTH.search(head + b"\r\n")
    if not head.startswith(_STATUS) or found is None or int(found[1]) != length:
        raise ConnectionError(f"the proxy answered {head!r}")


class Way:
    """How to reach the origin through the proxy."""

    def __init__(self, proxy: int, origin: int, authority: str, protocol: str) -> None:
        self._proxy = ("127.0.0.1", proxy)
        self._origin = origin
        self.protocol = protocol
        self._context = ssl.create_default_context(cafile=authority)
        self._context.set_alpn_protocols([protocol])

    def authority(self, host: str) -> str:
        """The host with its port."""
        return f"{host}:{self._origin}"

    def open(self, host: str) -> ssl.SSLSocket:
        """A connection inside a tunnel to ``host``, its certificate verified."""
        connection = socket.create_connection(self._proxy, timeout=TIMEOUT_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        authority = self.authority(host)
        connection.sendall(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            received = connection.recv(4096)
            if not received:
                raise ConnectionError(f"the proxy closed after {head!r}")
            head += received
        if head.split(b" ", 2)[1] != b"200":
            raise ConnectionError(f"the proxy answered {head!r}")
        secured = self._context.wrap_socket(connection, server_hostname=host)
        # Without an agreement it is HTTP/1.1.
        if (secured.selected_alpn_protocol() or "http/1.1") != self.protocol:
            raise ConnectionError(f"the proxy does not speak {self.protocol}")
        return secured


class Kept:
    """Connections that are kept alive; each answer is followed by the next request at once."""

    def __init__(self, way: Way, path: str, size: int, connections: int, streams: int) -> None:
        body = PATTERN[:size]
        make = HTTP2Client if way.protocol == "h2" else HTTP1Client
        self._poll = select.epoll()
        self._connections: dict[int, tuple[ssl.SSLSocket, Client]] = {}
        self._streams = streams
        for _ in range(connections):
            connection = way.open(NAME)
            client: Client = make(way.authority(NAME), path, body)
            connection.sendall(client.opening())
            connection.setblocking(False)
            self._poll.register(connection, select.EPOLLIN)
            self._connections[connection.fileno()] = connection, client

    def run(self, requests: int) -> None:
        """So many requests in all. Raises ConnectionError and others when one does not go well."""
        left = requests
        waiting = 0
        for connection, client in self._connections.values():
            several = min(self._streams, left)
            connection.sendall(b"".join(client.request() for _ in range(several)))
            left -= several
            waiting += several
        while waiting:
            ready = self._poll.poll(TIMEOUT_SECONDS)
            if not ready:
                raise ConnectionError(f"nothing came for {TIMEOUT_SECONDS} s")
            for descriptor, _event in ready:
                connection, client = self._connections[descriptor]
                done = self._receive(connection, client)
                waiting -= done
                several = min(done, left)
                out = client.reply + b"".join([client.request() for _ in range(several)])
                left -= several
                waiting += several
                if out:
                    client.reply = b""
                    connection.sendall(out)

    def _receive(self, connection: ssl.SSLSocket, client: Client) -> int:
        done = 0
        try:
            while True:
                data = connection.recv(RECEIVE_SIZE)
                if not data:
                    raise ConnectionError("the proxy closed a connection that was to be kept alive")
                done += client.feed(data)
                if done == self._streams:
                    return done
        except ssl.SSLWantReadError:
            return done


def fetch_once(way: Way, host: str) -> None:
    """A connection for one small GET."""
    with way.open(host) as connection:
        client = HTTP1Client(way.authority(host), "/100", PATTERN[:100])
        connection.sendall(client.request())
        while True:
            data = connection.recv(RECEIVE_SIZE)
            if not data:
                raise ConnectionError("the proxy closed before its answer was complete")
            if client.feed(data):
                return


def download(way: Way, times: int) -> int:
    """Fetch the large file so often on one connection; returns the bytes of the bodies."""
    total = 0
    with way.open(NAME) as connection:
        client = HTTP1Client(way.authority(NAME), "/big", b"")
        for _ in range(times):
            connection.sendall(client.request())
            received = b""
            while b"\r\n\r\n" not in received:
                data = connection.recv(RECEIVE_SIZE)
                if not data:
                    raise ConnectionError(f"the proxy closed after {received!r}")
                received += data
            head, _, received = received.partition(b"\r\n\r\n")
            found = _LENGTH.search(head + b"\r\n")
            if not head.startswith(_STATUS) or found is None:
                raise ConnectionError(f"the proxy answered {head!r}")
            length = int(found[1])
            got = 0
            while True:
                offset = got % 16
                if received != PATTERN[offset : offset + len(received)]:
                    raise ConnectionError("not the body that was to come")
                got += len(received)
                if got >= length:
                    break
                received = connection.recv(RECEIVE_SIZE // 2)
                if not received:
                    raise ConnectionError(f"{got} bytes of {length} arrived")
            total += got
    return total


def _shares(count: int, parts: int) -> list[int]:
    return [len(range(index, count, parts)) for index in range(parts)]


def _ready() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


def main() -> None:
    """Parse the command line, do it, print what was done."""
    options = argparse.ArgumentParser()
    options.add_argument("mode", choices=("get", "connections", "download"))
    options.add_argument("--proxy", type=int, required=True)
    options.add_argument("--origin", type=int, required=True)
    options.add_argument("--authority", required=True, help="a PEM file with the certificate of the proxy's authority")
    options.add_argument("--protocol", choices=("http/1.1", "h2"), default="http/1.1")
    options.add_argument("--count", type=int, required=True, help="requests, connections or downloads in all")
    options.add_argument("--concurrent", type=int, required=True, help="connections at a time")
    options.add_argument("--streams", type=int, default=1, help="requests at a time on a connection")
    options.add_argument("--size", type=int, default=100, help="of a response's body, for get")
    options.add_argument("--first", type=int, help="for connections: from this number of an address on, each once")
    chosen = options.parse_args()
    way = Way(chosen.proxy, chosen.origin, chosen.authority, chosen.protocol)
    count: int = chosen.count
    if chosen.mode == "get":
        path = f"/{'10k' if chosen.size == 10 * 1024 else chosen.size}"
        kept = Kept(way, path, chosen.size, chosen.concurrent, chosen.streams)
        kept.run(chosen.concurrent * chosen.streams)
        _ready()
        started = perf_counter()
        kept.run(count)
    else:
        _ready()
        started = perf_counter()
        threading.stack_size(256 * 1024)
        with ThreadPoolExecutor(chosen.concurrent) as pool:
            if chosen.mode == "download":
                list(pool.map(lambda times: download(way, times), _shares(count, chosen.concurrent)))
            else:
                first = 0 if chosen.first is None else chosen.first
                each = 0 if chosen.first is None else 1
                list(pool.map(lambda number: fetch_once(way, address(first + each * number)), range(count)))
    print(json.dumps({"done": count, "seconds": perf_counter() - started}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()

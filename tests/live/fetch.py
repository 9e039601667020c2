"""The simplest client: one request through a proxy, on a connection of its own."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from email.message import Message
from http.client import HTTPConnection
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.live.daemon import PATIENCE, Daemon
from tests.live.wire.raw import Connection


class Answer(NamedTuple):
    """A response, whole."""

    status: int
    fields: Message
    content: bytes


def fetch(
    proxy: Daemon | str, url: str, method: str = "GET", content: Any = None, fields: Mapping[str, str] | None = None
) -> Answer:
    """The response to a request for ``url``. ``proxy`` may be given by its address."""
    address = proxy if isinstance(proxy, str) else proxy.address
    connection = HTTPConnection(address, timeout=PATIENCE)
    try:
        connection.request(method, url, content, dict(fields or {}))
        response = connection.getresponse()
        return Answer(response.status, response.msg, response.read())
    finally:
        connection.close()


def connected(proxy: Daemon, said: bytes = b"") -> Connection:
    """A connection to the proxy, on which ``said`` has been said."""
    host, _, port = proxy.address.rpartition(":")
    connection = Connection(socket.create_connection((host, int(port)), PATIENCE))
    if said:
        connection.send(said)
    return connection


def request_for(url: str, method: str = "GET", *lines: str) -> bytes:
    """A request's head, in absolute form."""
    head = [f"{method} {url} HTTP/1.1", f"Host: {urlsplit(url).netloc}", *lines]
    return "".join(f"{line}\r\n" for line in head).encode() + b"\r\n"


def tunnel(proxy: Daemon, port: int) -> Connection:
    """A tunnel to a port of this machine."""
    authority = f"127.0.0.1:{port}"
    connection = connected(proxy, f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
    assert connection.read_through(b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    return connection

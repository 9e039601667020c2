"""A proxy, an origin behind it and clients in front of it, for one test."""

from __future__ import annotations

from typing import Any

from tests.live.wire.raw import Connection, Message, Origin
from tests.live.wire.twistd_process import TwistdProcess


class Wire:
    """A proxy, an origin behind it, and clients in front. ``ORIGIN`` and ``PROXY`` in bytes stand for authorities."""

    def __init__(self, proxy: TwistdProcess) -> None:
        self.proxy = proxy
        self.origin = Origin()
        self._open: list[Any] = [self.origin]

    def fill(self, text: bytes) -> bytes:
        """``text`` with the authorities of this test in it."""
        return text.replace(b"ORIGIN", self.origin.authority).replace(b"PROXY", self.proxy.authority)

    def client(self, text: bytes = b"") -> Connection:
        """A new client, which says ``text`` at once."""
        client = self.proxy.connect()
        self._open.append(client)
        if text:
            client.send(self.fill(text))
        return client

    def another_origin(self, *arguments: Any) -> Origin:
        """One more origin."""
        origin = Origin(*arguments)
        self._open.append(origin)
        return origin

    def exchange(self, request: bytes, answer: bytes, *, hang_up: bool = False) -> tuple[Message, Message]:
        """What the origin got of one request, and what a new client got of its ``answer``."""
        client = self.client(request)
        upstream = self.origin.accept()
        seen = upstream.read_request()
        upstream.send(answer)
        if hang_up:
            upstream.finish()
        return seen, client.read_response(request.split(b" ", 1)[0])

    def why(self, client: Connection) -> str | None:
        """The reason in the last line of the access log about ``client``."""
        reason: str | None = self.proxy.access_lines(client)[-1]["reason"]
        return reason

    def refuses(self, request: bytes, status: int, reason: str) -> Message:
        """The answer to a request that must be answered with an error, and the connection closed.

        The origin must not hear of it, and the access log must give the reason.
        """
        client = self.client(request)
        response = client.read_response(request.split(b" ", 1)[0])
        assert (response.status, response.cut) == (status, False)
        assert response.values(b"connection") == [b"close"]
        assert client.ended()
        assert self.origin.untouched()
        assert self.why(client) == reason
        return response

    def close(self) -> None:
        """Close everything that was opened."""
        for opened in self._open:
            opened.close()

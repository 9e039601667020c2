"""An origin in memory that speaks TLS, and HTTP/2 where that is agreed on: the other end of a `MemoryTransport`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trustme
from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.settings import SettingCodes, Settings
from OpenSSL import SSL

from tests.memory import MemoryTransport, Wire

Block = list[tuple[bytes, bytes]]
CHUNK = 65536


def context(authority: trustme.CA, *protocols: bytes, name: str = "origin.test", refuses: bool = False) -> SSL.Context:
    """A server's context that takes the first of ``protocols`` that the client offers.

    It goes on without one where there is none, or ``refuses``.
    """
    made = SSL.Context(SSL.TLS_SERVER_METHOD)
    issued = authority.issue_cert(name)
    issued.configure_cert(made)

    def choose(_: SSL.Connection, offered: list[bytes]) -> Any:
        chosen = next((protocol for protocol in protocols if protocol in offered), SSL.NO_OVERLAPPING_PROTOCOLS)
        if chosen is SSL.NO_OVERLAPPING_PROTOCOLS and refuses:
            # pyOpenSSL makes a fatal alert of what is no answer.
            raise LookupError(offered)
        return chosen

    made.set_alpn_select_callback(choose)
    return made


class SecureOrigin:
    """The server of one connection. ``settings`` are what it says of HTTP/2."""

    def __init__(
        self,
        wire: Wire,
        transport: MemoryTransport,
        tls: SSL.Context,
        settings: dict[SettingCodes, int] | None = None,
    ) -> None:
        self.wire = wire
        self.transport = transport
        self.tls = SSL.Connection(tls, None)
        self.tls.set_accept_state()
        self.settings = settings
        self.h2: H2Connection | None = None
        self.plain = b""
        """What came that is not HTTP/2."""
        self.requests: dict[int, dict[bytes, bytes]] = {}
        self.contents: dict[int, bytes] = {}
        self.trailers: dict[int, Block] = {}
        self.ended: list[int] = []
        self.resets: dict[int, int] = {}
        self.acknowledges = True

    @property
    def offered(self) -> bytes:
        """What was agreed on."""
        return self.tls.get_alpn_proto_negotiated()

    def pump(self) -> None:
        """Let everything pass that is on its way, in both directions."""
        resting = 0
        while resting < 2:
            resting = 0 if self._take() | self._give() else resting + 1
            # What is written in small pieces leaves with the next turn.
            self.wire.turn()

    def _take(self) -> bool:
        written = self.transport.take()
        if written:
            self.tls.bio_write(written)
        try:
            while True:
                self._received(self.tls.recv(CHUNK))
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self.tls.shutdown()
        except (SSL.Error, LookupError):
            # A client that refuses, or is refused.
            pass
        return bool(written)

    def _received(self, data: bytes) -> None:
        if self.offered != b"h2":
            self.plain += data
            return
        if self.h2 is None:
            self._begin()
        assert self.h2 is not None
        for event in self.h2.receive_data(data):
            self._happened(event)

    def _begin(self) -> None:
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        if self.settings:
            self.h2.local_settings = Settings(client=False, initial_values=self.settings)
        self.h2.initiate_connection()

    def _happened(self, event: Any) -> None:
        number = getattr(event, "stream_id", 0)
        if isinstance(event, events.RequestReceived):
            self.requests[number] = dict(event.headers or ())
        elif isinstance(event, events.DataReceived):
            self.contents[number] = self.contents.get(number, b"") + event.data
            if self.acknowledges and self.h2 is not None:
                self.h2.acknowledge_received_data(event.flow_controlled_length or 0, number)
        elif isinstance(event, events.TrailersReceived):
            self.trailers[number] = list(event.headers or ())
        elif isinstance(event, events.StreamEnded):
            self.ended.append(number)
        elif isinstance(event, events.StreamReset):
            self.resets[number] = int(event.error_code or 0)

    def _give(self) -> bool:
        if self.h2 is not None and (data := self.h2.data_to_send()):
            self.tls.sendall(data)
        moved = False
        try:
            while True:
                data = self.tls.bio_read(CHUNK)
                moved = True
                if not self.transport.closed:
                    self.transport.receive(data)
        except SSL.WantReadError:
            return moved

    def say(self, data: bytes) -> None:
        """Send bytes that are not HTTP/2's, or frames made by hand."""
        self.tls.sendall(data)
        self.pump()

    def act(self, what: Callable[[H2Connection], object]) -> None:
        """Do something with the connection, and let it pass."""
        assert self.h2 is not None
        what(self.h2)
        self.pump()

    def answer(self, stream: int, content: bytes = b"hi", *fields: tuple[bytes, bytes]) -> None:
        """Answer with 200 and ``content``."""
        head = [(b":status", b"200"), (b"content-length", b"%d" % len(content)), *fields]

        def send(h2: H2Connection) -> None:
            h2.send_headers(stream, head)
            h2.send_data(stream, content, end_stream=True)

        self.act(send)

    def reset(self, stream: int, code: ErrorCodes) -> None:
        """Reset a stream."""
        self.act(lambda h2: h2.reset_stream(stream, code))

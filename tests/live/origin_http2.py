"""The part of the live tests' origin that speaks nothing but HTTP/2, with WebSockets as streams of it (RFC 8441).

It answers a few of the paths that the module `origin_server` lists, in the same way: /request, /digest, /bytes/N,
/events/GATE and /files/... Everything else is a line of text, and a WebSocket is an echo.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import mimetypes
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import StreamClosedError
from h2.settings import SettingCodes, Settings
from websockets.frames import Frame, Opcode
from websockets.protocol import SERVER, State
from websockets.protocol import Protocol as WebSocketProtocol

SETTINGS = {
    SettingCodes.MAX_CONCURRENT_STREAMS: 200,
    SettingCodes.ENABLE_CONNECT_PROTOCOL: 1,
    SettingCodes.INITIAL_WINDOW_SIZE: 1024 * 1024,
}
PIECE = 65536


def echoed(socket: WebSocketProtocol, data: bytes) -> list[bytes]:
    """What a WebSocket that sends every frame back says to ``data``. Its last piece is empty after a goodbye."""
    socket.receive_data(data)
    for frame in socket.events_received():
        assert isinstance(frame, Frame)
        if frame.opcode is Opcode.TEXT:
            socket.send_text(frame.data, frame.fin)
        elif frame.opcode is Opcode.BINARY:
            socket.send_binary(frame.data, frame.fin)
        elif frame.opcode is Opcode.CONT:
            socket.send_continuation(frame.data, frame.fin)
    return socket.data_to_send()


class Connection:
    """One client's connection; each request is answered by a task."""

    def __init__(
        self,
        directory: Path,
        wait_for: Callable[[str], Any],
        pattern: Callable[[int], Iterator[bytes]],
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self.directory = directory
        self.wait_for = wait_for
        self.pattern = pattern
        self.reader, self.writer = streams
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.h2.local_settings = Settings(client=False, initial_values=SETTINGS)
        self.contents: dict[int, asyncio.Queue[bytes]] = {}
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self.window_opened = asyncio.Event()

    async def run(self) -> None:
        """Serve until the client leaves."""
        self.h2.initiate_connection()
        self.flush()
        try:
            while data := await self.reader.read(PIECE):
                for event in self.h2.receive_data(data):
                    self.take(event)
                self.flush()
        except OSError:
            pass  # it left in the middle
        finally:
            for task in self.tasks.values():
                task.cancel()
            self.writer.close()

    def take(self, event: events.Event) -> None:
        if isinstance(event, events.RequestReceived):
            number = event.stream_id
            self.contents[number] = asyncio.Queue()
            self.tasks[number] = asyncio.create_task(self.answered(number, dict(event.headers), event.headers))
        elif isinstance(event, events.DataReceived):
            self.hear(event.stream_id, event.data)
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, events.StreamEnded):
            self.hear(event.stream_id, b"")
        elif isinstance(event, events.StreamReset):
            if task := self.tasks.get(event.stream_id):
                task.cancel()
        elif isinstance(event, events.WindowUpdated | events.RemoteSettingsChanged):
            self.window_opened.set()

    def hear(self, number: int, data: bytes) -> None:
        """Content came, or its end, which is empty; what has its answer needs neither."""
        if number in self.contents:
            self.contents[number].put_nowait(data)

    def flush(self) -> None:
        if data := self.h2.data_to_send():
            self.writer.write(data)

    # ------------------------------------------------------------ answers

    async def answered(self, number: int, fields: dict[str, str], listed: Any) -> None:
        try:
            if fields[":method"] == "CONNECT":
                await self.echo(number)
            elif fields[":method"] == "HEAD":
                self.h2.send_headers(number, [(":status", "200")], end_stream=True)
                self.flush()
            else:
                await self.answer(number, fields[":path"], [list(pair) for pair in listed])
        except StreamClosedError:
            pass  # it is not wanted any more
        finally:
            del self.contents[number], self.tasks[number]

    async def answer(self, number: int, target: str, listed: list[list[str]]) -> None:
        room, _, rest = urlsplit(target).path.lstrip("/").partition("/")
        if room == "digest":
            digest, length = hashlib.sha256(), 0
            while data := await self.contents[number].get():
                digest.update(data)
                length += len(data)
            await self.say_json(number, {"length": length, "sha256": digest.hexdigest()})
        elif room == "request":
            await self.say_json(number, {"fields": listed})
        elif room == "bytes":
            self.head(number, "application/octet-stream", ("content-length", rest))
            left = int(rest)
            for piece in self.pattern(left):
                left -= len(piece)
                await self.send(number, piece, end=not left)
        elif room == "events":
            self.head(number, "text/event-stream")
            await self.send(number, b"data: first\n\n")
            await self.wait_for(rest)
            await self.send(number, b"data: second\n\n")
            self.end(number)
        elif room == "files":
            content = (self.directory / rest).read_bytes()
            await self.say(number, mimetypes.guess_type(rest)[0] or "application/octet-stream", content)
        else:
            await self.say(number, "text/plain", b"hello from the origin\n")

    def head(self, number: int, media_type: str, *fields: tuple[str, str]) -> None:
        self.h2.send_headers(number, [(":status", "200"), ("content-type", media_type), *fields])
        self.flush()

    async def say(self, number: int, media_type: str, content: bytes) -> None:
        self.head(number, media_type, ("content-length", str(len(content))))
        await self.send(number, content, end=True)

    async def say_json(self, number: int, value: object) -> None:
        await self.say(number, "application/json", json.dumps(value).encode())

    async def send(self, number: int, data: bytes, end: bool = False) -> None:
        """Send it as the client's windows allow; ``end`` says that nothing follows."""
        if end and not data:
            self.end(number)
        while data:
            room = min(self.h2.local_flow_control_window(number), self.h2.max_outbound_frame_size)
            if room > 0:
                self.h2.send_data(number, data[:room], end_stream=end and len(data) <= room)
                data = data[room:]
                self.flush()
                await self.writer.drain()
            else:
                self.window_opened.clear()
                await self.window_opened.wait()

    def end(self, number: int) -> None:
        self.h2.end_stream(number)
        self.flush()

    async def echo(self, number: int) -> None:
        """Send the messages of a WebSocket back."""
        self.h2.send_headers(number, [(":status", "200")])
        self.flush()
        socket = WebSocketProtocol(SERVER, state=State.OPEN, max_size=None)
        while data := await self.contents[number].get():
            for piece in echoed(socket, data):
                if not piece:
                    # RFC 6455 section 7.1.1: it is the server that ends the connection.
                    self.end(number)
                    return
                await self.send(number, piece)
        self.end(number)


class HTTP2Server:
    """The listening socket, and the loop of the thread that serves it."""

    def __init__(
        self,
        directory: str,
        certificate: str,
        wait_for: Callable[[str], object],
        pattern: Callable[[int], Iterator[bytes]],
    ) -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        context.set_alpn_protocols(["h2"])
        self._directory = Path(directory)
        self._wait_for = wait_for
        self._pattern = pattern
        self._loop = asyncio.new_event_loop()
        started = asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=context, backlog=256)
        self._server = self._loop.run_until_complete(started)

    @property
    def port(self) -> int:
        return int(self._server.sockets[0].getsockname()[1])

    def serve_forever(self) -> None:
        self._loop.run_forever()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def wait_for(gate: str) -> None:
            await asyncio.to_thread(self._wait_for, gate)

        await Connection(self._directory, wait_for, self._pattern, (reader, writer)).run()

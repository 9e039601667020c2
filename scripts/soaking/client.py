"""A client's connection: what it says is bytes, and what it is answered is read strictly and as it comes."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import AsyncIterator
from typing import Final, NamedTuple

from scripts.soaking.content import PIECE
from scripts.soaking.origin_server import LOOPBACK, RESET

PATIENCE: Final = 45.0
"""Seconds that one exchange may take. Longer than whatever the proxy or a kill may keep it waiting."""

SMALL_BUFFER: Final = 1 << 16

_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) [\x20-\x7e]*")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e]*?)[ \t]*")


class Cut(Exception):
    """The connection ended where an answer, or more of it, should have come. ``begun`` when some of its head had."""

    def __init__(self, said: str, *, begun: bool = False) -> None:
        super().__init__(said)
        self.begun = begun


class Malformed(Exception):
    """What the proxy said is no HTTP."""


class Head(NamedTuple):
    """The head of an answer; names of fields are in lower case."""

    status: int
    fields: dict[str, str]

    @property
    def number(self) -> int:
        """Which request the origin answered; -1 when it does not say."""
        return int(self.fields.get("number", "-1"))


class Connection:
    """A connection to the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, since: float) -> None:
        self._reader = reader
        self._writer = writer
        self.port: int = writer.get_extra_info("sockname")[1]
        """The client's own."""
        self.answered = 0
        """How many answers came whole."""
        self.resting_since = since
        """When the last of them did, or when connecting began: this program may be late to hear that it is over."""
        self.is_last = False
        """Whether the proxy closes after the answer that it has begun."""

    @classmethod
    async def opened(cls, port: int, *, slow: bool = False) -> Connection:
        """A new one. With ``slow`` the system takes in little that is not read."""
        since = time.monotonic()
        client = socket.socket()
        if slow:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        client.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(client, (LOOPBACK, port))
            return cls(*await asyncio.open_connection(sock=client, limit=SMALL_BUFFER), since)
        except BaseException:
            client.close()
            raise

    async def send(self, data: bytes) -> None:
        """Say ``data``. Raises `Cut`."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise Cut(f"while sending: {error!r}") from error

    def send_end(self) -> None:
        """Say nothing more."""
        try:
            self._writer.write_eof()
        except OSError:
            pass  # what is read next tells

    async def read(self, most: int = PIECE) -> bytes:
        """Some bytes; none at the end. Raises `Cut` when the connection is reset."""
        try:
            return await self._reader.read(most)
        except OSError as error:
            raise Cut(repr(error)) from error

    async def head(self) -> Head:
        """The head of the next answer that is not an interim one. Raises `Cut` and `Malformed`."""
        while (head := await self._any_head()).status < 200:
            pass
        self.is_last = "close" in head.fields.get("connection", "").lower()
        return head

    async def _any_head(self) -> Head:
        lines = (await self._until(b"\r\n\r\n"))[:-4].split(b"\r\n")
        found = _STATUS_LINE.fullmatch(lines[0])
        if found is None:
            raise Malformed(f"a status line {lines[0][:80]!r}")
        fields: dict[str, str] = {}
        for line in lines[1:]:
            field = _FIELD.fullmatch(line)
            if field is None:
                raise Malformed(f"a field line {line[:80]!r}")
            fields[field[1].decode().lower()] = field[2].decode()
        return Head(int(found[1]), fields)

    async def content(self, head: Head) -> AsyncIterator[bytes]:
        """The content that follows ``head``, in pieces. Raises `Cut` when it does not look complete."""
        if "chunked" in head.fields.get("transfer-encoding", "").lower():
            while size := self._chunk_size(await self._until(b"\r\n")):
                async for piece in self._sized(size):
                    yield piece
                if await self._until(b"\r\n") != b"\r\n":
                    raise Malformed("a chunk that is longer than it says")
            while await self._until(b"\r\n") != b"\r\n":
                pass
        elif "content-length" in head.fields:
            async for piece in self._sized(int(head.fields["content-length"])):
                yield piece
        else:
            while piece := await self.read():
                yield piece
        self.answered += 1
        self.resting_since = time.monotonic()

    @staticmethod
    def _chunk_size(line: bytes) -> int:
        try:
            return int(line.partition(b";")[0], 16)
        except ValueError:
            raise Malformed(f"a chunk size {line[:80]!r}") from None

    async def _sized(self, left: int) -> AsyncIterator[bytes]:
        while left:
            piece = await self.read(min(left, PIECE))
            if not piece:
                raise Cut(f"{left} bytes early")
            left -= len(piece)
            yield piece

    async def _until(self, end: bytes) -> bytes:
        try:
            return await self._reader.readuntil(end)
        except asyncio.IncompleteReadError as error:
            raise Cut("the end", begun=bool(error.partial)) from error
        except OSError as error:
            raise Cut(repr(error)) from error
        except asyncio.LimitOverrunError:
            raise Malformed("a line without an end") from None

    def close(self) -> None:
        """Be done with it."""
        self._writer.close()

    def reset(self) -> None:
        """Vanish."""
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._writer.transport.abort()

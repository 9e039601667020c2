"""The origins of a soak test, one kind in each process: ``honest``, ``faulty`` or ``echo``, for tunnels.

It prints its ports as JSON, and runs until its standard input is closed. An answer's content is that of the request's
number, and a field ``Number`` says it again. Of honest origins the path says how to answer, of faulty ones what goes
wrong:

    /sized/SIZE     by its length               /reset/SIZE     a reset in the middle
    /chunked/SIZE   chunked                     /short/SIZE     less than its length says
    /trickle/SIZE   in ten pieces, slowly       /torn/SIZE      chunks without the last one
    /bytewise/SIZE  each byte by itself         /garbage/0      what is no HTTP
    /upload/SIZE    the request's content       /silent/0       nothing
                                                /stalled/SIZE   half of it, then nothing
                                                /surplus/SIZE   another answer that nobody asked for
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from scripts.soaking.content import PIECE, Content

LOOPBACK: Final = "127.0.0.1"
RESET: Final = struct.pack("ii", 1, 0)
TRICKLE_SECONDS: Final = 0.1
SILENCE_SECONDS: Final = 30.0
"""How long an origin that does not go on keeps its connection, unless the proxy closes it."""

_TARGET = re.compile(r"[A-Z]+ /([a-z]+)/([0-9]+)\?n=([0-9]+) HTTP/1\.1")


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Done(Exception):
    """The connection has had its last answer."""


class Exchange:
    """One connection of an HTTP origin, and the request that it is at."""

    def __init__(self, seed: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._seed = seed
        self._reader = reader
        self._writer = writer
        self._fields: dict[str, str] = {}

    async def serve(self) -> None:
        """Answer one request after the other."""
        try:
            while True:
                head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                found = _TARGET.fullmatch(head[0])
                if found is None:
                    raise Done
                self._fields = {
                    name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])
                }
                await self._answer(found[1], int(found[2]), found[3])
        except (Done, OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writer.close()

    async def _answer(self, how: str, size: int, number: str) -> None:
        content = Content(f"{self._seed} {number}", size)
        if how == "upload":
            return await self._echo(number)
        if how == "garbage":
            self._writer.write(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
            await self._writer.drain()
            raise Done
        if how == "silent":
            await self._silence()
        if how in ("chunked", "torn"):
            self._head(number, "Transfer-Encoding: chunked")
            for piece in content.pieces():
                self._writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await self._writer.drain()
            if how == "torn":
                raise Done
            self._writer.write(b"0\r\n\r\n")
            return await self._writer.drain()
        self._head(number, f"Content-Length: {size}")
        if how in ("trickle", "bytewise"):
            whole = bytes(content)
            step = 1 if how == "bytewise" else -(-size // 10)
            for start in range(0, size, step):
                self._writer.write(whole[start : start + step])
                await self._writer.drain()
                await asyncio.sleep(TRICKLE_SECONDS if how == "trickle" else 0)
            return None
        if how in ("reset", "short", "stalled"):
            self._writer.write(bytes(content)[: size // 2])
            await self._writer.drain()
            if how == "stalled":
                await self._silence()
            if how == "reset":
                # Let the half be on its way first: a reset would take it back.
                await asyncio.sleep(TRICKLE_SECONDS)
                self._reset()
            raise Done
        for piece in content.pieces():
            self._writer.write(piece)
            await self._writer.drain()
        if how == "surplus":
            self._head("surplus", "Content-Length: 7")
            self._writer.write(b"surplus")
        return await self._writer.drain()

    def _head(self, number: str, framing: str) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nNumber: {number}\r\n{framing}\r\n\r\n"
        self._writer.write(head.encode())

    async def _echo(self, number: str) -> None:
        """Send the request's content back as it comes."""
        length = self._fields.get("content-length")
        self._head(number, "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}")
        async for piece in self._sized(int(length)) if length is not None else self._chunks():
            self._writer.write(piece if length is not None else b"%x\r\n%b\r\n" % (len(piece), piece))
            await self._writer.drain()
        if length is None:
            self._writer.write(b"0\r\n\r\n")
            await self._writer.drain()

    async def _sized(self, left: int) -> AsyncIterator[bytes]:
        while left:
            piece = await self._reader.read(min(left, PIECE))
            if not piece:
                raise Done
            left -= len(piece)
            yield piece

    async def _chunks(self) -> AsyncIterator[bytes]:
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            yield await self._reader.readexactly(size)
            await self._reader.readexactly(2)
        await self._reader.readexactly(2)

    async def _silence(self) -> None:
        """Say nothing until the other side gives up."""
        try:
            await asyncio.wait_for(self._reader.read(1), SILENCE_SECONDS)
        except TimeoutError:
            pass
        raise Done

    def _reset(self) -> None:
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._writer.transport.abort()


async def _close_at_once(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _echo_bytes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send everything back, and the end of it too."""
    try:
        while data := await reader.read(PIECE):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def main(kind: str, seed: str) -> None:
    """Serve until the standard input is closed."""

    async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await Exchange(seed, reader, writer).serve()

    # Bound, so that nobody else gets it, but not listening.
    refusing = socket.socket()
    refusing.bind((LOOPBACK, 0))
    kinds: dict[str, dict[str, Serve]] = {
        "honest": {"honest": http},
        "faulty": {"faulty": http, "closing": _close_at_once},
        "echo": {"echo": _echo_bytes},
    }
    ports = {"refusing": refusing.getsockname()[1]} if kind == "faulty" else {}
    for name, serve in kinds[kind].items():
        server = await asyncio.start_server(serve, LOOPBACK, 0, backlog=512)
        ports[name] = server.sockets[0].getsockname()[1]
    print(json.dumps(ports), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

"""The way to servers at 127.0.0.1 by ::1, since systems do not agree on which of the two localhost is first."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from contextlib import suppress
from functools import partial


def lead_there(ports: Iterable[int]) -> None:
    """Listen at ``ports`` of ::1 from now on, in a thread, where there is IPv6."""
    ready = threading.Event()
    threading.Thread(target=lambda: asyncio.run(_serve(ports, ready)), daemon=True).start()
    ready.wait()


async def _serve(ports: Iterable[int], ready: threading.Event) -> None:
    servers = []
    for port in ports:
        with suppress(OSError):
            servers.append(await asyncio.start_server(partial(_connected, port), "::1", port))
    ready.set()
    # They are closed with the process.
    await asyncio.Event().wait()


async def _connected(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    from_server, to_server = await asyncio.open_connection("127.0.0.1", port)
    with suppress(OSError):
        await asyncio.gather(_copy(reader, to_server), _copy(from_server, writer))
    writer.close()
    to_server.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.write_eof()

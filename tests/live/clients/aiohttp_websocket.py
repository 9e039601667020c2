"""Sends messages to an echo and back over a WebSocket, through a proxy, with aiohttp.

    python aiohttp_websocket.py http://proxy:port AUTHORITY URL

It is a program of its own since aiohttp leaves it to the loop to close the connection, and that to its garbage. What
came back is printed as JSON: the length of the text, whether it is the same, the bytes, and the code of the close.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys

import aiohttp

TEXT = "Grüße" * 20_000


async def main(proxy: str, authority: str, url: str) -> None:
    """Say something, and hear it."""
    trust = ssl.create_default_context(cafile=authority)
    async with aiohttp.ClientSession() as session, session.ws_connect(url, proxy=proxy, ssl=trust) as socket:
        await socket.send_str(TEXT)
        text = await socket.receive_str()
        await socket.send_bytes(b"bytes")
        received = await socket.receive_bytes()
        await socket.close()
        print(json.dumps([len(text), text == TEXT, received.decode(), socket.close_code]))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

"""Proxies of ours that go on by other proxies: their settings, and who and what the others know."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.live.daemon import ANY_PORT, Daemon, awaited
from tests.live.fetch import connected
from tests.live.test_long_lived import masked, upgraded
from tests.live.wire.raw import Message

USER: Final = "me"
PASSWORD: Final = "sécret: 7"
ACCOUNTS: Final = {USER: PASSWORD}

NAMES: Final = {"known.test": "127.0.0.1", "forbidden.test": "127.0.0.66", "localhost": "127.0.0.1"}
"""What Squid looks up without asking anybody; the first two nobody else knows."""

PSEUDONYM: Final = "ours.test"

NO_POOL: Final = "[upstream]\nmax_idle = 0\n"

CLIENTS_OWN: Final = {"Proxy-Authorization": "Basic Y2xpZW50OnNlY3JldA=="}
"""What a client may say of itself to a proxy that does not ask."""

INTERCEPTING: Final = '[intercept]\nmode = "all-but"\nports = ["all"]\n'


def route(name: str, *parents: str, file: Path | None = None) -> str:
    """The table of one route; with the ``file`` of a password, as `USER`."""
    listed = ", ".join(f'"{parent}"' for parent in parents)
    account = f'user = "{USER}"\npassword_file = "{file}"\n' if file is not None else ""
    return f'[[routes.tables]]\nname = "{name}"\nparents = [{listed}]\n{account}'


def settings(
    *routes: str,
    default: str = "",
    keys: str = "",
    access: str = "",
    rules: str = "",
    more: str = "",
    listen: Sequence[str] = (ANY_PORT,),
    via: str = PSEUDONYM,
) -> str:
    """The text of a settings file. By ``default`` everything goes by the first route.

    ``keys`` are more of the routes' table, ``access`` and ``rules`` of the access table, ``more`` is further tables.
    """
    first = routes[0].split('"')[1] if routes else "direct"
    return f"""\
[downstream]
listen = {json.dumps(list(listen))}
[forwarding]
via = "{via}"
[log]
access = "access.log"
format = "json"
[access]
connect_ports = ["all"]
{access}
{rules}
{more}
[routes]
default = "{default or first}"
{keys}
{"".join(routes)}"""


def password(directory: Path, words: str = PASSWORD) -> Path:
    """A file with a password, which is nobody else's to read."""
    file = directory / "password.txt"
    file.touch(0o600)
    file.write_text(f"{words}\n")
    return file


def logged(proxy: Daemon, count: int, after: int = 0) -> list[dict[str, Any]]:
    """What its access log says after the first ``after`` lines, as soon as that is ``count`` lines."""
    lines = awaited(lambda: len(found := proxy.lines_so_far()[after:]) >= count and found, f"{count} lines of a log")
    return list(map(json.loads, lines))


def answer(proxy: Daemon, head: bytes) -> Message:
    """The answer to a request, without its content."""
    connection = connected(proxy, head)
    try:
        return Message(connection.read_through(b"\r\n\r\n"))
    finally:
        connection.close()


def echoes(proxy: Daemon, url: str) -> bool:
    """Whether a WebSocket at ``url``, by an upgrade, sends back what it is sent, and ends in order."""
    client = connected(proxy)
    upgraded(client, url)
    for content in (b"one", b"another"):
        client.send(masked(content))
        if client.read(2 + len(content)) != bytes((0x82, len(content))) + content:
            return False
    client.send(b"\x88\x82" + bytes(4) + b"\x03\xe8")
    ended = client.read_to_end() == b"\x88\x02\x03\xe8"
    client.close()
    return ended


def sockets(proxy: Daemon) -> int:
    """How many sockets it has open. The pipes of tunnels stay for the next ones."""
    count = 0
    directory = Path(f"/proc/{proxy.pid}/fd")
    for name in os.listdir(directory):
        try:
            count += os.readlink(directory / name).startswith("socket:")
        except FileNotFoundError:
            continue
    return count


class Under:
    """A running proxy that goes by new settings, and what it says from then on.

    Whatever went by those of before is over then: it has no more than ``at_rest`` sockets open.
    """

    def __init__(self, daemon: Daemon, text: str, at_rest: int) -> None:
        self.daemon = daemon
        before = daemon.log.count("not reloaded")
        daemon.reload(text)
        assert daemon.log.count("not reloaded") == before, daemon.log
        awaited(lambda: sockets(daemon) <= at_rest, "all that was open before is closed")
        self._logged = len(daemon.log)
        self._written = len(daemon.lines_so_far())

    def __repr__(self) -> str:
        return f"<Under {self.daemon!r}>"

    @property
    def url(self) -> str:
        """Where it listens, as clients are told of it."""
        return self.daemon.url

    @property
    def log(self) -> str:
        """Its operational log since then."""
        return self.daemon.log[self._logged :]

    def sockets(self) -> int:
        """How many sockets it has open."""
        return sockets(self.daemon)

    def entries(self, count: int) -> list[dict[str, Any]]:
        """Its access log since then, as soon as that is ``count`` lines."""
        return logged(self.daemon, count, self._written)

    def metric(self, name: str, parent: str, route: str) -> float:
        """What is counted of a parent."""
        found = [
            line.rpartition(" ")[2]
            for line in self.daemon.control("metrics").stdout.splitlines()
            if line.startswith(f"{name}{{") and f'parent="{parent}"' in line and f'route="{route}"' in line
        ]
        assert len(found) <= 1, found
        return float(found[0]) if found else 0.0

"""What the daemon tells systemd about itself: sd_notify(3), spoken over a datagram socket.

Theory of operation. Each message goes through a socket of its own that lives for one call: they are seconds apart, and
so nothing is held that a fork or an upgrade could disturb. One that cannot be sent at once is counted and dropped, for
systemd's judgement is never worth making a client wait.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Final

NOTIFY_VARIABLES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
"""The variables that are meant for the daemon alone: a child that kept them could speak in its name."""

LONGEST_TEXT: Final = 1024
"""Bytes of a text that are sent. systemd drops a message of more than a page whole."""

_MICROSECONDS: Final = 1_000_000


def without(environment: Mapping[str, str]) -> dict[str, str]:
    """``environment`` for a child process that is not to notify."""
    return {name: value for name, value in environment.items() if name not in NOTIFY_VARIABLES}


def for_successor(environment: Mapping[str, str]) -> dict[str, str]:
    """``environment`` for the process that becomes the main one after an upgrade.

    Its number is not known before it has started, so the watchdog is not addressed to anybody: sd_watchdog_enabled(3)
    takes that as addressed to whoever reads it.
    """
    return {name: value for name, value in environment.items() if name != "WATCHDOG_PID"}


class Notifier:
    """The daemon's side of ``Type=notify``; without ``NOTIFY_SOCKET`` in ``environment`` it does nothing.

    ``pid`` is this process, to which the watchdog may or may not be addressed. ``monotonic`` is CLOCK_MONOTONIC in
    seconds, such as `time.monotonic`. No method blocks or raises; ``sent`` and ``failed`` count the messages.
    """

    __slots__ = ("_address", "_monotonic", "_watchdog_interval", "failed", "sent")

    def __init__(self, environment: Mapping[str, str], *, pid: int, monotonic: Callable[[], float]) -> None:
        self._address = _socket_address(environment.get("NOTIFY_SOCKET", ""))
        self._monotonic = monotonic
        self._watchdog_interval = _interval(environment, pid) if self._address else None
        self.sent = 0
        self.failed = 0

    def __repr__(self) -> str:
        if not self._address:
            return "<Notifier to nobody>"
        where = self._address.replace("\0", "@")
        return f"<Notifier to {where} sent={self.sent} failed={self.failed} watchdog={self._watchdog_interval}>"

    @property
    def enabled(self) -> bool:
        """Whether anybody listens."""
        return bool(self._address)

    @property
    def watchdog_interval(self) -> float | None:
        """How often to call `watchdog`, in seconds: half of the time that it allows, as sd_watchdog_enabled(3) asks.

        None when the watchdog is off, or another process's.
        """
        return self._watchdog_interval

    def ready(self, status: str = "") -> None:
        """The start, or a reload, is over, and it serves."""
        self._send("READY=1", _status(status))

    def reloading(self, status: str = "") -> None:
        """A reload begins; `ready` ends it, also when it came to nothing."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={int(self._monotonic() * _MICROSECONDS)}", _status(status))

    def stopping(self, status: str = "") -> None:
        """The end begins."""
        self._send("STOPPING=1", _status(status))

    def status(self, text: str) -> None:
        """One line for whoever runs ``systemctl status``. What is not printable becomes a space."""
        self._send(_status(text) or "STATUS=")

    def watchdog(self) -> None:
        """It is alive."""
        self._send("WATCHDOG=1")

    def main_pid(self, pid: int) -> None:
        """From now on ``pid`` is the service's main process. The unit needs ``NotifyAccess=all`` for that."""
        self._send(f"MAINPID={pid:d}")

    def _send(self, *assignments: str) -> None:
        if not self._address:
            return
        message = "\n".join(filter(None, assignments)).encode("utf-8", "replace")
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
                sender.sendto(message, self._address)
        except (OSError, ValueError):
            self.failed += 1
        else:
            self.sent += 1


def _socket_address(given: str) -> str:
    """What the socket module calls ``given``; empty when it names no Unix socket, such as systemd's ``vsock:``."""
    if given.startswith("@") and len(given) > 1:
        return "\0" + given[1:]
    return given if given.startswith("/") else ""


def _interval(environment: Mapping[str, str], pid: int) -> float | None:
    addressee = environment.get("WATCHDOG_PID", "")
    allowed = environment.get("WATCHDOG_USEC", "")
    if addressee and addressee != str(pid):
        return None
    if not allowed.isascii() or not allowed.isdigit() or int(allowed) == 0:
        return None
    return int(allowed) / _MICROSECONDS / 2


def _status(text: str) -> str:
    """The assignment for ``text``, which cannot begin another one; empty for an empty text."""
    line = "".join(character if character.isprintable() else " " for character in text).strip()
    short = line.encode("utf-8", "replace")[:LONGEST_TEXT].decode("utf-8", "ignore")
    return f"STATUS={short}" if short else ""

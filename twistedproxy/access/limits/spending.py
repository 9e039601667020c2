"""What is told of limits, from one worker to the others and to whoever keeps quotas."""

from __future__ import annotations

import msgspec


class Spending(msgspec.Struct, array_like=True):
    """What one key has taken up in some time: requests, and bytes to and from clients."""

    requests: int = 0
    download: int = 0
    upload: int = 0

    def add(self, requests: int, download: int, upload: int) -> None:
        """Count more of it."""
        self.requests += requests
        self.download += download
        self.upload += upload


class UnderWay(msgspec.Struct, array_like=True):
    """Client connections with an exchange under way, and tunnels."""

    connections: int = 0
    tunnels: int = 0


class Used(msgspec.Struct, array_like=True, frozen=True):
    """The bytes, both ways, of a day and of a month."""

    today: int = 0
    in_month: int = 0

    def and_more(self, more: Used) -> Used:
        """This and ``more``."""
        return Used(self.today + more.today, self.in_month + more.in_month)


class Tidings(msgspec.Struct):
    """What there is to tell, by limit and by key.

    ``spent`` is what has been taken up since the last time. ``under_way`` is all that there is. ``used`` are bytes that
    were counted before, or by others, which nobody of those who are told has taken up.
    """

    spent: dict[str, dict[str, Spending]] = {}
    under_way: dict[str, dict[str, UnderWay]] = {}
    used: dict[str, dict[str, Used]] = {}

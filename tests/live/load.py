"""A client that asks again and again, each time on a new connection, and keeps what it was answered."""

from __future__ import annotations

import threading
from types import TracebackType

from tests.live.fetch import fetch

PAUSE = 0.002
"""Seconds between two requests."""

PATIENCE = 30.0
"""Seconds that a busy machine may take for what is still missing at the end."""


class Load:
    """Requests for ``url`` through the proxy at ``address``, from ``threads`` clients, for as long as it is entered.

    It goes on until there were ``least``.
    """

    def __init__(self, address: str, url: str, threads: int = 2, least: int = 1) -> None:
        self.statuses: list[int] = []
        self.errors: list[str] = []
        self._address = address
        self._url = url
        self._least = least
        self._reached = threading.Event()
        self._enough = threading.Event()
        self._threads = [threading.Thread(target=self._go_on) for _ in range(threads)]

    def _go_on(self) -> None:
        while not self._enough.wait(PAUSE):
            try:
                self.statuses.append(fetch(self._address, self._url).status)
            except OSError as error:
                self.errors.append(repr(error))
            if self.errors or len(self.statuses) >= self._least:
                self._reached.set()

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if kind is None:
            self._reached.wait(PATIENCE)
        self._enough.set()
        for thread in self._threads:
            thread.join()

    def assert_no_failure(self) -> None:
        """Every request was answered with 200, and there were as many as there should be."""
        assert not self.errors, self.errors
        assert set(self.statuses) == {200}, set(self.statuses)
        assert len(self.statuses) >= self._least

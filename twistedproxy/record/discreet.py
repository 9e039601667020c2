"""What the logs tell of clients where they are not to tell all: the client's network, and URLs without queries."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar, cast

from twistedproxy.privacy.forwarded import network_of
from twistedproxy.record.finished import FinishedExchange
from twistedproxy.record.formats import AccessFormat

E = TypeVar("E")


class Discretion(NamedTuple):
    """What is kept out of the logs: by which address a client came, and the queries of URLs."""

    addresses: bool = False
    queries: bool = False

    def address(self, address: str) -> str:
        """The client's ``address`` as the logs may know it."""
        return network_of(address) if self.addresses else address

    def view(self, exchange: E) -> E:
        """``exchange`` as the logs may know it."""
        return cast(E, _Discreet(exchange, self)) if self.addresses or self.queries else exchange

    def format(self, format: AccessFormat) -> AccessFormat:
        """``format``, for exchanges as the logs may know them."""
        if not (self.addresses or self.queries):
            return format

        def discreet_format(exchange: FinishedExchange) -> bytes:
            return format(self.view(exchange))

        return discreet_format


class _Discreet:
    """An exchange that keeps some things to itself."""

    __slots__ = ("_discretion", "_exchange")

    def __init__(self, exchange: Any, discretion: Discretion) -> None:
        self._exchange = exchange
        self._discretion = discretion

    def __getattr__(self, name: str) -> Any:
        return getattr(self._exchange, name)

    @property
    def client_address(self) -> str:
        return self._discretion.address(self._exchange.client_address)

    @property
    def client_port(self) -> int:
        # Together with the time it is as good as an address, to whoever keeps the log of an address translation.
        port: int = self._exchange.client_port
        return 0 if self._discretion.addresses else port

    @property
    def url(self) -> bytes:
        return self._without_query(self._exchange.url)

    @property
    def detail(self) -> str:
        detail: str = self._exchange.detail
        address = self._exchange.client_address
        return detail.replace(address, self._discretion.address(address)) if address else detail

    def request_field(self, name: bytes) -> bytes:
        value: bytes = self._exchange.request_field(name)
        return self._without_query(value) if name == b"referer" else value

    def _without_query(self, url: bytes) -> bytes:
        return url.partition(b"?")[0] if self._discretion.queries else url

"""Fetching a list from its server: conditionally (RFC 9110 section 13), in bounded time and size, into a file.

It does not go through the proxy itself: whose settings would it go by? Servers are verified as those of clients are.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import urljoin, urlsplit

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    ConnectionDone,
    ConnectionLost,
    DNSLookupError,
)
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from twistedproxy import __version__
from twistedproxy.blocklists.files import BlocklistError, Unpacking, private
from twistedproxy.errors import ProxyError
from twistedproxy.settings.upstream_tls import UpstreamTLSSettings
from twistedproxy.tls.client_side import ClientSide
from twistedproxy.tls.trust import Trust

MOST_REDIRECTS: Final = 5

_REDIRECTS: Final = frozenset((301, 302, 303, 307, 308))
_LONGEST_VALIDATOR: Final = 1024


class Fetched(msgspec.Struct, frozen=True):
    """What came: nothing where it ``is_new`` not; and by what a server can tell next time that nothing has changed."""

    is_new: bool
    etag: str = ""
    last_modified: str = ""


class Wish(msgspec.Struct, frozen=True):
    """What to fetch, and what is there of it. ``timeout`` is in seconds, ``most`` in bytes, unpacked."""

    url: str
    timeout: float
    most: int
    etag: str = ""
    last_modified: str = ""


class Fetcher:
    """Fetches lists. ``environment`` has what the paths of authorities are made of."""

    def __init__(self, reactor: Any, environment: Mapping[str, str] = os.environ) -> None:
        self._reactor = reactor
        self._environment = environment

    def __repr__(self) -> str:
        return "<Fetcher>"

    def __call__(self, wish: Wish, into: Path, tls: UpstreamTLSSettings) -> Deferred[Fetched]:
        """Fetch into a new file ``into``, of which there is none after a failure, or where nothing is new.

        Fails with `BlocklistError`.
        """
        fetched = Deferred.fromCoroutine(self._fetch(wish, into, tls))
        fetched.addTimeout(wish.timeout, self._reactor, _took_too_long)

        def clean_up(result: Any) -> Any:
            if not isinstance(result, Fetched) or not result.is_new:
                into.unlink(missing_ok=True)
            return result

        return fetched.addBoth(clean_up)

    async def _fetch(self, wish: Wish, into: Path, tls: UpstreamTLSSettings) -> Fetched:
        # twisted.web takes 50 ms to import, which only those need that fetch.
        from twisted.web.client import Agent, HTTPConnectionPool
        from twisted.web.http_headers import Headers

        agent = Agent(
            self._reactor,
            _policy(ClientSide(Trust.of(tls, self._environment))),
            connectTimeout=wish.timeout,
            pool=HTTPConnectionPool(self._reactor, persistent=False),
        )
        headers = Headers({"User-Agent": [f"twistedproxy/{__version__}"], "Accept-Encoding": ["gzip"]})
        if wish.etag:
            headers.setRawHeaders("If-None-Match", [wish.etag])
        if wish.last_modified:
            headers.setRawHeaders("If-Modified-Since", [wish.last_modified])
        url = wish.url
        for _ in range(MOST_REDIRECTS + 1):
            try:
                response: Any = await agent.request(b"GET", url.encode("ascii"), headers)
            except CancelledError:
                raise
            except Exception as error:
                raise BlocklistError(_in_words(error)) from error
            if response.code not in _REDIRECTS:
                return await self._answer(response, wish, into)
            response._transport.loseConnection()
            url = _redirected(url, _field(response, "Location"))
        raise BlocklistError(f"it is redirected more than {MOST_REDIRECTS} times")

    async def _answer(self, response: Any, wish: Wish, into: Path) -> Fetched:
        if response.code == 304 and (wish.etag or wish.last_modified):
            return Fetched(False, wish.etag, wish.last_modified)
        coding = _field(response, "Content-Encoding").lower()
        if response.code != 200 or coding not in ("", "identity", "gzip", "x-gzip"):
            response._transport.loseConnection()
            if response.code != 200:
                raise BlocklistError(f"the server answered with status {response.code}")
            raise BlocklistError(f"the server has packed it with {coding[:32]!r}")
        with open(os.open(into, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            private(file.fileno())
            receiving = _Receiving(file, wish.most, Unpacking() if coding in ("gzip", "x-gzip") else None)
            response.deliverBody(receiving)
            await receiving.done
            file.flush()
            os.fsync(file.fileno())
        return Fetched(True, _field(response, "ETag"), _field(response, "Last-Modified"))


class _Receiving(Protocol):
    """Writes what comes to ``file``."""

    def __init__(self, file: BinaryIO, most: int, unpacking: Unpacking | None) -> None:
        self.done: Deferred[None] = Deferred(lambda _: self._give_up())
        self._file = file
        self._most = most
        self._unpacking = unpacking
        self._received = 0
        self._error: Exception | None = None

    def dataReceived(self, data: bytes) -> None:
        if self._error is not None:
            return
        try:
            for piece in (data,) if self._unpacking is None else self._unpacking.feed(data):
                self._received += len(piece)
                if self._received > self._most:
                    raise BlocklistError(f"it is larger than {self._most} bytes")
                self._file.write(piece)
        except (BlocklistError, OSError) as error:
            self._error = error
            self._give_up()

    def _give_up(self) -> None:
        transport: Any = self.transport
        if transport is not None:
            transport.loseConnection()
        self._end()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        from twisted.web.client import ResponseDone

        if self._error is None:
            if not reason.check(ResponseDone):
                self._error = BlocklistError("the connection broke off before its end")
            elif self._unpacking is not None:
                try:
                    self._unpacking.end()
                except BlocklistError as error:
                    self._error = error
        self._end()

    def _end(self) -> None:
        if self.done.called:
            return
        if self._error is None:
            self.done.callback(None)
        else:
            error = self._error
            self.done.errback(error if isinstance(error, BlocklistError) else BlocklistError(str(error)))


def _policy(side: ClientSide) -> Any:
    from twisted.web.iweb import IPolicyForHTTPS

    @implementer(IPolicyForHTTPS)
    class Policy:
        """Verifies servers as those of clients are."""

        def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:
            return side.creator(hostname.decode("ascii"), port, (b"http/1.1",))

    return Policy()


def _field(response: Any, name: str) -> str:
    values: list[str] = response.headers.getRawHeaders(name, [])
    value = values[0].strip() if values else ""
    return value if value.isascii() and value.isprintable() and len(value) <= _LONGEST_VALIDATOR else ""


def _redirected(url: str, location: str) -> str:
    there = urljoin(url, location)
    old, new = urlsplit(url), urlsplit(there)
    if not location or new.scheme not in ("http", "https") or not new.hostname or not there.isascii():
        raise BlocklistError("it is redirected to nowhere")
    if old.scheme == "https" and new.scheme != "https":
        raise BlocklistError("it is redirected from https to http")
    return there


def _in_words(error: Exception) -> str:
    """Why a request failed, for a person."""
    from twisted.web.client import ResponseFailed

    reasons = [one.value for one in getattr(error, "reasons", ())] or [error]
    match reasons[0]:
        case ProxyError() as refused:
            return f"{refused.sentence} {refused.detail}".strip()
        case DNSLookupError():
            return "the server's name could not be found"
        case ConnectError() | ConnectingCancelledError() as failed:
            return f"the server cannot be connected to: {getattr(failed, 'osError', None) or failed}"
        case ConnectionDone() | ConnectionLost():
            return "the server closed the connection without an answer"
        case other:
            if isinstance(error, ResponseFailed):
                return "the server's answer is not valid HTTP"
            return f"{type(other).__name__}: {other}"


def _took_too_long(result: object, seconds: float) -> object:
    raise BlocklistError(f"it took more than {seconds:g} s to fetch")

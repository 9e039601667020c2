"""Fetching a list from its server: conditionally (RFC 9110 section 13), in bounded time and size, into a file.

It does not go through the proxy itself: whose rules would it go by? But it goes by other proxies where the default
route does, and servers are verified as those of clients are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol
from urllib.parse import urljoin, urlsplit

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    ConnectionDone,
    ConnectionLost,
    DNSLookupError,
)
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IStreamClientEndpoint
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from twistedproxy import __version__
from twistedproxy.blocklists.files import BlocklistError, Unpacking, private
from twistedproxy.errors import ProxyError
from twistedproxy.settings.types import Settings
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


class Way(Protocol):
    """The way by other proxies."""

    @property
    def forwards(self) -> bool:
        """Whether they take requests for http:// URLs as they are, at `endpoint` without a host."""

    @property
    def authorization(self) -> bytes:
        """The value of Proxy-Authorization for these, or nothing."""

    def endpoint(self, host: str = "", port: int = 0) -> IStreamClientEndpoint:
        """Where ``host`` is at ``port``; without one, another proxy."""

    def close(self) -> None:
        """It is needed no more."""


FindWay = Callable[[Any, Settings, Trust, Mapping[str, str]], "Way | None"]
"""The way for a reactor, settings and an environment; None where it leads to the servers themselves."""


def direct(reactor: Any, settings: Settings, trust: Trust, environment: Mapping[str, str]) -> None:
    """To the servers themselves."""


class Fetcher:
    """Fetches lists. ``environment`` has what the paths of files are made of, and ``find_way`` says by whom it goes."""

    def __init__(self, reactor: Any, environment: Mapping[str, str] = os.environ, find_way: FindWay = direct) -> None:
        self._reactor = reactor
        self._environment = environment
        self._find_way = find_way

    def __repr__(self) -> str:
        return "<Fetcher>"

    def __call__(self, wish: Wish, into: Path, settings: Settings) -> Deferred[Fetched]:
        """Fetch into a new file ``into``, of which there is none after a failure, or where nothing is new.

        Fails with `BlocklistError`.
        """
        fetched = Deferred.fromCoroutine(self._fetch(wish, into, settings))
        fetched.addTimeout(wish.timeout, self._reactor, _took_too_long)

        def clean_up(result: Any) -> Any:
            if not isinstance(result, Fetched) or not result.is_new:
                into.unlink(missing_ok=True)
            return result

        return fetched.addBoth(clean_up)

    async def _fetch(self, wish: Wish, into: Path, settings: Settings) -> Fetched:
        trust = Trust.of(settings.upstream_tls, self._environment)
        way = self._find_way(self._reactor, settings, trust, self._environment)
        try:
            return await self._fetch_by(_Agents(self._reactor, ClientSide(trust), wish.timeout, way), wish, into)
        finally:
            if way is not None:
                way.close()

    async def _fetch_by(self, agents: _Agents, wish: Wish, into: Path) -> Fetched:
        # twisted.web takes 50 ms to import, which only those need that fetch.
        from twisted.web.http_headers import Headers

        headers = Headers({"User-Agent": [f"twistedproxy/{__version__}"], "Accept-Encoding": ["gzip"]})
        if wish.etag:
            headers.setRawHeaders("If-None-Match", [wish.etag])
        if wish.last_modified:
            headers.setRawHeaders("If-Modified-Since", [wish.last_modified])
        url = wish.url
        for _ in range(MOST_REDIRECTS + 1):
            try:
                response: Any = await agents.get(url.encode("ascii"), headers)
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


class _Agents:
    """Who asks for a URL: one whom other proxies forward for, or one who gets to servers."""

    def __init__(self, reactor: Any, side: ClientSide, timeout: float, way: Way | None) -> None:
        from twisted.web.client import Agent, HTTPConnectionPool, ProxyAgent

        pool = HTTPConnectionPool(reactor, persistent=False)
        policy = _policy(side)
        self._forwarded: Any = None
        self._authorization = b""
        if way is None:
            self._agent: Any = Agent(reactor, policy, connectTimeout=timeout, pool=pool)
            return
        self._agent = Agent.usingEndpointFactory(reactor, _endpoints(way, policy), pool)
        if way.forwards:
            self._forwarded = ProxyAgent(way.endpoint(), reactor, pool)
            self._authorization = way.authorization

    def get(self, url: bytes, headers: Any) -> Any:
        """Ask for ``url``."""
        if self._forwarded is None or not url.lower().startswith(b"http://"):
            return self._agent.request(b"GET", url, headers)
        if self._authorization:
            headers = headers.copy()
            headers.setRawHeaders("Proxy-Authorization", [self._authorization])
        return self._forwarded.request(b"GET", url, headers)


def _endpoints(way: Way, policy: Any) -> Any:
    from twisted.web.iweb import IAgentEndpointFactory

    @implementer(IAgentEndpointFactory)
    class Endpoints:
        """Servers, by way of other proxies."""

        def endpointForURI(self, uri: Any) -> IStreamClientEndpoint:
            endpoint = way.endpoint(uri.host.decode("ascii"), uri.port)
            if uri.scheme != b"https":
                return endpoint
            secured: IStreamClientEndpoint = wrapClientTLS(policy.creatorForNetloc(uri.host, uri.port), endpoint)
            return secured

    return Endpoints()


class _Receiving(TwistedProtocol):
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

"""What the rules are asked: one request, or one tunnel, and who wants it.

A URL is judged in one spelling, however it was sent: what need not be percent-encoded is decoded, and dot segments are
taken out (RFC 3986 section 6.2.2), and of several slashes one counts, so that ``/%61dmin``, ``/x/../admin`` and
``//admin`` are ``/admin``. Servers do not agree on the order of these things. A path that leads elsewhere in another
order is not judged at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, Protocol

from twistedproxy.access.hosts import canonical_host
from twistedproxy.errors import HeadTooLarge, TargetError, TargetTooLong

PLAIN: Final = "plain"
TUNNEL: Final = "tunnel"
INTERCEPTED: Final = "intercepted"
WAYS: Final = (PLAIN, TUNNEL, INTERCEPTED)
"""How something comes: a request to the proxy, a CONNECT, or a request inside a tunnel that is looked into."""

LONGEST_SUBJECT: Final = 8192
"""Characters of the longest text that a pattern is held against."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
# Without any of these a path is in its one spelling.
_ODD: Final = re.compile(rb"%|//|/\.|\\").search
_ENCODED: Final = re.compile("%([0-9A-Fa-f]{2})")
_SLASHES: Final = re.compile("//+")
_SEPARATORS: Final = re.compile(r"/|\\|%2F|%5C")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class FieldValues(Protocol):
    """The fields of a request."""

    @property
    def index(self) -> Mapping[bytes, bytes | tuple[bytes, ...]]:
        """The value, or the values where there are several, by names in lower case."""

    def values(self, name: bytes) -> tuple[bytes, ...]:
        """The values of all lines called ``name`` (in lower case)."""


class Question:
    """One question; what costs something is made of it when it is first looked at.

    ``method`` and ``target`` (path and query) are as they were sent. ``when`` is in seconds since 1970. ``groups`` are
    those of ``user``, who is nobody when empty. ``scheme`` is empty for a tunnel.
    """

    __slots__ = (
        "_fields",
        "_path",
        "_url",
        "client",
        "fields",
        "groups",
        "host",
        "listener",
        "method",
        "port",
        "scheme",
        "target",
        "user",
        "way",
        "when",
    )

    def __init__(
        self,
        client: str,
        listener: str,
        method: bytes,
        scheme: str,
        host: str,
        port: int,
        target: bytes,
        way: str,
        fields: FieldValues,
        when: float,
        user: str = "",
        groups: frozenset[str] = frozenset(),
    ) -> None:
        self.client = client
        self.listener = listener
        self.method = method
        self.scheme = scheme
        self.host = host
        self.port = port
        self.target = target
        self.way = way
        self.fields = fields
        self.when = when
        self.user = user
        self.groups = groups
        self._fields: dict[bytes, list[str]] | None = None
        self._path: str | None = None
        self._url: str | None = None

    def __repr__(self) -> str:
        return f"<Question {self.client} {self.way} {self.method!r} {self.host}:{self.port}>"

    @property
    def minute(self) -> int:
        """Which minute since 1970 it is."""
        return int(self.when // 60)

    @property
    def path(self) -> str:
        """The path, without a query, in its one spelling; empty for a tunnel. Raises `TargetTooLong`, `TargetError`."""
        if self._path is None:
            target = self.target.partition(b"?")[0]
            if len(target) > LONGEST_SUBJECT:
                raise TargetTooLong(f"the rules look at paths of up to {LONGEST_SUBJECT} characters")
            self._path = normal_path(target.decode("latin-1"))
        return self._path

    @property
    def url(self) -> str:
        """The whole URL, in its one spelling; empty for a tunnel. Raises `TargetTooLong` and `TargetError`."""
        url = self._url
        if url is not None:
            return url
        target = self.target
        if self.way == TUNNEL:
            url = ""
        elif len(target) > LONGEST_SUBJECT:
            raise TargetTooLong(f"the rules look at URLs of up to {LONGEST_SUBJECT} characters")
        else:
            url = _origin(self.scheme, self.host, self.port)
            if _ODD(target) is None:
                url += target.decode("latin-1")
            else:
                mark, query = target.partition(b"?")[1:]
                url += self.path + (mark + query).decode("latin-1")
        self._url = url
        return url

    def field(self, name: bytes) -> list[str]:
        """The values of a field, by its name in lower case. Raises `HeadTooLarge`."""
        known = self._fields
        if known is None:
            known = self._fields = {}
        texts = known.get(name)
        if texts is None:
            values = self.fields.values(name)
            if any(len(value) > LONGEST_SUBJECT for value in values):
                raise HeadTooLarge(f"the rules look at fields of up to {LONGEST_SUBJECT} characters")
            texts = known[name] = [value.decode("utf-8", "replace") for value in values]
        return texts


@lru_cache(maxsize=4096)
def _origin(scheme: str, host: str, port: int) -> str:
    """The beginning of a URL, up to its path, in its one spelling."""
    host = canonical_host(host)
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}" if port == _DEFAULT_PORTS.get(scheme) else f"{scheme}://{name}:{port}"


def normal_path(path: str) -> str:
    """``path`` in its one spelling; see the head of the module. Raises `TargetError` when there is more than one."""
    if "%" in path:
        path = _ENCODED.sub(_decoded, path)
    if "//" in path:
        merged = _SLASHES.sub("/", path)
        if "/." in path and _without_dot_segments(merged) != _SLASHES.sub("/", _without_dot_segments(path)):
            raise TargetError("its path leads elsewhere where empty segments do not count, and rules look at paths")
        path = merged
    if ".." in path and ("%" in path or "\\" in path):
        read_so = _without_dot_segments(_SEPARATORS.sub("/", path))
        if read_so != _SEPARATORS.sub("/", _without_dot_segments(path)):
            raise TargetError("its path leads elsewhere where an encoded slash is one, and rules look at paths")
    return _without_dot_segments(path) if "/." in path else path


def _decoded(match: re.Match[str]) -> str:
    character = chr(int(match[1], 16))
    return character if character in _UNRESERVED else f"%{match[1].upper()}"


def _without_dot_segments(path: str) -> str:
    """RFC 3986 section 5.2.4."""
    segments = path.split("/")
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            if len(kept) > 1:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/".join(kept)

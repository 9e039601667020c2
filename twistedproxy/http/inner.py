"""Requests inside an opened tunnel: they are meant for one origin, which the CONNECT has named.

A client speaks to that origin as if nobody were between (RFC 9112 section 3.2.1): its targets are paths. Made absolute,
they are what it would have sent to a proxy that it trusts with them, and pass through the same exchange.
"""

from __future__ import annotations

from typing import NamedTuple

from twistedproxy.errors import MisdirectedRequest, TargetError
from twistedproxy.http.message import RequestHead
from twistedproxy.http.target import parse_target

_DEFAULT_PORTS = {b"http": 80, b"https": 443}


class Inside(NamedTuple):
    """The origin at the other end of a tunnel: scheme, host in lower case, port, how they are written in a URL, and the
    URL of its root."""

    scheme: bytes
    host: str
    port: int
    authority: bytes
    root: bytes

    @classmethod
    def of(cls, scheme: bytes, host: str, port: int) -> Inside:
        """The origin of that scheme at ``host`` and ``port``."""
        name = f"[{host}]" if ":" in host else host
        written = (name if port == _DEFAULT_PORTS[scheme] else f"{name}:{port}").encode("ascii")
        return cls(scheme, host, port, written, b"%b://%b/" % (scheme, written))


def make_absolute(head: RequestHead, inside: Inside) -> None:
    """Give a request that came through the tunnel the absolute target that it stands for (RFC 9110 section 7.1).

    Raises `MisdirectedRequest` when that is another origin's (RFC 9110 section 15.5.20): two of them must never mix on
    one connection; and `TargetError` for what is no target, or a CONNECT.
    """
    if head.method == b"CONNECT":
        raise TargetError("a CONNECT inside a tunnel leads nowhere")
    host = head.fields.first(b"host")
    if (not host or host == inside.authority) and head.target.startswith(inside.root):
        # As HTTP/2 has it. It begins as nobody else's can.
        return
    if head.target.startswith(b"/") or head.target == b"*":
        path = head.target if head.target != b"*" else b""
        head.target = b"%b://%b%b" % (inside.scheme, host or inside.authority, path)
    elif host and not _is_inside(b"%b://%b" % (inside.scheme, host), inside):
        _misdirected(inside, "its Host field")
    if not _is_inside(head.target, inside):
        _misdirected(inside, "the request")


def _is_inside(url: bytes, inside: Inside) -> bool:
    there = parse_target(b"GET", url)
    return (
        there.scheme.encode("ascii") == inside.scheme
        and there.host.removesuffix(".") == inside.host.removesuffix(".")
        and there.port == inside.port
    )


def _misdirected(inside: Inside, what: str) -> None:
    raise MisdirectedRequest(f"the tunnel leads to {inside.authority.decode('ascii')}, and {what} elsewhere")

"""The settings of HTTP/2, on both sides; `types` puts them together with the others."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias, get_args

import msgspec

from twistedproxy.settings.kinds import choice, count, flag, size, special

_KIB = 1024

WithServers: TypeAlias = Literal["mirror", "always", "never"]


class HTTP2Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where HTTP/2 is spoken, and what one connection may take up."""

    with_clients: Annotated[
        bool,
        flag(
            "Whether clients may speak HTTP/2 inside tunnels that are looked into (`intercept`). When false they are "
            "offered HTTP/1.1; those that want nothing else than HTTP/2 get a tunnel that is not looked into."
        ),
    ] = True
    with_servers: Annotated[
        WithServers,
        choice(
            "Where HTTP/2 is spoken with servers (ALPN): `mirror` for the requests of clients that speak it, and where "
            "a server knows nothing else; `always` with every server that offers it, which makes fewer connections and "
            "costs more CPU time; `never`. Each side is translated to the other where they differ.",
            get_args(WithServers),
            examples=["always"],
        ),
    ] = "mirror"
    except_hosts: Annotated[
        tuple[str, ...],
        special(
            "hosts",
            "The hosts for which HTTP/2 is spoken on neither side, in the notation of `intercept.hosts`.",
            examples=[["old.example.com", ".legacy.example"]],
        ),
    ] = ()
    except_listeners: Annotated[
        tuple[str, ...],
        special(
            "endpoints or none",
            "The listeners whose clients are not offered HTTP/2: entries of `downstream.listen`, written as there.",
            examples=[["tcp:8080:interface=127.0.0.1"]],
        ),
    ] = ()
    max_streams: Annotated[
        int,
        count(
            "How many requests one client may have under way on a connection. It is told so, and one more is refused "
            "without harm to the others. That many are also the most that are sent to a server on one connection.",
            most=1000,
            examples=[250],
        ),
    ] = 100
    stream_window: Annotated[
        int,
        size(
            "How many bytes of one message's content may come before they have been passed on. It is the most that a "
            "stream holds in memory when the other side does not read, and limits how fast one message can come from "
            "far away: a window is sent for each round trip.",
            least=64 * _KIB,
            most=4 * _KIB * _KIB,
            examples=["1MiB"],
        ),
    ] = 256 * _KIB

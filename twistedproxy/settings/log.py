"""The settings of what is written down; `types` puts them together with the others."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias, get_args

import msgspec

from twistedproxy.settings.kinds import choice, size, special

LogFormat: TypeAlias = Literal["squid", "combined", "json"]
LogLevel: TypeAlias = Literal["debug", "info", "warn", "error", "critical"]

NOWHERE: Final = ("", "off")
"""The values of ``log.websocket`` that name no place."""

_KIB = 1024


class LogSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is written down, where, and in which form."""

    access: Annotated[
        str,
        special(
            "log path",
            "Where the access log goes, one line for each request and each tunnel: a path, `-` for "
            "standard output, `off` for none. When it is empty: standard output in the foreground, "
            "`access.log` in the state directory as a daemon. SIGUSR1 opens the file anew, for log "
            "rotation.",
            examples=["/var/log/twistedproxy/access.log"],
        ),
    ] = ""
    format: Annotated[
        LogFormat,
        choice(
            "The form of the access log's lines: `squid` (Squid's native format), `combined` (as web "
            "servers write it), or `json` (one object a line, with everything that is known).",
            get_args(LogFormat),
            examples=["json"],
        ),
    ] = "squid"
    level: Annotated[
        LogLevel,
        choice(
            "From which level on the operational log (starts, stops, reloads, faults) is written. It is "
            "not the access log.",
            get_args(LogLevel),
            examples=["warn"],
        ),
    ] = "info"
    websocket: Annotated[
        str,
        special(
            "log path",
            "Where the messages of WebSockets are written down, one JSON object a line: a path, `-` for standard "
            "output, `off` (or nothing) for nowhere. Those of `ws` are seen, and those of `wss` in tunnels that "
            "`intercept` opens. The file then holds what people say to each other, passwords and all; it is made for "
            "the proxy's own account only. SIGUSR1 opens it anew.",
            examples=["/var/log/twistedproxy/websocket.log"],
        ),
    ] = "off"
    websocket_hosts: Annotated[
        tuple[str, ...],
        special(
            "hosts",
            "The hosts whose messages are written down, in the notation of `intercept.hosts`; `*` is every host. All "
            "others are relayed without a look. A reload counts for WebSockets that begin after it.",
            examples=[["api.example.com", ".example.org"]],
        ),
    ] = ("*",)
    websocket_max_content: Annotated[
        int,
        size(
            "How much of a message's content is written, in bytes. It is also what a message may take up in memory "
            "until it is complete, for each direction of each WebSocket; what comes beyond is only counted. 0 writes "
            "no content.",
            least=0,
            most=1024 * _KIB,
            examples=["1KiB"],
        ),
    ] = 16 * _KIB

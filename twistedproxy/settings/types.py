"""The settings: one frozen struct for each room of the house, one field for each key of the file.

These types, with those of `access`, `accounts`, `blocklists`, `http2`, `interception`, `limits`, `log`, `operation`,
`privacy`, `resolver`, `routes` and `upstream_tls`, are the only place where a key, its default, its limits and its
description stand. The file is checked against them, and ``docs/settings.md`` and the output of ``--print-settings`` are
made from them. Durations are float seconds and sizes int bytes once they are loaded.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from twistedproxy.settings.access import AccessSettings
from twistedproxy.settings.accounts import AccountsSettings
from twistedproxy.settings.blocklists import BlocklistsSettings
from twistedproxy.settings.http2 import HTTP2Settings
from twistedproxy.settings.interception import InterceptSettings
from twistedproxy.settings.kinds import count, duration, flag, size, special
from twistedproxy.settings.limits import LimitsSettings
from twistedproxy.settings.log import LogSettings
from twistedproxy.settings.operation import ControlSettings, ServiceSettings, TLSSettings
from twistedproxy.settings.privacy import PrivacySettings
from twistedproxy.settings.resolver import ResolverSettings
from twistedproxy.settings.routes import RoutesSettings
from twistedproxy.settings.upstream_tls import UpstreamTLSSettings

_KIB = 1024


class DownstreamSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The side that faces the clients: where the proxy listens, and what it lets a client take up."""

    listen: Annotated[
        tuple[str, ...],
        special(
            "endpoints",
            "Where clients connect: one Twisted endpoint description for each listener, such as "
            "`tcp:8080:interface=127.0.0.1`, `tcp6:8080`, `unix:/run/twistedproxy/proxy.sock` or "
            "`systemd:domain=INET:name=proxy`. Colons inside an argument are written `\\:`. Who may use a "
            "listener that other machines can reach is said by `access.clients`. One with TLS is "
            "`ssl:8443:privateKey=/etc/key.pem:certKey=/etc/chain.pem`, whose files are read again at a reload; it "
            "asks clients for certificates with `clientCA=`, a file with the authorities that sign them, "
            "`clientCertificate=required` (as without it) or `optional`, and `clientCRL=`, a file with lists of those "
            "that are revoked.",
            examples=[["tcp:8080:interface=192.168.1.1", "unix:/run/twistedproxy/proxy.sock"]],
        ),
    ] = ("tcp:8080:interface=127.0.0.1",)
    max_connections: Annotated[
        int,
        count(
            "How many client connections may be open at the same time. At the limit the proxy stops "
            "accepting until one closes; clients wait in the listener's backlog meanwhile. 0 takes the "
            "number that the process's limit of file descriptors leaves room for, and more than that is "
            "never taken.",
            least=0,
            examples=[20000],
        ),
    ] = 0
    max_connections_per_client: Annotated[
        int,
        count(
            "How many connections one client address may have open at the same time. One more is answered "
            "with 429 and closed (`client_connections_exceeded` in the log).",
            examples=[256],
        ),
    ] = 2048
    max_head_size: Annotated[
        int,
        size(
            "The largest head of a request that is accepted: request line and header fields together, in "
            "bytes. A larger one is answered with 431 and the connection closed (`head_too_large`).",
            least=8192,
            examples=["128KiB"],
        ),
    ] = 64 * _KIB
    max_fields: Annotated[
        int,
        count(
            "How many header fields a request may have; trailer fields are counted by themselves. One "
            "more is answered with 431 (`head_too_large`).",
            most=65536,
            examples=[64],
        ),
    ] = 128
    max_target_size: Annotated[
        int,
        size(
            "The longest request target (the URL) that is accepted, in bytes. A longer one is answered "
            "with 414 (`target_too_long`). It is a part of the head, so it cannot be more than "
            "`max_head_size`; RFC 9110 asks for 8000 bytes at least.",
            least=8000,
            examples=["8KiB"],
        ),
    ] = 16 * _KIB
    head_timeout: Annotated[
        float,
        duration(
            "How long a client may take from the first byte of a request to the end of its head, however "
            "steadily the bytes come in. After that it is answered with 408 and closed "
            "(`request_timeout`).",
            examples=["5s"],
        ),
    ] = 15.0
    body_timeout: Annotated[
        float,
        duration(
            "How long a client may pause between two pieces of a request's content while the proxy waits "
            "for more. After that the request is given up (`request_timeout`). It does not limit how long "
            "an upload takes.",
            examples=["5m"],
        ),
    ] = 60.0
    idle_timeout: Annotated[
        float,
        duration(
            "How long a connection may stay open without a request on it, before the first one or between "
            "two. After that it is closed without an answer.",
            examples=["2m"],
        ),
    ] = 60.0
    half_closed_timeout: Annotated[
        float,
        duration(
            "How long an answer may make no progress towards a client that has shut its sending side. One "
            "that has left looks the same, so after that the exchange is given up and its upstream "
            "connection freed (`client_left`). While bytes of the answer go out it goes on. Longer suits "
            "clients that shut their side on purpose and wait for slow servers.",
            examples=["10s"],
        ),
    ] = 1.0
    write_timeout: Annotated[
        float,
        duration(
            "How long a client may take in nothing while bytes wait to be sent to it. After that its "
            "connection is cut and the upstream one freed (`client_stalled`). It does not limit how long "
            "a download takes.",
            examples=["5m"],
        ),
    ] = 60.0


class UpstreamSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The side that faces the servers: how connections are made, shared and kept."""

    max_connections: Annotated[
        int,
        count(
            "How many connections to servers may be open at the same time, in all. At the limit idle ones "
            "are closed first; when there are none, requests wait for `wait_timeout`.",
            examples=[8192],
        ),
    ] = 1024
    max_connections_per_origin: Annotated[
        int,
        count(
            "How many connections may be open at the same time to one origin (scheme, host and port), or to the "
            "parents of one route (`routes`) for all http:// requests. At the limit requests to it wait for "
            "`wait_timeout`.",
            examples=[32],
        ),
    ] = 256
    max_idle: Annotated[
        int,
        count(
            "How many connections are kept open for reuse while no request is on them, for all origins "
            "together. When there is one too many, the one that has been idle longest is closed. 0 keeps "
            "none.",
            least=0,
            examples=[1024],
        ),
    ] = 256
    idle_timeout: Annotated[
        float,
        duration(
            "How long a connection is kept open for reuse before it is closed. Keep it below what the "
            "servers allow, or more requests meet a connection that is just being closed.",
            examples=["5s"],
        ),
    ] = 30.0
    wait_timeout: Annotated[
        float,
        duration(
            "How long a request may wait for a connection while the limits above are reached. After that "
            "it is answered with 503 (`upstream_connections_exceeded`). 0 does not wait.",
            least=0,
            examples=["2s"],
        ),
    ] = 10.0
    connect_timeout: Annotated[
        float,
        duration(
            "How long connecting to a server may take, over all of its addresses together. After that the "
            "client is answered with 504 (`connect_timeout`).",
            examples=["3s"],
        ),
    ] = 10.0
    attempt_delay: Annotated[
        float,
        duration(
            "How long an attempt to connect to one address of a server has to itself before the next "
            "address is tried beside it (RFC 8305). An address that refuses is left at once.",
            least=0.01,
            examples=["100ms"],
        ),
    ] = 0.25
    source_address: Annotated[
        tuple[str, ...],
        special(
            "source addresses",
            "The addresses of this machine that connections to servers come from: one of IPv4, one of IPv6, or one of "
            "them, and then servers are only reached over that family, so that the other address is not shown. Empty "
            "leaves it to the system. Connections that are open when it changes stay as they are.",
            examples=[["192.168.7.2", "2001:db8:7::2"]],
        ),
    ] = ()
    tls_timeout: Annotated[
        float,
        duration(
            "How long a TLS handshake with a server may take. After that the client is answered with 504 "
            "(`tls_timeout`).",
            examples=["5s"],
        ),
    ] = 10.0
    first_byte_timeout: Annotated[
        float,
        duration(
            "How long a server may take from the end of the request to the first byte of its answer. "
            "After that the client is answered with 504 (`first_byte_timeout`).",
            examples=["1m"],
        ),
    ] = 300.0
    body_timeout: Annotated[
        float,
        duration(
            "How long a server may pause between two pieces of an answer's content while the proxy waits "
            "for more. After that the answer is cut, so that it does not look complete (`body_timeout`). "
            "It does not limit how long a download takes.",
            examples=["30m"],
        ),
    ] = 300.0
    max_head_size: Annotated[
        int,
        size(
            "The largest head of an answer that is accepted: status line and header fields together, in "
            "bytes. A larger one gives the client 502 (`response_head_too_large`).",
            least=8192,
            examples=["128KiB"],
        ),
    ] = 64 * _KIB
    max_fields: Annotated[
        int,
        count(
            "How many header fields an answer may have; trailer fields are counted by themselves. One "
            "more gives the client 502 (`response_head_too_large`).",
            most=65536,
            examples=[128],
        ),
    ] = 256


class TunnelSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The relays for bytes that the proxy does not look at: CONNECT tunnels and upgraded connections."""

    splice: Annotated[
        bool,
        flag(
            "Whether Linux moves a tunnel's bytes from socket to socket itself (splice), which costs a "
            "fraction of the CPU time. When false, or on other systems, the proxy copies them; nothing "
            "else is different."
        ),
    ] = True
    idle_timeout: Annotated[
        float,
        duration(
            "How long a tunnel may carry no byte in either direction. After that it is closed (`tunnel_idle`).",
            examples=["10m"],
        ),
    ] = 3600.0


class ForwardingSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the proxy says of itself in the messages that it forwards."""

    via: Annotated[
        str,
        special(
            "pseudonym",
            "The name that the proxy gives itself in the Via field: a token, a host, or host:port. A "
            "request that already carries it has come round in a circle and is answered with 502 "
            "(`loop_detected`), so no two proxies of one chain may have the same. When it is empty, a "
            'random one ("pyproxy-" and eight hexadecimal digits) is made at each start.',
            examples=["proxy-1.example"],
        ),
    ] = ""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All of the settings; one table of the file for each field."""

    service: ServiceSettings = ServiceSettings()
    downstream: DownstreamSettings = DownstreamSettings()
    upstream: UpstreamSettings = UpstreamSettings()
    upstream_tls: UpstreamTLSSettings = UpstreamTLSSettings()
    resolver: ResolverSettings = ResolverSettings()
    routes: RoutesSettings = RoutesSettings()
    tunnel: TunnelSettings = TunnelSettings()
    access: AccessSettings = AccessSettings()
    accounts: AccountsSettings = AccountsSettings()
    blocklists: BlocklistsSettings = BlocklistsSettings()
    limits: LimitsSettings = LimitsSettings()
    forwarding: ForwardingSettings = ForwardingSettings()
    privacy: PrivacySettings = PrivacySettings()
    tls: TLSSettings = TLSSettings()
    intercept: InterceptSettings = InterceptSettings()
    http2: HTTP2Settings = HTTP2Settings()
    control: ControlSettings = ControlSettings()
    log: LogSettings = LogSettings()

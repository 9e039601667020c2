"""The settings of what is opened to see inside, and how; `types` puts them together with the others."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias, get_args

import msgspec

from twistedproxy.settings.kinds import choice, count, duration, flag, special

InterceptMode: TypeAlias = Literal["off", "listed", "all-but"]
Otherwise: TypeAlias = Literal["tunnel", "refuse"]


class InterceptSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which tunnels the proxy looks into, with the knowledge of those who use them."""

    mode: Annotated[
        InterceptMode,
        choice(
            "Which tunnels (CONNECT) are opened: `off` for none; `listed` for those to one of `hosts`; `all-but` for "
            "all of them. Those to a host in `leave_alone` never are.",
            get_args(InterceptMode),
            examples=["listed"],
        ),
    ] = "off"
    hosts: Annotated[
        tuple[str, ...],
        special(
            "hosts",
            "The hosts to open in the mode `listed`: a name, `.example.com` for that name and all below it, a glob "
            "such as `*.cdn.example.com`, or an IP address.",
            examples=[["api.example.com", ".example.org"]],
        ),
    ] = ()
    leave_alone: Annotated[
        tuple[str, ...],
        special(
            "hosts",
            "The hosts whose tunnels are never opened, in the notation of `hosts`. `defaults` stands for a list that "
            "comes with the proxy: updates of operating systems, banks, health, sign-on services.",
            examples=[["defaults", ".bank.example"]],
        ),
    ] = ("defaults",)
    ports: Annotated[
        tuple[int | str, ...],
        special(
            "ports",
            'The ports at which tunnels are opened: numbers, ranges such as `"8000-8999"`, or `"all"`. '
            "`access.connect_ports` says which tunnels there may be at all.",
            examples=[[443, 8443]],
        ),
    ] = (443,)
    clients: Annotated[
        tuple[str, ...],
        special(
            "clients",
            "The clients whose tunnels are opened, as in `access.clients`.",
            examples=[["192.168.7.0/24"]],
        ),
    ] = ("all",)
    peek_timeout: Annotated[
        float,
        duration(
            "How long a client may take to say the first words in a tunnel that is to be opened. After that "
            "`unreadable` says what becomes of it: in some protocols the server speaks first.",
            examples=["1s"],
        ),
    ] = 3.0
    unreadable: Annotated[
        Otherwise,
        choice(
            "What becomes of a tunnel that is to be opened, but in which neither TLS nor HTTP is spoken: `tunnel` "
            "relays it unseen, `refuse` closes it (`not_opened`). Silence for `peek_timeout` counts as that, but not a "
            "ClientHello for another host or without HTTP/1.1: that is always a tunnel.",
            get_args(Otherwise),
            examples=["refuse"],
        ),
    ] = "tunnel"
    learn_after: Annotated[
        int,
        count(
            "After how many refusals of our certificate by a client for a host, one after the other, its next tunnel "
            "there is left alone: such a client pins the host's own certificate. 0 never learns.",
            least=0,
            most=100,
            examples=[3],
        ),
    ] = 2
    learn_for: Annotated[
        float,
        duration(
            "How long it is remembered that a client refused our certificate for a host.",
            examples=["7d"],
        ),
    ] = 86400.0
    portal: Annotated[
        bool,
        flag(
            "Whether clients that may use the proxy find a page about it at `http://pyproxy.internal/`, and at `/` of "
            "its own address: what it sees, and, where anything is looked into, the certificate of its authority with "
            "the fingerprint and how to trust it. When false, that name is refused (`own_name`): it never leads to "
            "another server."
        ),
    ] = True

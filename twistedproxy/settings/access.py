"""The settings of who may go where; `types` puts them together with the others."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias, get_args

import msgspec

from twistedproxy.settings.kinds import choice, special

Default: TypeAlias = Literal["allow", "deny"]
Action: TypeAlias = Literal["allow", "deny", "ask", "set"]


class AccessRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One rule: what it is called, whom and what it is for, and what it does."""

    name: str = ""
    comment: str = ""
    clients: tuple[str, ...] = ()
    not_clients: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    not_users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    not_groups: tuple[str, ...] = ()
    days: tuple[str, ...] = ()
    hours: tuple[str, ...] = ()
    not_hours: tuple[str, ...] = ()
    zone: str = ""
    ways: tuple[str, ...] = ()
    listeners: tuple[str, ...] = ()
    not_listeners: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    not_methods: tuple[str, ...] = ()
    schemes: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    not_hosts: tuple[str, ...] = ()
    ports: tuple[int | str, ...] = ()
    not_ports: tuple[int | str, ...] = ()
    paths: tuple[str, ...] = ()
    not_paths: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    not_urls: tuple[str, ...] = ()
    fields: dict[str, tuple[str, ...]] = {}
    not_fields: dict[str, tuple[str, ...]] = {}
    destinations: tuple[str, ...] = ()
    not_destinations: tuple[str, ...] = ()
    action: Action
    status: int = 403
    text: str = ""
    intercept: bool | None = None
    log: bool | None = None
    route: str = ""
    blocklists: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()


class AccessSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who may use the proxy, and what it connects to on their behalf."""

    clients: Annotated[
        tuple[str, ...],
        special(
            "clients",
            "The addresses whose requests are served: networks in CIDR form, single addresses, or "
            '`"loopback"` (this machine), `"private"` (the private networks), `"all"` (everybody: on a '
            "listener that the Internet can reach, that makes an open proxy). Others are answered with "
            "403 (`client_denied`). With an empty list nobody is served.",
            examples=[["loopback", "192.168.0.0/16", "2001:db8:7::/48"]],
        ),
    ] = ("loopback",)
    connect_ports: Annotated[
        tuple[int | str, ...],
        special(
            "ports",
            'The ports to which CONNECT opens a tunnel: numbers, ranges such as `"8000-8999"`, or '
            '`"all"`. Others are answered with 403 (`port_denied`). With an empty list there are no '
            "tunnels. Ports of mail servers and the like let clients send spam in this machine's name.",
            examples=[[443, 563, "8000-8999"]],
        ),
    ] = (443,)
    refuse_destinations: Annotated[
        tuple[str, ...],
        special(
            "destinations",
            "The addresses that the proxy does not connect to, whatever name led to them: networks in "
            'CIDR form, single addresses, or `"link-local"`, `"metadata"` (where cloud providers give out '
            'a machine\'s credentials), `"unspecified"` (0.0.0.0 and ::), `"multicast"`, `"reserved"`, '
            '`"private"`, `"loopback"`. It is the resolved address that is checked, and that very address '
            "is used. Such requests are answered with 403 (`destination_denied`). The proxy's own "
            "listeners are always refused.",
            examples=[["link-local", "metadata", "unspecified", "multicast", "reserved", "private", "loopback"]],
        ),
    ] = ("link-local", "metadata", "unspecified", "multicast", "reserved")
    default: Annotated[
        Default,
        choice(
            "What becomes of a request that no rule decides on: `allow`, or `deny` with 403 (`denied_by_rule`).",
            get_args(Default),
            examples=["deny"],
        ),
    ] = "allow"
    rules: Annotated[
        tuple[AccessRule, ...],
        special(
            "access rules",
            "Who may go where, beyond what the keys above say, which go first: a table `[[access.rules]]` for each "
            "rule, in their order. The first rule that fits and whose `action` is `allow`, `deny` or `ask` decides; "
            "`set` only gives something to the client, and the rules after it go on. What each key means, with whole "
            "files to begin with, is in the guide to access (access.md); `pyproxyctl explain URL` says which rule "
            "decides. Who it is for: `clients` (as above), `users`, `groups` (`*` for anybody who has said who they "
            "are). When: `days`, `hours`, `zone`. What: `ways` (`plain`, `tunnel`, `intercepted`), `listeners`, "
            "`methods`, `schemes`, `hosts`, `ports`, `paths`, `urls`, `fields` (of the request, by name) and "
            "`destinations` (the resolved address). The entries of one key are alternatives, and all the keys that are "
            "there have to fit; with `not_` before its name a key must not. Where text is compared, `*` and `?` stand "
            "for any, and what begins with `~` is a regular expression. What it does: `deny` has a `status` and a "
            "`text` for the page; `ask` wants credentials (407) from whoever has not said who they are; `set` and "
            "`allow` take `intercept`, `log`, `route`, `blocklists` and `limits`.",
            examples=[[{"name": "games", "clients": ["10.0.1.0/24"], "hosts": [".games.example"], "action": "deny"}]],
        ),
    ] = ()

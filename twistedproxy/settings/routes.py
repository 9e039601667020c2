"""The settings of the ways that requests go on by; `types` puts them together with the others."""

from __future__ import annotations

from typing import Annotated

import msgspec

from twistedproxy.settings.kinds import duration, special
from twistedproxy.settings.parents import DIRECT


class RouteTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One route: other proxies that requests go on by, and who we are to them."""

    name: str
    parents: tuple[str, ...]
    user: str = ""
    password_file: str = ""


class RoutesSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which way requests go on: to the servers themselves, or by other proxies, the parents."""

    default: Annotated[
        str,
        special(
            "route",
            "The route of every request that no access rule gives another (`route` in `access.rules`), and of what the "
            "proxy fetches for itself, lists of what is blocked: the name of one of `tables`, or `direct`.",
            examples=["office"],
        ),
    ] = DIRECT
    tables: Annotated[
        tuple[RouteTable, ...],
        special(
            "routes",
            "The routes: a table `[[routes.tables]]` for each. `name` is what access rules and logs call it, and "
            "`direct`, which is always there, is the one without parents. `parents` are other proxies, in the order "
            'of preference, such as `"http://proxy.example:3128"`, `"https://proxy.example:443"` (TLS is spoken with '
            'the parent, and `upstream_tls` says who vouches for it) or `"socks5://192.0.2.1:1080"`. They get names '
            "as they are, and look them up themselves. `user` and `password_file`, a file whose first line is the "
            "password and that must not be readable by everybody, are who we are to all of them: by Basic (RFC 7617), "
            "or as in RFC 1929.",
            examples=[[{"name": "office", "parents": ["http://proxy.example:3128", "http://proxy2.example:3128"]}]],
        ),
    ] = ()
    timeout: Annotated[
        float,
        duration(
            "How long a parent may take to open the way to a server, from when we are connected to it. After that the "
            "client is answered with 504 (`parent_timeout`).",
            examples=["10s"],
        ),
    ] = 30.0
    retry_after: Annotated[
        float,
        duration(
            "How long a parent that could not be connected to comes after the others of its route.",
            least=0,
            examples=["2m"],
        ),
    ] = 30.0

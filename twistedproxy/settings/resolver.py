"""The settings of the look-up of names; `types` puts them together with the others."""

from __future__ import annotations

from typing import Annotated

import msgspec

from twistedproxy.settings.kinds import count, duration


class ResolverSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the names of servers are turned into addresses."""

    cache_size: Annotated[
        int,
        count(
            "How many names are remembered. When there is one too many, the one that was not asked for "
            "longest is forgotten.",
            examples=[100_000],
        ),
    ] = 10_000
    ttl: Annotated[
        float,
        duration(
            "How long the addresses of a name are used before it is looked up again. The system's "
            "resolver does not tell how long they are valid. 0 looks every name up every time.",
            least=0,
            examples=["5m"],
        ),
    ] = 60.0
    negative_ttl: Annotated[
        float,
        duration(
            "How long it is remembered that a name could not be found. 0 looks it up again every time.",
            least=0,
            examples=["30s"],
        ),
    ] = 5.0
    timeout: Annotated[
        float,
        duration(
            "How long a look-up may take. After that the client is answered with 504 (`dns_timeout`).",
            examples=["5s"],
        ),
    ] = 10.0
    threads: Annotated[
        int,
        count(
            "How many names are looked up at the same time. The system's resolver blocks a thread for "
            "each; more names than that wait for one to be free.",
            most=1024,
            examples=[64],
        ),
    ] = 32

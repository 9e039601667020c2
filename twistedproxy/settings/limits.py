"""The settings of how much a client may take up; `types` puts them together with the others."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from twistedproxy.settings.kinds import count, duration, special
from twistedproxy.settings.quantities import parse_size

Per: TypeAlias = Literal["client", "account", "group", "rule", "all"]
WhenOver: TypeAlias = Literal["refuse", "slow"]


class LimitTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One limit. Numbers that are 0 and sizes that are empty limit nothing; sizes are as they were written."""

    name: str
    per: Per
    everybody: bool = True
    requests_per_second: int | float = 0
    burst: int = 0
    connections: int = 0
    tunnels: int = 0
    download: str = ""
    upload: str = ""
    daily: str = ""
    monthly: str = ""
    when_over: WhenOver = "refuse"

    @property
    def download_size(self) -> int:
        """``download`` in bytes."""
        return parse_size(self.download or 0)

    @property
    def upload_size(self) -> int:
        """``upload`` in bytes."""
        return parse_size(self.upload or 0)

    @property
    def daily_size(self) -> int:
        """``daily`` in bytes."""
        return parse_size(self.daily or 0)

    @property
    def monthly_size(self) -> int:
        """``monthly`` in bytes."""
        return parse_size(self.monthly or 0)


class LimitsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How much of the proxy somebody may take up: requests, connections, bandwidth, and bytes in a day or a month."""

    tables: Annotated[
        tuple[LimitTable, ...],
        special(
            "limits",
            "The limits: a table `[[limits.tables]]` for each. What each key means, with whole files to begin with, is "
            "in the guide to limits (limits.md). `name` is what pages, logs, access rules and `pyproxyctl limits` call "
            'it. `per` says who shares what it allows: `"client"` (an address; of IPv6 a network), `"account"`, '
            '`"group"`, `"rule"` (all whom an access rule gives it to) or `"all"`. It holds for everybody; with '
            "`everybody = false`, and always per rule, only for those whom a rule gives it to (`limits` in "
            "`access.rules`). What it limits: `requests_per_second`, with a `burst` that may come at once (by default "
            "as many as in a second); `connections` with a request under way, and `tunnels`; `download` and `upload`, "
            'the sizes that may come and go in a second, such as `"2MiB"`; `daily` and `monthly`, the bytes both ways '
            'in a day and a month. `when_over` is `"refuse"` (429) or `"slow"`: a request waits for its turn. '
            "Bandwidth always slows, and a quota that is used up always refuses. Where several limits hold, the "
            "strictest wins.",
            examples=[[{"name": "guests", "per": "client", "download": "2MiB", "daily": "5GiB"}]],
        ),
    ] = ()
    ipv6_prefix: Annotated[
        int,
        count(
            "How many bits of an IPv6 address are the client, where a limit is per client: whoever has one address of "
            "a network has all of them.",
            least=16,
            most=128,
            examples=[56],
        ),
    ] = 64
    zone: Annotated[
        str,
        special(
            "time zone",
            "The time zone in which days and months begin, for `daily` and `monthly`.",
            examples=["Europe/Berlin"],
        ),
    ] = "UTC"
    max_wait: Annotated[
        float,
        duration(
            "How long a request may wait for its turn where a limit slows. One that would have to wait longer is "
            "answered with 429 at once.",
            examples=["30s"],
        ),
    ] = 10.0
    max_waiting: Annotated[
        int,
        count(
            "How many requests may wait under one limit for the same client, account, group or rule. One more is "
            "answered with 429.",
            examples=[20],
        ),
    ] = 100
    max_keys: Annotated[
        int,
        count(
            "How many clients, accounts, groups or rules each worker keeps count of, for each limit. Those who take up "
            "nothing are forgotten first. When nobody can be, all who are new share what the limit allows one of them "
            "(`others` in `pyproxyctl limits`), so that nobody's count begins anew because others came.",
            least=16,
            examples=[100_000],
        ),
    ] = 10_000

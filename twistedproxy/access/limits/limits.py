"""The limits, compiled: what each allows, for whom, and which of them hold for an exchange."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final, Protocol

from twistedproxy.access.limits.buckets import Rate
from twistedproxy.access.profile import GivenLimit

CLIENT: Final = "client"
ACCOUNT: Final = "account"
GROUP: Final = "group"
RULE: Final = "rule"
ALL: Final = "all"

BURST_SECONDS: Final = 0.25
"""How much of a second's bytes may come at once."""

_MEMO_SIZE: Final = 1024


class LimitSettings(Protocol):
    """The settings that one limit is made of."""

    @property
    def name(self) -> str: ...
    @property
    def per(self) -> str: ...
    @property
    def everybody(self) -> bool: ...
    @property
    def requests_per_second(self) -> float: ...
    @property
    def burst(self) -> int: ...
    @property
    def connections(self) -> int: ...
    @property
    def tunnels(self) -> int: ...
    @property
    def download_size(self) -> int: ...
    @property
    def upload_size(self) -> int: ...
    @property
    def daily_size(self) -> int: ...
    @property
    def monthly_size(self) -> int: ...
    @property
    def when_over(self) -> str: ...


class LimitsSettings(Protocol):
    """The settings of all limits."""

    @property
    def tables(self) -> Sequence[LimitSettings]: ...
    @property
    def ipv6_prefix(self) -> int: ...
    @property
    def zone(self) -> str: ...
    @property
    def max_wait(self) -> float: ...
    @property
    def max_waiting(self) -> int: ...
    @property
    def max_keys(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit. Numbers that are 0, and rates that are None, limit nothing; ``daily`` and ``monthly`` are bytes."""

    name: str
    per: str
    everybody: bool
    slows: bool
    requests: Rate | None = None
    download: Rate | None = None
    upload: Rate | None = None
    connections: int = 0
    tunnels: int = 0
    daily: int = 0
    monthly: int = 0
    counts: bool = field(init=False, default=False)
    """Whether it says how much may be under way."""
    has_quota: bool = field(init=False, default=False)
    """Whether it counts bytes over a day or a month."""
    measures: bool = field(init=False, default=False)
    """Whether bytes matter to it."""

    def __post_init__(self) -> None:
        # Asked of every exchange, so that it is found out once.
        quota = bool(self.daily or self.monthly)
        object.__setattr__(self, "counts", bool(self.connections or self.tunnels))
        object.__setattr__(self, "has_quota", quota)
        object.__setattr__(self, "measures", quota or self.download is not None or self.upload is not None)

    @classmethod
    def of(cls, settings: LimitSettings) -> Limit:
        """Compile ``settings``."""
        per_second = float(settings.requests_per_second)
        # Of one in ten seconds there is still one.
        burst = float(settings.burst) or max(1.0, per_second)
        return cls(
            name=settings.name,
            per=settings.per,
            everybody=settings.everybody and settings.per != RULE,
            slows=settings.when_over == "slow",
            requests=Rate(per_second, burst) if per_second else None,
            download=_bytes_rate(settings.download_size),
            upload=_bytes_rate(settings.upload_size),
            connections=settings.connections,
            tunnels=settings.tunnels,
            daily=settings.daily_size,
            monthly=settings.monthly_size,
        )

    def keys(self, client: str, user: str, groups: frozenset[str], rule: str) -> tuple[str, ...]:
        """Who is counted, for a request of ``user`` from the network ``client``, to whom ``rule`` has given it.

        Whoever has no account is counted by the network, so that nobody escapes by not saying who they are.
        """
        match self.per:
            case "client":
                return (client,)
            case "rule":
                return (f"rule {rule}",)
            case "all":
                return (ALL,)
            case "group" if groups:
                return tuple(f"group {group}" for group in sorted(groups))
        return (f"user {user}",) if user else (client,)


def _bytes_rate(size: int) -> Rate | None:
    return Rate(float(size), size * BURST_SECONDS) if size else None


class Limits:
    """All of the limits. Made with `of`."""

    __slots__ = ("_memo", "all", "everybodys", "ipv6_prefix", "max_keys", "max_wait", "max_waiting", "zone")

    def __init__(self, limits: Sequence[Limit], settings: LimitsSettings) -> None:
        self.all = {limit.name: limit for limit in limits}
        self.everybodys = tuple((limit, "") for limit in limits if limit.everybody)
        self.ipv6_prefix = settings.ipv6_prefix
        self.zone = settings.zone
        self.max_wait = settings.max_wait
        self.max_waiting = settings.max_waiting
        self.max_keys = settings.max_keys
        self._memo: dict[tuple[GivenLimit, ...], tuple[tuple[Limit, str], ...]] = {}

    @classmethod
    def of(cls, settings: LimitsSettings) -> Limits | None:
        """Compile ``settings``; None when there is no limit."""
        return cls([Limit.of(one) for one in settings.tables], settings) if settings.tables else None

    def __repr__(self) -> str:
        return f"<Limits {', '.join(self.all)}>"

    def holding(self, given: tuple[GivenLimit, ...]) -> tuple[tuple[Limit, str], ...]:
        """The limits that hold where rules have ``given`` some, each with the rule that has; empty for everybody's."""
        if not given:
            return self.everybodys
        holding = self._memo.get(given)
        if holding is None:
            by_rule = [(self.all[one.name], one.rule) for one in given if one.name in self.all]
            names = {limit.name for limit, _ in by_rule}
            holding = (*(one for one in self.everybodys if one[0].name not in names), *by_rule)
            if len(self._memo) >= _MEMO_SIZE:
                self._memo.clear()
            self._memo[given] = holding
        return holding

    def network(self, address: str) -> str:
        """Who a client is that comes from ``address``: that, or the network of an IPv6 address."""
        return network_of(address, self.ipv6_prefix)


@lru_cache(maxsize=4096)
def network_of(address: str, prefix: int) -> str:
    """The network of ``prefix`` bits that an IPv6 address is in; an IPv4 address, mapped or not, is itself."""
    try:
        read = ip_address(address)
    except ValueError:
        return address
    if not isinstance(read, IPv6Address):
        return address
    if read.ipv4_mapped is not None:
        return str(read.ipv4_mapped)
    return str(ip_network((int(read), prefix), strict=False)) if prefix < 128 else str(read)

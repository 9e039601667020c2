"""What a limit would say to one more request, and how much of it is taken up, in words."""

from __future__ import annotations

from twistedproxy.access.limits.limits import Limit
from twistedproxy.errors import ConnectionsExceeded, LimitReached, QuotaExceeded, RequestsExceeded, TunnelsExceeded
from twistedproxy.limits.hold import EXACT
from twistedproxy.limits.state import ShareState


def refusal(limit: Limit, state: ShareState, tunnel: bool) -> type[LimitReached] | None:
    """Why one more request, on a connection of its own, or ``tunnel`` would be refused now; None when it would not."""
    if (limit.daily and state.today >= limit.daily) or (limit.monthly and state.in_month >= limit.monthly):
        return QuotaExceeded
    if limit.slows:
        # It would wait, and perhaps for too long.
        return None
    if limit.connections and state.connections >= limit.connections:
        return ConnectionsExceeded
    if tunnel and limit.tunnels and state.tunnels >= limit.tunnels:
        return TunnelsExceeded
    if limit.requests is not None and (1 - state.requests) * limit.requests.burst < 1 - EXACT:
        return RequestsExceeded
    return None


def in_words(limit: Limit, state: ShareState) -> str:
    """How much of ``limit`` is taken up."""
    parts = []
    for what, used, rate in (
        ("requests at once", state.requests, limit.requests),
        ("download", state.download, limit.download),
        ("upload", state.upload, limit.upload),
    ):
        if rate is not None:
            parts.append(f"{used:.0%} of its {what}")
    for what, count, most in (
        ("connections", state.connections, limit.connections),
        ("tunnels", state.tunnels, limit.tunnels),
        ("bytes today", state.today, limit.daily),
        ("bytes this month", state.in_month, limit.monthly),
    ):
        if most:
            parts.append(f"{count} of {most} {what}")
    return ", ".join(parts)

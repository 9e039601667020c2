"""How many connections the file descriptor limit allows."""

from __future__ import annotations

import resource
from typing import NamedTuple

_MOST = 1 << 20
"""More than this nobody needs, and some systems allow a thousand times as many."""


class DescriptorBudget(NamedTuple):
    """How many connections there may be, so that no descriptor is ever missing for the second half of an exchange."""

    clients: int
    """Client connections, each of which needs one to an origin."""

    idle: int
    """Connections to origins that wait in the pool."""


def raise_limit() -> int:
    """Raise the soft limit to what the hard one allows; the number of descriptors that there may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft == resource.RLIM_INFINITY or soft >= most:
        return most
    try:
        # The hard one stays: whoever lowers it cannot raise it again.
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    except (OSError, ValueError):
        return soft
    return most


def descriptor_budget(descriptors: int) -> DescriptorBudget:
    """Share out ``descriptors``: some for logs, listeners, look-ups and pipes, a quarter for the pool's idle ones."""
    left = descriptors - min(128, descriptors // 4)
    idle = left // 4
    return DescriptorBudget(max(1, (left - idle) // 2), max(1, idle))

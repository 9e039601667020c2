"""What this process takes of the machine."""

from __future__ import annotations

import os
import resource

from twistedproxy.record.statistics import Statistics

_PAGE = resource.getpagesize()


def read_process_into(statistics: Statistics, *, count_descriptors: bool) -> None:
    """Write the process's CPU time, memory and descriptors into ``statistics``.

    ``count_descriptors`` is for when somebody asks: with ten thousand of them it takes milliseconds. What the system
    does not tell stays 0.
    """
    times = os.times()
    statistics.cpu_seconds = times.user + times.system
    statistics.resident = resident_memory()
    statistics.descriptor_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if count_descriptors:
        try:
            # One of them is the listing's own.
            statistics.descriptors = len(os.listdir("/proc/self/fd")) - 1
        except OSError:
            pass


def resident_memory() -> int:
    """The resident memory of this process, in bytes; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except OSError:
        return 0

"""What this process takes of the machine."""

from __future__ import annotations

import builtins
import os
import resource
from mmap import mmap
from typing import Any

import pytest

from twistedproxy.record.process import read_process_into, resident_memory
from twistedproxy.record.statistics import Statistics


def test_what_the_system_tells() -> None:
    statistics = Statistics()
    read_process_into(statistics, count_descriptors=False)
    assert 0 < statistics.cpu_seconds <= sum(os.times()[:2])
    assert statistics.resident > 1 << 20
    assert statistics.descriptor_limit == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert statistics.descriptors == 0


def test_descriptors_are_counted_when_somebody_asks() -> None:
    counts = []
    for opened in (0, 3):
        pipes = [os.open(os.devnull, os.O_RDONLY) for _ in range(opened)]
        statistics = Statistics()
        read_process_into(statistics, count_descriptors=True)
        counts.append(statistics.descriptors)
        for pipe in pipes:
            os.close(pipe)
    assert counts[1] - counts[0] == 3


def test_memory_is_what_is_in_use() -> None:
    before = resident_memory()
    # Straight from the system: what was in use before may be there still for whoever asks next.
    with mmap(-1, 32 << 20) as block:
        for page in range(0, len(block), resource.getpagesize()):
            block[page] = 1
        assert resident_memory() - before > 24 << 20


def test_system_that_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise FileNotFoundError

    statistics = Statistics()
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(os, "listdir", refuse)
        elsewhere.setattr(builtins, "open", refuse)
        read_process_into(statistics, count_descriptors=True)
    assert (statistics.resident, statistics.descriptors) == (0, 0)
    assert statistics.cpu_seconds > 0

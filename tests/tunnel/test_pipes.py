"""The pipes that tunnels share."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
from collections.abc import Iterator

import pytest

from twistedproxy.tunnel.pipes import Pipe, PipePool

PAGE = resource.getpagesize()
SIZE = 16 * PAGE * 2


@pytest.fixture
def pool() -> Iterator[PipePool]:
    pool = PipePool(large=2, large_size=SIZE)
    yield pool
    pool.close()


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def size(pipe: Pipe) -> int:
    return fcntl.fcntl(pipe.input, fcntl.F_GETPIPE_SZ)


def test_a_pipe_carries_bytes_and_neither_blocks_nor_is_inherited(pool: PipePool) -> None:
    pipe = pool.take()
    os.write(pipe.input, b"through")
    assert os.read(pipe.output, 100) == b"through"
    with pytest.raises(BlockingIOError):
        os.read(pipe.output, 1)
    assert not os.get_inheritable(pipe.output)
    assert not os.get_inheritable(pipe.input)
    assert size(pipe) == SIZE
    pool.give_back(pipe)


def test_an_empty_pipe_is_lent_again(pool: PipePool) -> None:
    first = pool.take()
    assert repr(pool) == "<PipePool lent=1 idle=0 large=1/2>"
    pool.give_back(first)
    assert repr(pool) == "<PipePool lent=0 idle=1 large=1/2>"
    assert pool.take() is first
    pool.give_back(first)


def test_a_discarded_pipe_is_closed_and_another_takes_its_place(pool: PipePool) -> None:
    pipe = pool.take()
    os.write(pipe.input, b"secret")
    pool.discard(pipe)
    assert not is_open(pipe.output)
    assert not is_open(pipe.input)
    assert repr(pool) == "<PipePool lent=0 idle=0 large=0/2>"
    fresh = pool.take()
    assert size(fresh) == SIZE
    with pytest.raises(BlockingIOError):
        os.read(fresh.output, 100)
    pool.give_back(fresh)


def test_when_the_large_ones_are_lent_there_are_small_ones(pool: PipePool) -> None:
    large = [pool.take(), pool.take()]
    small = [pool.take(), pool.take(), pool.take()]
    assert [size(pipe) for pipe in large] == [SIZE] * 2
    assert [size(pipe) for pipe in small] == [16 * PAGE] * 3
    assert repr(pool) == "<PipePool lent=5 idle=0 large=2/2>"
    for pipe in small:
        pool.give_back(pipe)
    # As many of those are kept as may be large.
    assert [is_open(pipe.input) for pipe in small] == [True, True, False]
    lent_small = pool.take()
    assert lent_small in small
    for pipe in large:
        pool.give_back(pipe)
    assert (pool.lent, pool.idle) == (1, 3)
    # The large ones are preferred, also to be made anew.
    again = [pool.take(), pool.take()]
    assert set(again) == set(large)
    pool.discard(again[0])
    fresh = pool.take()
    assert size(fresh) == SIZE
    assert repr(pool) == "<PipePool lent=3 idle=1 large=2/2>"
    for pipe in (again[1], fresh, lent_small):
        pool.give_back(pipe)
    assert (pool.lent, pool.idle) == (0, 4)


def test_a_pool_of_none_still_lends(pool: PipePool) -> None:
    bare = PipePool(large=0)
    pipe = bare.take()
    assert size(pipe) == 16 * PAGE
    bare.give_back(pipe)
    assert not is_open(pipe.output)
    assert repr(bare) == "<PipePool lent=0 idle=0 large=0/0>"


def test_a_size_that_the_kernel_refuses_is_done_without(pool: PipePool, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, command: int, size: int) -> int:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "fcntl", refuse)
        pipe = pool.take()
    assert size(pipe) == 16 * PAGE
    os.write(pipe.input, b"through")
    assert os.read(pipe.output, 100) == b"through"
    pool.give_back(pipe)
    assert pool.idle == 1


def test_closing_closes_the_idle_ones_now_and_the_lent_ones_as_they_come_back(pool: PipePool) -> None:
    lent, idle = pool.take(), pool.take()
    pool.give_back(idle)
    pool.close()
    assert not is_open(idle.output)
    assert is_open(lent.output)
    pool.give_back(lent)
    assert not is_open(lent.output)
    assert not is_open(lent.input)
    assert repr(pool) == "<PipePool lent=0 idle=0 large=0/0>"


def test_without_descriptors_there_is_an_error_and_no_leak(pool: PipePool) -> None:
    kept = pool.take()
    pool.give_back(kept)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        assert pool.take() is kept
        with pytest.raises(OSError, match="Too many open files"):
            pool.take()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert pool.lent == 1
    pool.give_back(kept)

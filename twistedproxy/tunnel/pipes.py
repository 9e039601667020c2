"""Pipes for splicing, shared by every tunnel.

A tunnel holds a pipe only while bytes are inside it, so a few pipes serve thousands of tunnels. What matters
most here is what never happens: a pipe that may still hold one tunnel's bytes is closed, and never lent
again.

A large pipe costs less for each byte: with 1 MiB the proxy spends 0.3 seconds of CPU a GiB, with 256 KiB
0.45 and with 64 KiB, which is the kernel's choice, 0.7. But clients that do not read can make a tunnel hold a
full one for as long as they like. So there are only a few large ones, and when all of those are lent the next
are small.
"""

from __future__ import annotations

import fcntl
import os
from typing import NamedTuple


class Pipe(NamedTuple):
    """A non-blocking pipe."""

    output: int
    """The descriptor that its bytes come out of."""
    input: int
    """The descriptor that bytes go into."""
    large: bool


class PipePool:
    """Lends out empty pipes.

    ``large`` is how many pipes may be large, and how many small ones are kept for later use; ``large_size`` is
    what a large one takes, in bytes. 1 MiB is the most that the kernel allows users without privileges, unless it
    is set up otherwise; 32 of those are half of what it allows one such user in all.
    """

    __slots__ = ("_idle_large", "_idle_small", "_large", "_large_made", "_large_size", "lent")

    def __init__(self, large: int = 32, large_size: int = 1 << 20) -> None:
        self._large = large
        self._large_size = large_size
        self._large_made = 0
        self._idle_large: list[Pipe] = []
        self._idle_small: list[Pipe] = []
        self.lent = 0
        """How many pipes are in use."""

    def __repr__(self) -> str:
        return f"<PipePool lent={self.lent} idle={self.idle} large={self._large_made}/{self._large}>"

    @property
    def idle(self) -> int:
        """How many pipes wait to be lent."""
        return len(self._idle_large) + len(self._idle_small)

    def take(self) -> Pipe:
        """An empty pipe. Raises `OSError` when none is idle and the kernel makes none."""
        if self._idle_large:
            pipe = self._idle_large.pop()
        elif self._idle_small and self._large_made >= self._large:
            pipe = self._idle_small.pop()
        else:
            pipe = self._make()
        self.lent += 1
        return pipe

    def give_back(self, pipe: Pipe) -> None:
        """Return ``pipe``, which is empty: all that went in has come out."""
        self.lent -= 1
        idle = self._idle_large if pipe.large else self._idle_small
        if len(idle) < self._large:
            idle.append(pipe)
        else:
            self._close(pipe)

    def discard(self, pipe: Pipe) -> None:
        """Return ``pipe``, in which there are bytes, or may be."""
        self.lent -= 1
        self._close(pipe)

    def close(self) -> None:
        """Close the idle pipes now, and every other one as it comes back."""
        self._large = 0
        for idle in (self._idle_large, self._idle_small):
            while idle:
                self._close(idle.pop())

    def _make(self) -> Pipe:
        output, input_ = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        large = self._large_made < self._large
        if large:
            self._large_made += 1
            try:
                fcntl.fcntl(input_, fcntl.F_SETPIPE_SZ, self._large_size)
            except OSError:
                pass  # This user's pipes hold too much already. A smaller one works too, in more turns.
        return Pipe(output, input_, large)

    def _close(self, pipe: Pipe) -> None:
        if pipe.large:
            self._large_made -= 1
        os.close(pipe.output)
        os.close(pipe.input)

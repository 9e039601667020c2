"""How many client connections each worker has: a page of memory that all of them see.

The parent makes it and each worker inherits it. A worker writes its own place and reads the others', each a number of
four aligned bytes, which the processor writes whole. So nobody locks anything, and one that is killed leaves nothing
behind but its last number, which the parent takes away.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import Final

ABSENT: Final = 0xFFFFFFFF
"""The number of one that takes no connections."""

_SIZE: Final = 4096
_WIDTH: Final = 4


class Headcount:
    """The numbers, in the file ``descriptor``, which it keeps."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, _SIZE)
        self._counts = memoryview(self._memory).cast("I")

    def __repr__(self) -> str:
        return f"<Headcount {[count for count in self._counts if count != ABSENT]}>"

    @classmethod
    def new(cls) -> Headcount:
        """One in which everybody is absent. It is in no file system where the kernel can do that."""
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("headcount")
        else:
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        os.truncate(descriptor, _SIZE)
        headcount = cls(descriptor)
        for number in range(_SIZE // _WIDTH):
            headcount.tell(number, ABSENT)
        return headcount

    def tell(self, number: int, count: int) -> None:
        """The worker ``number`` has ``count`` connections, or is `ABSENT`."""
        self._counts[number] = count

    def of(self, number: int) -> int:
        """What the worker ``number`` has."""
        return self._counts[number]

    def all(self, workers: int) -> list[int]:
        """What each of the first ``workers`` has."""
        return self._counts[:workers].tolist()

    def close(self) -> None:
        """Give the memory and the file back."""
        self._counts.release()
        self._memory.close()
        os.close(self.descriptor)

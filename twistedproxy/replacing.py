"""Files that change in one step: whoever reads one finds the old content or the new, and never a part of either."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def replace_content(
    path: Path, content: bytes, shape: Callable[[int], object], *, prefix: str, durable: bool = True
) -> None:
    """Let ``path`` have ``content``. Raises `OSError`, and nothing has changed then.

    The new file is written beside it, under a name with ``prefix``; ``shape`` gets its descriptor, and gives it mode
    and owner. ``durable``: what is in the file outlives a power cut.
    """
    descriptor, beside = tempfile.mkstemp(prefix=prefix, dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            shape(descriptor)
            if durable:
                os.fsync(descriptor)
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise

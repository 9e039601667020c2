"""What is known of each list: on disk from one run to the next, and for the operator to see."""

from __future__ import annotations

import msgspec

from twistedproxy.access.blocklists.report import Fault, Report


class Facts(msgspec.Struct):
    """How a list came: from where, by what its server knows that copy, when it was asked last and when it changed.

    Times are in seconds since 1970, 0 for never. ``failures`` counts those since the last success.
    """

    source: str = ""
    etag: str = ""
    last_modified: str = ""
    checked: float = 0.0
    changed: float = 0.0
    failures: int = 0
    error: str = ""


class ListState(msgspec.Struct):
    """One list. ``names`` and ``rules`` are in use; 0 while there is no copy of it.

    ``checked`` is when its source was last looked at, ``changed`` when it was last different, ``next`` when it is
    looked at again: seconds since 1970, 0 for never. ``memory`` is the size of its image in bytes, which all workers
    share. ``bad`` lines mean nothing, and ``faults`` are the first of them; ``skipped`` ones mean what is not acted on
    here. ``error`` says why the last attempt to refresh it failed; it is empty when that went well.
    """

    name: str
    source: str
    format: str
    category: str
    action: str
    allow: bool
    everybody: bool
    names: int
    rules: int
    lines: int
    skipped: int
    bad: int
    faults: list[Fault]
    memory: int
    checked: float
    changed: float
    next: float
    error: str


EMPTY = Report()

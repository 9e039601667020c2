"""The operator's own two lists of domains: what is blocked, and what is allowed whatever other lists say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from twistedproxy.access.blocklists.report import Bad
from twistedproxy.access.blocklists.rules import name_rule
from twistedproxy.blocklists.files import BlocklistError, ListFiles
from twistedproxy.settings.blocklist_tables import OWN
from twistedproxy.settings.blocklists import Blocklist

LOCAL, LOCAL_ALLOW = OWN

_LARGEST: Final = 16 << 20


def own_lists(files: ListFiles) -> Iterator[Blocklist]:
    """Those that there are."""
    for name in OWN:
        path = files.copy(name)
        if path.exists():
            yield Blocklist(name=name, source=str(path), format="domains", category="local", allow=name == LOCAL_ALLOW)


def edit(files: ListFiles, name: str, host: str, there: bool) -> bool:
    """Let ``host`` be on the list ``name``, or not; whether that is a change. Raises `BlocklistError`."""
    line = _line(host)
    path = files.copy(name)
    lines: set[str] = set()
    try:
        with suppress(FileNotFoundError):
            lines = set(path.read_text("ascii", "replace").split())
        if (line in lines) == there:
            return False
        content = "".join(f"{one}\n" for one in sorted(lines ^ {line})).encode("ascii", "replace")
        if len(content) > _LARGEST:
            raise BlocklistError("the list is full: put it into a file, and name that in blocklists.lists")
        files.keep(path, content)
    except OSError as error:
        raise BlocklistError(f"{error.filename or path}: {error.strerror or error}") from error
    return True


def _line(host: str) -> str:
    text = host.strip()
    try:
        rule = name_rule(text.encode("utf-8", "replace"), True)
    except Bad as bad:
        raise BlocklistError(f"{host[:64]!r}: {bad}") from None
    prefix = "*." if text.startswith("*.") else "." if b"." not in rule.name and b":" not in rule.name else ""
    return prefix + rule.name.decode("ascii")

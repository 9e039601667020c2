"""Whether a host or URL is on one of several lists, and on which.

The lists that allow win over all others. Of the others the first that has it decides, in the order of the settings; one
that only logs gives way to one that blocks. An exception in a list (``@@``, ``rpz-passthru.``, the settings') is one
from that list only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from twistedproxy.access.blocklists.image import Image
from twistedproxy.access.blocklists.names import asked_name, is_address
from twistedproxy.access.hosts import HostSet

BLOCK: Final = "block"
LOG: Final = "log"

_REMEMBERED: Final = 4096
_UNKNOWN: Final[Any] = object()
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class Listed(msgspec.Struct, frozen=True):
    """What was found: in which list, of which category, by which rule of it; and whether that blocks."""

    list: str
    category: str
    rule: str
    blocks: bool

    @property
    def sentence(self) -> str:
        """Where it was found, in words."""
        kind = f" (category {self.category})" if self.category else ""
        return f"{self.rule} is on the list {self.list}{kind}"


class OpenList(NamedTuple):
    """One list, ready for use. ``everybody`` says whether it is for clients whose profile does not say."""

    name: str
    category: str
    action: str
    allow: bool
    everybody: bool
    exceptions: HostSet
    image: Image


class _OnList(msgspec.Struct, frozen=True):
    """What one list has on a host by its name: the rule, or nothing; and whether that is an exception."""

    rule: str
    passes: bool


class Blocklists:
    """Several lists, whose names are hashed with the same ``prime``."""

    __slots__ = ("_known", "_lists", "_named", "_prime", "_tables", "_with_patterns")

    def __init__(self, lists: Sequence[OpenList], prime: int) -> None:
        # Those that allow first: whoever is on one of them needs no other.
        self._lists = tuple(sorted(lists, key=lambda one: not one.allow))
        self._tables = tuple((one.image.table.look_up, one.exceptions or None, one) for one in self._lists)
        self._prime = prime
        self._with_patterns = any(one.image.paths or one.image.regexes for one in self._lists)
        self._named: dict[frozenset[str], Blocklists | None] = {}
        self._known: dict[str, Listed | None] = {}

    def __repr__(self) -> str:
        return f"<Blocklists {' '.join(one.name for one in self._lists)}>"

    def __bool__(self) -> bool:
        return bool(self._lists)

    def everybodys(self) -> Blocklists | None:
        """Those that are for everybody; None when there are none."""
        return self._chosen(one for one in self._lists if one.everybody)

    def named(self, names: Collection[str]) -> Blocklists | None:
        """Those that ``names`` name, as a client's profile does; None when there are none."""
        key = frozenset(names)
        if key not in self._named:
            if len(self._named) >= _REMEMBERED:
                self._named.clear()
            self._named[key] = self._chosen(one for one in self._lists if one.name in key)
        return self._named[key]

    def _chosen(self, lists: Iterable[OpenList]) -> Blocklists | None:
        return Blocklists(tuple(lists), self._prime) or None

    def judge(self, host: str, scheme: str = "", port: int = 0, path: bytes = b"") -> Listed | None:
        """What the lists have on ``host``, or on a URL there where there is a ``scheme``; None when nothing."""
        if not self._with_patterns or not scheme:
            known = self._known.get(host, _UNKNOWN)
            return known if known is not _UNKNOWN else self._learn(host)
        name = asked_name(host)
        return self._judge_url(self._look_up(name), name, scheme, port, path.decode("latin-1"))

    def _learn(self, host: str) -> Listed | None:
        """What they have on a host that was not asked for lately."""
        if len(self._known) >= _REMEMBERED:
            # Rare enough that it need not be the oldest.
            self._known.clear()
        name = asked_name(host)
        text = name.encode("ascii", "replace")
        below = not is_address(text)
        listed: Listed | None = None
        for look_up, exceptions, one in self._tables:
            blocks, passes = look_up(text, below)
            if blocks < 0 or passes >= 0 or (exceptions is not None and name in exceptions):
                continue
            if one.allow:
                listed = None
                break
            if listed is None or one.action == BLOCK:
                listed = Listed(one.name, one.category, name[blocks:], one.action == BLOCK)
                if listed.blocks:
                    break
        self._known[host] = listed
        return listed

    def _look_up(self, name: str) -> list[_OnList]:
        text = name.encode("ascii", "replace")
        below = not is_address(text)
        answers: list[_OnList] = []
        for look_up, exceptions, _ in self._tables:
            blocks, passes = look_up(text, below)
            if passes >= 0 or (exceptions is not None and name in exceptions):
                answers.append(_OnList("", True))
            else:
                answers.append(_OnList(name[blocks:] if blocks >= 0 else "", False))
        return answers

    def _decided(self, on_lists: Sequence[_OnList]) -> Listed | None:
        logged: Listed | None = None
        for one, on_list in zip(self._lists, on_lists, strict=True):
            if not on_list.rule or on_list.passes:
                continue
            if one.allow:
                return None
            listed = Listed(one.name, one.category, on_list.rule, one.action == BLOCK)
            if listed.blocks:
                return listed
            logged = logged or listed
        return logged

    def _judge_url(self, on_lists: Sequence[_OnList], host: str, scheme: str, port: int, path: str) -> Listed | None:
        url = ""
        answers: list[_OnList] = []
        for one, on_list in zip(self._lists, on_lists, strict=True):
            image = one.image
            if not on_list.passes and (image.paths or image.regexes):
                blocks, passes = image.paths.look_up(host, scheme, path) if image.paths else (None, None)
                if passes is not None:
                    on_list = _OnList("", True)
                elif blocks is not None and not on_list.rule:
                    on_list = _OnList(f"{blocks.host}{blocks.path}", False)
                elif image.regexes and not on_list.rule:
                    url = url or _url(host, scheme, port, path)
                    on_list = _OnList(image.regexes.look_up(url), False)
            answers.append(on_list)
        return self._decided(answers)


def _url(host: str, scheme: str, port: int, path: str) -> str:
    name = f"[{host}]" if ":" in host else host
    where = name if port in (0, _DEFAULT_PORTS.get(scheme)) else f"{name}:{port}"
    return f"{scheme}://{where}{path or '/'}"

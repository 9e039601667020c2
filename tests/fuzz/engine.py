"""A fuzzer that is guided by coverage: inputs that make the readers go a new way are kept, and changed further.

Theory of operation. There is a corpus of inputs for each target. An input is made from scratch (`tests.fuzz.messages`)
or from one or two of the corpus, by mutation. It is read once under a trace function that notes each step from line to
line inside of the packages that read what strangers send, along with the error; when there is a step or an error that
no input made before, the input joins the corpus. Then everything that holds for all input is checked (see
`tests.fuzz.invariants`, and the modules of the targets beside it). An input that breaks an invariant is made as small
as can be, and reported in a form that can be given back.

Everything follows from the seed, and what is random in a check follows from the input.
"""

from __future__ import annotations

import sys
import traceback
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import twistedproxy
from tests import frames
from tests.fuzz import credentials, directories, filters, lists, messages, name_servers, parents
from tests.fuzz.invariants import check_messages, check_requests, check_responses
from tests.fuzz.reading import Reading, read_messages, read_requests, read_responses
from tests.fuzz.sessions import check_session, read_session
from tests.http2.conversations import conversation

TRACED = tuple(
    str(Path(twistedproxy.__file__).parent / package)
    for package in ("http", "http2", "accounts/ldap", "upstream/dns", "access/blocklists", "routes")
)

LARGEST = 4096
"""Bytes of an input that may join the corpus: small ones are quicker, and mutations hit what matters more often."""

METHODS = ((), (b"HEAD",), (b"POST", b"HEAD"), (b"HEAD", b"HEAD", b"GET"))
"""What the responses of one input answer; which of these, follows from the input."""

Feature = tuple[object, ...]


def _random_of(data: bytes) -> Random:
    return Random(zlib.crc32(data))


def _methods_of(data: bytes) -> tuple[bytes, ...]:
    return METHODS[zlib.crc32(data) % len(METHODS)]


@dataclass(frozen=True)
class Target:
    """Something to fuzz: how to make, to read and to check an input."""

    name: str
    make: Callable[[Random], bytes]
    read: Callable[[bytes], Reading]
    check: Callable[[bytes], object]
    splices: Sequence[bytes] = messages.SPLICES
    """What mutations put in."""


TARGETS = {
    target.name: target
    for target in (
        Target(
            "requests",
            messages.request,
            lambda data: read_requests([data]),
            lambda data: check_requests(data, _random_of(data)),
        ),
        Target(
            "responses",
            messages.response,
            lambda data: read_responses([data], _methods_of(data)),
            lambda data: check_responses(data, _random_of(data), _methods_of(data)),
        ),
        Target(
            "http2-server",
            lambda random: conversation(random, to_client=False),
            lambda data: read_session([data], client=False)[0],
            lambda data: check_session(data, False, _random_of(data)),
        ),
        Target(
            "http2-client",
            lambda random: conversation(random, to_client=True),
            lambda data: read_session([data], client=True)[0],
            lambda data: check_session(data, True, _random_of(data)),
        ),
        Target(
            "websocket",
            frames.some,
            lambda data: read_messages([data]),
            lambda data: check_messages(data, _random_of(data)),
        ),
        Target(
            "ldap",
            directories.conversation,
            directories.reading_of,
            lambda data: directories.check_directory(data, _random_of(data)),
            directories.SPLICES,
        ),
        Target(
            "ldap-filters",
            filters.filter_text,
            filters.filter_reading,
            lambda data: filters.check_filter(data, _random_of(data)),
            filters.FILTER_SPLICES,
        ),
        Target(
            "ldap-names",
            filters.distinguished_name,
            filters.name_reading,
            lambda data: filters.check_name(data, _random_of(data)),
            filters.NAME_SPLICES,
        ),
        Target(
            "dns-replies",
            name_servers.reply,
            name_servers.reply_reading,
            lambda data: name_servers.check_reply(data, _random_of(data)),
            name_servers.SPLICES,
        ),
        Target(
            "dns-stream",
            name_servers.connection,
            name_servers.stream_reading,
            lambda data: name_servers.check_stream(data, _random_of(data)),
            name_servers.SPLICES,
        ),
        Target(
            "connect-answers",
            parents.answers,
            lambda data: parents.parent_reading(parents.http_connect, data),
            lambda data: parents.check_parent(parents.http_connect, data, _random_of(data)),
            parents.HTTP_SPLICES,
        ),
        Target(
            "socks",
            parents.words,
            lambda data: parents.parent_reading(parents.socks, data),
            lambda data: parents.check_parent(parents.socks, data, _random_of(data)),
            parents.SOCKS_SPLICES,
        ),
        Target(
            "credentials",
            credentials.credentials,
            credentials.credentials_reading,
            lambda data: credentials.check_credentials(data, _random_of(data)),
            credentials.SPLICES,
        ),
        Target(
            "blocklists",
            lists.block,
            lists.list_reading,
            lambda data: lists.check_list(data, _random_of(data)),
            lists.SPLICES,
        ),
    )
}


class Trace:
    """Notes each step from one line to the next inside of the package."""

    __slots__ = ("_before", "steps")

    def __init__(self) -> None:
        self.steps: set[Feature] = set()
        self._before: tuple[str, int] = ("", 0)

    def run(self, function: Callable[[], Reading]) -> Reading:
        """Call it, and note its steps."""
        before = sys.gettrace()
        sys.settrace(self._call)
        try:
            return function()
        finally:
            sys.settrace(before)

    def _call(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._line if frame.f_code.co_filename.startswith(TRACED) else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        here = (frame.f_code.co_name, frame.f_lineno)
        self.steps.add((self._before, here))
        self._before = here
        return self._line


@dataclass
class Finding:
    """An input that breaks an invariant."""

    target: Target
    data: bytes
    report: str


@dataclass
class Fuzzer:
    """Fuzzes one target, as long as it is told to."""

    target: Target
    random: Random
    executions: int = 0
    corpus: list[bytes] = field(default_factory=list)
    features: set[Feature] = field(default_factory=set)

    def __repr__(self) -> str:
        return (
            f"<Fuzzer {self.target.name} executions={self.executions} "
            f"corpus={len(self.corpus)} features={len(self.features)}>"
        )

    def step(self) -> Finding | None:
        """Try one input."""
        data = self._next_input()
        self.executions += 1
        report = failure(self.target, data)
        if report:
            smallest = minimized(data, lambda smaller: bool(failure(self.target, smaller)))
            return Finding(self.target, smallest, failure(self.target, smallest))
        if len(data) <= LARGEST:
            features = self._features_of(data)
            if not features <= self.features:
                self.features |= features
                self.corpus.append(data)
        return None

    def _next_input(self) -> bytes:
        random = self.random
        if not self.corpus or random.randrange(4) == 0:
            return messages.several(random, self.target.make, self.target.splices)
        # The latest are the most likely to lead further.
        newest = self.corpus[-1 - random.randrange(min(len(self.corpus), 20))]
        data = newest if random.randrange(2) else random.choice(self.corpus)
        kind = random.randrange(4)
        if kind == 0:
            other = random.choice(self.corpus)
            data = data[: random.randrange(len(data) + 1)] + other[random.randrange(len(other) + 1) :]
        elif kind == 1:
            data += random.choice(self.corpus)
        return messages.mutated(random, data, self.target.splices)

    def _features_of(self, data: bytes) -> set[Feature]:
        trace = Trace()
        reading = trace.run(lambda: self.target.read(data))
        features = trace.steps
        if reading.error is not None:
            features.add((type(reading.error), reading.error.detail[:40]))
        features.add(("messages", min(len(reading.messages), 4), reading.closed))
        features.update((one.kind, one.compressed, one.truncated, min(one.frames, 3)) for one in reading.said)
        return features


def failure(target: Target, data: bytes) -> str:
    """What is wrong with how an input is taken; nothing when all is well."""
    try:
        target.check(data)
    except Exception:
        return traceback.format_exc(limit=-4)
    return ""


def minimized(data: bytes, fails: Callable[[bytes], bool], attempts: int = 3000) -> bytes:
    """The input with everything taken away that can be while it fails, in so many attempts at most."""
    size = max(1, len(data) // 2)
    while attempts:
        start = 0
        smaller = False
        while start < len(data) and attempts:
            attempts -= 1
            candidate = data[:start] + data[start + size :]
            if fails(candidate):
                data = candidate
                smaller = True
            else:
                start += size
        if size == 1 and not smaller:
            break
        if not smaller:
            size = max(1, size // 2)
    return data

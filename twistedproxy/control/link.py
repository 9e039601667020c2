"""The link between the parent and one worker: AMP over the socket pair that the worker inherits.

The parent asks, the worker answers; of itself a worker says only what it has not told of when it ends. Whatever is
larger than what fits into an AMP value (65,535 bytes) is spread over several. Listening sockets travel beside the
boxes as descriptors. When either side is gone the other notices, because its end of the pair closes.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Final, TypeAlias

import msgspec
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.protocols.amp import (
    AMP,
    Argument,
    Boolean,
    Command,
    Descriptor,
    Float,
    Integer,
    RemoteAmpError,
    Unicode,
)
from twisted.python.failure import Failure

from twistedproxy.access.limits.spending import Tidings
from twistedproxy.blocklists.files import ListOrders
from twistedproxy.limits.state import ShareState
from twistedproxy.record.connections import Connection
from twistedproxy.record.learned import Learned
from twistedproxy.record.statistics import Statistics
from twistedproxy.settings.types import Settings
from twistedproxy.usage import Usage

PIECE: Final = 0xFFFF
"""The most that one AMP value holds, in bytes."""

_REFUSAL: Final = b"CANNOT_USE"

Fields: TypeAlias = list[tuple[bytes, Argument]]


class CannotUse(Exception):
    """A worker could not do something that it was told to. The text says what, and why."""


class Startup(msgspec.Struct, frozen=True):
    """What a worker is told first. ``log_options`` are twistd's own, as `operational_log` takes them."""

    version: str
    number: int
    pseudonym: str
    in_foreground: bool
    access_log_path: str
    state_directory: str
    log_options: dict[str, str | int | None]


class Orders(msgspec.Struct, frozen=True):
    """What the workers go by: settings, how many share the limits, at which of the sockets clients come in, and what
    is blocked."""

    settings: Settings
    generation: int
    workers: int
    listen: tuple[str, ...]
    level: str
    lists: ListOrders = ListOrders()


class Report(msgspec.Struct):
    """What a worker answers each second."""

    statistics: Statistics
    usage: Usage


class Listing(msgspec.Struct):
    """How many connections matched, and the oldest of them."""

    total: int
    connections: list[Connection]

    @classmethod
    def joined(cls, parts: Iterable[Listing], limit: int) -> Listing:
        """The ``limit`` oldest of several listings."""
        listings = list(parts)
        connections = [connection for listing in listings for connection in listing.connections]
        connections.sort(key=lambda connection: -connection.age)
        return cls(sum(listing.total for listing in listings), connections[:limit])


class Packed(Argument):
    """A value of ``type``, however large, as MessagePack."""

    def __init__(self, type: Any) -> None:
        super().__init__()
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(type)

    def fromBox(self, name: bytes, strings: dict[bytes, bytes], objects: dict[str, Any], proto: Any) -> None:
        pieces = [strings.pop(name)]
        while (following := b"%s-%d" % (name, len(pieces))) in strings:
            pieces.append(strings.pop(following))
        objects[name.decode("ascii")] = self._decoder.decode(b"".join(pieces))

    def toBox(self, name: bytes, strings: dict[bytes, bytes], objects: dict[str, Any], proto: Any) -> None:
        data = self._encoder.encode(objects[name.decode("ascii")])
        strings[name] = data[:PIECE]
        for number, start in enumerate(range(PIECE, len(data), PIECE), 1):
            strings[b"%s-%d" % (name, number)] = data[start : start + PIECE]


class _LinkCommand(Command):
    errors: ClassVar[dict[type[Exception], bytes]] = {CannotUse: _REFUSAL}


class Begin(_LinkCommand):
    """The first words to a worker, which tells its version."""

    arguments: ClassVar[Fields] = [(b"startup", Packed(Startup))]
    response: ClassVar[Fields] = [(b"version", Unicode())]


class Listen(_LinkCommand):
    """Here is the socket of a listener; it counts from the next `Obey` on."""

    arguments: ClassVar[Fields] = [(b"description", Unicode()), (b"descriptor", Descriptor())]


class Obey(_LinkCommand):
    """Go by these orders. ``complaint`` is empty, or what could not be done as wished."""

    arguments: ClassVar[Fields] = [(b"orders", Packed(Orders))]
    response: ClassVar[Fields] = [(b"complaint", Unicode())]


class Pulse(_LinkCommand):
    """Tell how it goes, and hear what the others have taken up. ``complete`` as `Worker.statistics` has it."""

    arguments: ClassVar[Fields] = [(b"elsewhere", Packed(Usage)), (b"complete", Boolean())]
    response: ClassVar[Fields] = [(b"report", Packed(Report))]


class ListConnections(_LinkCommand):
    """Tell of the connections; the arguments are those of `Worker.connections`."""

    arguments: ClassVar[Fields] = [(b"limit", Integer()), (b"client", Unicode()), (b"state", Unicode())]
    response: ClassVar[Fields] = [(b"listing", Packed(Listing))]


class CloseConnection(_LinkCommand):
    """Close the connection of that number."""

    arguments: ClassVar[Fields] = [(b"number", Integer())]
    response: ClassVar[Fields] = [(b"closed", Boolean())]


class TellLearned(_LinkCommand):
    """Tell who does not take our certificates; the arguments are those of `Worker.learned`."""

    arguments: ClassVar[Fields] = [(b"host", Unicode()), (b"forget", Boolean())]
    response: ClassVar[Fields] = [(b"learned", Packed(list[Learned]))]


class TellLimits(_LinkCommand):
    """Tell what has been taken up of limits; the arguments are those of `Restraint.states`."""

    arguments: ClassVar[Fields] = [(b"name", Unicode()), (b"most", Integer())]
    response: ClassVar[Fields] = [(b"states", Packed(list[ShareState]))]


class Refill(_LinkCommand):
    """Forget what ``key`` has taken up of ``limit``, or all when it is empty."""

    arguments: ClassVar[Fields] = [(b"limit", Unicode()), (b"key", Unicode())]


class ReopenLogs(_LinkCommand):
    """Go on in new log files."""


class SetLevel(_LinkCommand):
    """Write the operational log from ``level`` on."""

    arguments: ClassVar[Fields] = [(b"level", Unicode())]


class UseLists(_LinkCommand):
    """Go by these lists of what is blocked."""

    arguments: ClassVar[Fields] = [(b"lists", Packed(ListOrders))]


class Part(_LinkCommand):
    """A worker's last words: what was spent since its last answer."""

    arguments: ClassVar[Fields] = [(b"tidings", Packed(Tidings))]


class Drain(_LinkCommand):
    """Take no new connections, let what is under way end for ``timeout`` seconds, then exit."""

    arguments: ClassVar[Fields] = [(b"timeout", Float())]


class Stop(_LinkCommand):
    """Cut what is under way; while it drains it exits then."""


class LinkEnd(AMP):
    """One end of the link. ``lost`` is called once when the other end is gone."""

    _log = Logger()

    def __init__(self, lost: Callable[[], object]) -> None:
        super().__init__()
        self._on_loss = lost

    def ask(self, command: type[Command], **arguments: Any) -> Deferred[dict[str, Any]]:
        """Send a command; fires with its response.

        Fails with `CannotUse`, or with `ConnectionClosed` when the link breaks.
        """
        answer: Deferred[dict[str, Any]] = maybeDeferred(self.callRemote, command, **arguments)
        return answer

    def dispatchCommand(self, box: Any) -> Deferred[Any]:
        """Answer a command. AMP would break the link when something unforeseen goes wrong, and with it the worker."""
        answered: Deferred[Any] = super().dispatchCommand(box)
        return answered.addErrback(self._at_fault)

    def _at_fault(self, failure: Failure) -> Failure:
        if failure.check(RemoteAmpError):
            return failure
        self._log.failure("a command could not be answered", failure)
        raise RemoteAmpError(_REFUSAL, f"it is at fault, and its log says how: {failure.getErrorMessage()[:1000]}")

    def cut(self) -> None:
        """Close this end at once."""
        transport: Any = self.transport
        if transport is not None:
            transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self._on_loss()


def connect_end(reactor: Any, descriptor: int, end: LinkEnd) -> None:
    """Make ``end`` speak over the connected Unix socket ``descriptor``, of which it takes a duplicate."""
    os.set_blocking(descriptor, False)
    reactor.adoptStreamConnection(descriptor, socket.AF_UNIX, _EndFactory(end))


class _EndFactory(Factory):
    noisy = False

    def __init__(self, end: LinkEnd) -> None:
        self._end = end

    def buildProtocol(self, addr: Any) -> LinkEnd:
        return self._end

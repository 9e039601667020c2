"""The resolver: cache, shared look-ups, timeouts and fairness, over an injected getaddrinfo or a scripted source."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from twistedproxy import errors
from twistedproxy.deadlines import Deadlines
from twistedproxy.upstream.answers import Answer, Done
from twistedproxy.upstream.hosts_file import HostsFile
from twistedproxy.upstream.literals import ResolvedAddress
from twistedproxy.upstream.resolver import Resolver
from twistedproxy.upstream.system_names import SystemNames

Found = list[tuple[Any, ...]]


def four(address: str) -> ResolvedAddress:
    return ResolvedAddress(address, socket.AF_INET)


def found(*addresses: str) -> Found:
    """What getaddrinfo returns for these addresses."""
    return [
        (
            socket.AF_INET6 if ":" in address else socket.AF_INET,
            socket.SOCK_STREAM,
            6,
            "",
            (address, 0, 0, 0) if ":" in address else (address, 0),
        )
        for address in addresses
    ]


class Names:
    """A getaddrinfo with names of its own. Those that begin with "slow" wait until they are released."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, Found | Exception] = {}
        self._released: dict[str, threading.Event] = {}

    def __call__(self, host: bytes, port: None, family: int, kind: int) -> Found:
        assert (port, family, kind) == (None, socket.AF_UNSPEC, socket.SOCK_STREAM)
        name = host.decode("ascii")
        self.asked.append(name)
        if name.startswith("slow"):
            event = self._released.setdefault(name, threading.Event())
            assert event.wait(10)
        answer = self.answers.get(name, found("10.0.0.1"))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def release(self, name: str) -> None:
        self._released.setdefault(name, threading.Event()).set()

    def release_all(self) -> None:
        for event in list(self._released.values()):
            event.set()


@pytest.fixture
def names() -> Iterator[Names]:
    made = Names()
    yield made
    made.release_all()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(running_reactor: Any, names: Names, clock: Clock, tmp_path: Path) -> Iterator[Callable[..., Resolver]]:
    made: list[Resolver] = []
    (tmp_path / "hosts").write_text("10.0.0.1 prompt\n")

    def make_resolver(**options: Any) -> Resolver:
        options = {
            "cache_size": 100,
            "timeout": 10.0,
            "threads": 8,
            **options,
        }
        source = SystemNames(
            running_reactor,
            ttl=60.0,
            negative_ttl=5.0,
            threads=options.pop("threads"),
            getaddrinfo=names,
            hosts_file=HostsFile(str(tmp_path / "hosts")),
        )
        made.append(Resolver(source, deadlines=Deadlines(clock), **options))
        return made[-1]

    yield make_resolver
    for resolver in made:
        resolver.close()


@pytest.fixture
def resolver(make: Callable[..., Resolver]) -> Resolver:
    return make()


async def failure_of(result: Deferred[Any], kind: type[errors.ProxyError]) -> str:
    """The detail of the error that ``result`` fails with."""
    with pytest.raises(kind) as caught:
        await result
    assert type(caught.value) is kind
    return caught.value.detail


def turn(reactor: Any) -> Deferred[None]:
    over: Deferred[None] = Deferred()
    reactor.callLater(0.001, over.callback, None)
    return over


@pytest_twisted.ensureDeferred
async def test_a_name_is_looked_up_once_and_then_known(resolver: Resolver, names: Names) -> None:
    names.answers["a.example"] = found("10.0.0.2", "2001:db8::1", "10.0.0.1", "10.0.0.2")
    addresses = (four("10.0.0.2"), ResolvedAddress("2001:db8::1", socket.AF_INET6), four("10.0.0.1"))
    assert resolver.cached("a.example") is None
    assert await resolver.resolve("a.example") == addresses
    assert resolver.cached("a.example") == addresses
    assert await resolver.resolve("A.Example") == addresses
    assert resolver.cached("A.EXAMPLE") == addresses
    assert names.asked == ["a.example"]
    assert repr(resolver) == (
        "<Resolver cached=1 under way=0 <SystemNames <LookupThreads resolver busy=0/8 waiting=0>>>"
    )


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.1", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
    ],
)
def test_literals_are_resolved_at_once(resolver: Resolver, names: Names, host: str, address: str) -> None:
    results: list[object] = []
    resolver.resolve(host).addCallback(results.append)
    assert results == [(four(address),)]
    assert resolver.cached(host) == (four(address),)
    assert names.asked == []


@pytest_twisted.ensureDeferred
async def test_answers_expire(resolver: Resolver, names: Names, clock: Clock) -> None:
    await resolver.resolve("a.example")
    clock.advance(59.9)
    assert resolver.cached("a.example") is not None
    clock.advance(0.1)
    assert resolver.cached("a.example") is None
    names.answers["a.example"] = found("10.0.0.7")
    assert await resolver.resolve("a.example") == (four("10.0.0.7"),)
    assert names.asked == ["a.example", "a.example"]


@pytest_twisted.ensureDeferred
async def test_a_name_that_does_not_exist_is_remembered_for_a_shorter_time(
    resolver: Resolver, names: Names, clock: Clock
) -> None:
    names.answers["no.example"] = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    for _ in range(3):
        detail = await failure_of(resolver.resolve("no.example"), errors.NameNotFound)
        assert detail == "no.example: Name or service not known"
        assert resolver.cached("no.example") is None
    assert names.asked == ["no.example"]
    clock.advance(5)
    names.answers["no.example"] = found("10.0.0.3")
    assert await resolver.resolve("no.example") == (four("10.0.0.3"),)


@pytest.mark.parametrize("host", ["", "a b", "a\0.example", "bücher.example", "x" * 255, "\x7f", "a\n"])
@pytest_twisted.ensureDeferred
async def test_what_cannot_be_a_name_is_not_asked_for(resolver: Resolver, names: Names, host: str) -> None:
    assert resolver.cached(host) is None
    detail = await failure_of(resolver.resolve(host), errors.NameNotFound)
    assert detail.endswith("is not a name")
    assert names.asked == []


@pytest_twisted.ensureDeferred
async def test_a_last_dot_stays(resolver: Resolver, names: Names) -> None:
    await resolver.resolve("a.example.")
    await resolver.resolve("a.example")
    assert names.asked == ["a.example.", "a.example"]


@pytest_twisted.ensureDeferred
async def test_the_cache_is_bounded_and_drops_what_was_used_least_recently(
    make: Callable[..., Resolver],
) -> None:
    resolver = make(cache_size=3)
    for name in ("a", "b", "c"):
        await resolver.resolve(name)
    resolver.cached("a")
    await resolver.resolve("b")
    await resolver.resolve("d")
    assert [name for name in "abcd" if resolver.cached(name)] == ["a", "b", "d"]


@pytest_twisted.ensureDeferred
async def test_without_room_nothing_is_kept(make: Callable[..., Resolver], names: Names) -> None:
    resolver = make(cache_size=0)
    assert await resolver.resolve("a") == (four("10.0.0.1"),)
    assert resolver.cached("a") is None
    assert await resolver.resolve("a") == (four("10.0.0.1"),)
    assert names.asked == ["a", "a"]


@pytest_twisted.ensureDeferred
async def test_identical_lookups_under_way_are_shared(resolver: Resolver, names: Names) -> None:
    waiting = [resolver.resolve("slow.example", f"client {number}") for number in range(50)]
    names.release("slow.example")
    for result in waiting:
        assert await result == (four("10.0.0.1"),)
    assert names.asked == ["slow.example"]


@pytest_twisted.ensureDeferred
async def test_a_lookup_that_takes_too_long_fails_and_its_late_answer_is_kept(
    running_reactor: Any, resolver: Resolver, names: Names, clock: Clock
) -> None:
    early = resolver.resolve("slow.example")
    clock.advance(6)
    later = resolver.resolve("slow.example")
    clock.advance(4.25)
    detail = await failure_of(early, errors.NameTimeout)
    assert detail == "slow.example: no answer in 10 s"
    assert not later.called
    names.release("slow.example")
    assert await later == (four("10.0.0.1"),)

    last = resolver.resolve("slow2.example")
    clock.advance(10.25)
    await failure_of(last, errors.NameTimeout)
    assert resolver.cached("slow2.example") is None
    names.release("slow2.example")
    while resolver.cached("slow2.example") is None:
        await turn(running_reactor)
    assert names.asked == ["slow.example", "slow2.example"]
    assert clock.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
async def test_the_cancelled_leave_the_lookup_to_the_others(resolver: Resolver, names: Names, clock: Clock) -> None:
    waiting = [resolver.resolve("slow.example") for _ in range(3)]
    for cancelled in waiting[:2]:
        cancelled.cancel()
        with pytest.raises(CancelledError):
            await cancelled
    names.release("slow.example")
    assert await waiting[2] == (four("10.0.0.1"),)
    assert clock.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
async def test_one_waiter_may_cancel_another_in_its_callback(resolver: Resolver, names: Names) -> None:
    waiting = [resolver.resolve("slow.example") for _ in range(2)]
    outcomes: list[object] = []
    for result, other in zip(waiting, reversed(waiting), strict=True):

        def arrived(addresses: object, other: Deferred[Any] = other) -> None:
            outcomes.append(addresses)
            other.cancel()

        result.addCallback(arrived)
        result.addErrback(lambda failure: outcomes.append(failure.trap(CancelledError)))
    names.release("slow.example")
    for result in waiting:
        await result
    assert sorted(map(str, outcomes)) == sorted([str((four("10.0.0.1"),)), str(CancelledError)])


@pytest_twisted.ensureDeferred
async def test_names_that_hang_do_not_hold_up_other_clients(resolver: Resolver, names: Names, clock: Clock) -> None:
    await resolver.resolve("known.example", "good")
    hostile = [resolver.resolve(f"slow-{number}.example", "hostile") for number in range(1000)]
    assert repr(resolver) == (
        "<Resolver cached=1 under way=1000 <SystemNames <LookupThreads resolver busy=2/8 waiting=998>>>"
    )
    assert await resolver.resolve("known.example", "good") == (four("10.0.0.1"),)
    for number in range(20):
        assert await resolver.resolve(f"new-{number}.example", f"good {number}") == (four("10.0.0.1"),)
    # Even a name that the hostile client already queues for.
    wanted = resolver.resolve("slow-999.example", "good")
    names.release("slow-999.example")
    assert await wanted == (four("10.0.0.1"),)
    assert await hostile.pop() == (four("10.0.0.1"),)
    # The queue does not outlive those who wait in it.
    clock.advance(10.25)
    for result in hostile:
        await failure_of(result, errors.NameTimeout)
    assert repr(resolver) == (
        "<Resolver cached=22 under way=2 <SystemNames <LookupThreads resolver busy=2/8 waiting=0>>>"
    )
    assert sorted(names.asked)[-3:] == ["slow-0.example", "slow-1.example", "slow-999.example"]


@pytest_twisted.ensureDeferred
async def test_names_of_the_hosts_file_never_queue(resolver: Resolver) -> None:
    hung = [resolver.resolve(f"slow-{number}.example", f"{number % 50}") for number in range(500)]
    assert repr(resolver) == (
        "<Resolver cached=0 under way=500 <SystemNames <LookupThreads resolver busy=7/8 waiting=493>>>"
    )
    assert await resolver.resolve("prompt", "0") == (four("10.0.0.1"),)
    for result in hung:
        result.cancel()
        with pytest.raises(CancelledError):
            await result


@pytest_twisted.ensureDeferred
async def test_closing_fails_those_who_wait(
    running_reactor: Any, make: Callable[..., Resolver], names: Names, clock: Clock
) -> None:
    resolver = make(threads=1)
    await resolver.resolve("known")
    waiting = [resolver.resolve("slow.example"), resolver.resolve("queued"), resolver.resolve("queued")]
    waiting[1].addErrback(lambda failure: (waiting[2].cancel(), failure)[1])
    resolver.close()
    assert await failure_of(waiting[0], errors.UpstreamError) == "this proxy is stopping"
    await failure_of(waiting[1], errors.UpstreamError)
    with pytest.raises((CancelledError, errors.UpstreamError)):
        await waiting[2]
    assert await resolver.resolve("known") == (four("10.0.0.1"),)
    assert await failure_of(resolver.resolve("new"), errors.UpstreamError) == "this proxy is stopping"
    assert clock.getDelayedCalls() == []
    names.release("slow.example")
    while any(thread.name.startswith("resolver-") for thread in threading.enumerate()):
        await turn(running_reactor)
    assert resolver.cached("slow.example") is None


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "db.localhost", "a.b.LocalHost."])
def test_localhost_is_this_machine(resolver: Resolver, names: Names, host: str) -> None:
    """RFC 6761 section 6.3."""
    here = (four("127.0.0.1"), ResolvedAddress("::1", socket.AF_INET6))
    found: list[object] = []
    resolver.resolve(host).addCallback(found.append)
    assert found == [here]
    assert resolver.cached(host) == here
    assert names.asked == []


@pytest.mark.parametrize("host", ["a.onion", "A.ONION.", "onion", "www.invalid"])
@pytest_twisted.ensureDeferred
async def test_names_that_nobody_is_asked_for(resolver: Resolver, names: Names, host: str) -> None:
    """RFC 7686, RFC 6761 section 6.4."""
    assert resolver.cached(host) is None
    await failure_of(resolver.resolve(host), errors.NameNotFound)
    assert names.asked == []


# ------------------------------------------------------------ a source that can be given up, and that says it in parts


class Source:
    """Look-ups that a test answers."""

    def __init__(self) -> None:
        self.under_way: dict[str, Done] = {}
        self.joined: list[tuple[str, str]] = []
        self.given_up: list[str] = []
        self.at_once: Answer | None = None
        self.closed = False

    def begin(self, name: str, client: str, done: Done) -> Any:
        if self.at_once is not None:
            done(self.at_once, True)
        else:
            self.under_way[name] = done
        return Begun(self, name)

    def close(self) -> None:
        self.closed = True
        self.under_way.clear()


class Begun:
    """One of them."""

    def __init__(self, source: Source, name: str) -> None:
        self.source = source
        self.name = name

    def join(self, client: str) -> None:
        self.source.joined.append((self.name, client))

    def give_up(self) -> bool:
        if self.source.under_way.pop(self.name, None) is None:
            return False
        self.source.given_up.append(self.name)
        return True


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def scripted(source: Source, clock: Clock) -> Resolver:
    return Resolver(source, cache_size=100, timeout=10.0, deadlines=Deadlines(clock))


ONE, BOTH = (four("192.0.2.1"),), (four("192.0.2.1"), four("192.0.2.2"))


def outcomes(*results: Deferred[Any]) -> list[object]:
    """What has become of each; None for those that wait."""
    found: list[object] = [None] * len(results)
    for number, result in enumerate(results):

        def note(outcome: Any, number: int = number) -> None:
            found[number] = outcome if isinstance(outcome, tuple) else type(outcome.value)

        result.addBoth(note)
    return found


def test_each_answer_holds_for_its_own_time(scripted: Resolver, source: Source, clock: Clock) -> None:
    for name, ttl in (("a", 30.0), ("b", 0.0), ("c", 5.0)):
        scripted.resolve(name)
        source.under_way[name](Answer(ONE, ttl), True)
    assert [scripted.cached(name) for name in "abc"] == [ONE, None, ONE]
    clock.advance(5)
    assert [scripted.cached(name) for name in "abc"] == [ONE, None, None]
    assert scripted.names_kept == 2


def test_an_answer_in_parts(scripted: Resolver, source: Source, clock: Clock) -> None:
    """Those who wait get the first part, and it is used until the rest comes."""
    first = outcomes(scripted.resolve("a"))
    done = source.under_way["a"]
    done(Answer(ONE, 60), False)
    assert first == [ONE]
    assert scripted.cached("a") == ONE
    assert (scripted.lookups, clock.getDelayedCalls()) == (1, [])
    done(Answer(BOTH, 60), True)
    assert scripted.cached("a") == BOTH
    assert scripted.lookups == 0


def test_who_asks_between_two_parts_that_are_not_kept(scripted: Resolver, source: Source) -> None:
    scripted.resolve("a")
    done = source.under_way["a"]
    done(Answer(ONE, 0), False)
    later = outcomes(scripted.resolve("a", "other"))
    assert (later, source.joined) == ([None], [("a", "other")])
    done(Answer(BOTH, 0), True)
    assert later == [BOTH]
    assert scripted.tally.made == 1


def test_an_answer_at_once(scripted: Resolver, source: Source, clock: Clock) -> None:
    source.at_once = Answer(ONE, 60)
    assert outcomes(scripted.resolve("a")) == [ONE]
    source.at_once = Answer((), 0, errors.NameServersFailed, "b: SERVFAIL")
    assert outcomes(scripted.resolve("b")) == [errors.NameServersFailed]
    assert (scripted.lookups, clock.getDelayedCalls()) == (0, [])


def test_what_nobody_waits_for_is_given_up(scripted: Resolver, source: Source, clock: Clock) -> None:
    waiting = [scripted.resolve("a"), scripted.resolve("a")]
    found = outcomes(*waiting)
    waiting[0].cancel()
    assert source.given_up == []
    clock.advance(10.25)
    assert found == [CancelledError, errors.NameTimeout]
    assert source.given_up == ["a"]
    assert scripted.lookups == 0
    # And it is begun again.
    scripted.resolve("a")
    source.under_way["a"](Answer(ONE, 60), True)
    assert scripted.cached("a") == ONE


def test_what_is_counted(scripted: Resolver, source: Source, clock: Clock) -> None:
    for name, answer in (
        ("a", Answer(ONE, 60)),
        ("b", Answer((), 5)),
        ("c", Answer((), 1, errors.NameServersFailed)),
        ("d", Answer((), 1, errors.NameServersFailed)),
        ("e", None),
    ):
        outcomes(scripted.resolve(name), scripted.resolve(name))
        if answer is not None:
            source.under_way[name](answer, True)
    outcomes(scripted.resolve("a"), scripted.resolve("b"), scripted.resolve("127.0.0.1"), scripted.resolve("localhost"))
    clock.advance(10.25)
    assert scripted.tally.made == 5
    assert scripted.tally.failures == {"dns_error": 1, "dns_failed": 2, "dns_timeout": 1}


def test_one_that_is_replaced_ends_what_is_under_way(scripted: Resolver, source: Source, clock: Clock) -> None:
    found = outcomes(scripted.resolve("a"), scripted.resolve("b"))
    gone: list[Resolver] = []
    scripted.retire(gone.append)
    source.under_way["a"](Answer(ONE, 60), True)
    assert (found, gone, source.closed) == ([ONE, None], [], False)
    source.under_way["b"](Answer((), 5), True)
    assert (found, gone, source.closed) == ([ONE, errors.NameNotFound], [scripted], True)
    assert clock.getDelayedCalls() == []


def test_one_that_is_replaced_ends_when_nobody_waits(scripted: Resolver, source: Source) -> None:
    waiting = scripted.resolve("a")
    outcomes(waiting)
    gone: list[Resolver] = []
    scripted.retire(gone.append)
    waiting.cancel()
    assert (gone, source.closed) == ([scripted], True)


def test_one_that_is_replaced_while_nothing_is_under_way(scripted: Resolver, source: Source) -> None:
    gone: list[Resolver] = []
    scripted.retire(gone.append)
    assert (gone, source.closed) == ([scripted], True)

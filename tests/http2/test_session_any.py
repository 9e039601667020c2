"""Whatever comes, in whatever pieces, and whatever is said: nothing is lost, and only `SessionError` comes out."""

from __future__ import annotations

from random import Random

import pytest
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, ResponseReceived, StreamEnded, StreamReset, TrailersReceived
from h2.settings import SettingCodes
from hypothesis import given
from hypothesis import strategies as st

from tests.http2.conversations import conversation, mutated
from tests.http2.peers import GET, OK, POST, Owner, Pair, Told
from twistedproxy.http2.frames import FrameReader
from twistedproxy.http2.session import PREFACE, SessionError

TRAILERS = [(b"trailer", b"x")]


def told(owner: Owner, received: list[bytes]) -> tuple[object, ...]:
    """All that comes of bytes in these pieces."""
    failure = None
    for data in received:
        try:
            owner.received(data)
        except SessionError as error:
            failure = (error.code, error.detail)
            break
    calls: list[tuple[object, ...]] = []
    contents: dict[int, bytes] = {}
    for call in owner.log:
        if call[1] == "content":
            contents[call[0]] = contents.get(call[0], b"") + call[2]
        elif call[1] != "turn":
            calls.append(call)
    return calls, contents, owner.over, failure, owner.out


@given(st.integers(0, 10_000), st.booleans(), st.booleans(), st.data())
def test_how_the_bytes_are_cut_makes_no_difference(seed: int, client: bool, wrong: bool, data: st.DataObject) -> None:
    random = Random(seed)
    whole = conversation(random, client)
    if wrong:
        whole = mutated(random, whole)
    pieces = []
    rest = whole
    while rest:
        size = data.draw(st.integers(1, 60)) if len(pieces) < 60 else len(rest)
        pieces.append(rest[:size])
        rest = rest[size:]
    results = []
    for received in ([whole], pieces):
        owner = Owner(client)
        if client:
            for _ in range(4):
                owner.open(POST)
        results.append(told(owner, received))
    assert results[0] == results[1]


@pytest.mark.parametrize("client", [False, True])
def test_nothing_but_its_own_error_comes_out(client: bool) -> None:
    random = Random(9113)
    ends: dict[object, int] = {}
    for _ in range(1500):
        owner = Owner(client)
        if client:
            for _ in range(4):
                owner.open(POST)
        *_, failure, _ = told(owner, [mutated(random, conversation(random, client))])
        code = failure and failure[0]  # type: ignore[index]  # an error's
        ends[code] = ends.get(code, 0) + 1
        # Whatever happened, the end is clean.
        owner.session.end()
        assert owner.session.streams == {}
    assert ends[None] > 50
    assert {ErrorCodes.PROTOCOL_ERROR, ErrorCodes.FRAME_SIZE_ERROR} <= {*ends}


class Walk:
    """Two sides that do what comes to their minds, with bytes that take their time."""

    def __init__(self, seed: int, client: bool) -> None:
        self.random = Random(seed)
        self.client = client
        # The library does not take an empty frame while its window is negative (RFC 9113 section 6.9.1 allows it).
        self.shrinks = seed % 2 == 0
        self.pair = Pair(client=client, max_streams=8, stream_window=3000)
        self.owner, self.session, self.peer = self.pair.owner, self.pair.session, self.pair.peer
        self.said: dict[int, bytes] = {}
        self.heard: dict[int, bytes] = {}
        self.sent: dict[int, bytes] = {}
        self.ended: dict[int, str] = {}
        self.dead: set[int] = set()
        self.speaks: set[int] = set()
        self.number = 1
        self.to_peer = b""
        self.reader = FrameReader(1 << 24)
        self.to_us = b""

    # ------------------------------------------------------------ what the peer does

    def peer_opens(self) -> None:
        if self.client or self.peer.open_outbound_streams >= 8:
            return
        self.peer.send_headers(self.number, POST)
        self._peer_began(self.number)
        self.number += 2

    def _peer_began(self, number: int) -> None:
        self.speaks.add(number)
        self.sent[number] = b""

    def peer_says(self) -> None:
        for number in self._some(self.speaks):
            room = min(self.peer.local_flow_control_window(number), 16384)
            if room > 0:
                content = self.random.randbytes(self.random.randint(1, room))
                self.peer.send_data(number, content)
                self.sent[number] += content

    def peer_ends(self) -> None:
        for number in self._some(self.speaks):
            self.speaks.discard(number)
            if self.random.random() < 0.5:
                self.peer.end_stream(number)
            else:
                self.peer.send_headers(number, TRAILERS, end_stream=True)

    def peer_resets(self) -> None:
        for number in self._some(set(self.heard) - self.dead - set(self.ended)):
            self.peer.reset_stream(number, ErrorCodes.CANCEL)
            self._died(number)

    def peer_settles(self) -> None:
        self.peer.update_settings(
            {
                SettingCodes.INITIAL_WINDOW_SIZE: self.random.choice(
                    [0, 1, 100, 5000, 100_000] if self.shrinks else [100_000, 200_000]
                ),
                SettingCodes.MAX_FRAME_SIZE: self.random.choice([16384, 20_000, 1 << 20]),
                SettingCodes.HEADER_TABLE_SIZE: self.random.choice([0, 100, 4096, 65536]),
            }
        )

    def peer_makes_room(self) -> None:
        self.peer.increment_flow_control_window(self.random.randint(1, 30_000))
        for number in self._some(set(self.heard) - self.dead - set(self.ended)):
            self.peer.increment_flow_control_window(self.random.randint(1, 5000), number)

    # ------------------------------------------------------------ what we do

    def we_open(self) -> None:
        if self.client and self.session.room_for_streams > 0:
            self.said[self.owner.open(POST).id] = b""

    def we_answer(self) -> None:
        for stream in self._streams():
            if not self.client and stream.id not in self.said:
                stream.say_head(OK, False)
                self.said[stream.id] = b""

    def we_say(self) -> None:
        for stream in self._streams():
            if stream.id in self.said and not (stream.output_ended or (stream.wants_to_speak and not stream.unsaid)):
                if stream._unsaid_end is not None:
                    continue
                content = self.random.randbytes(self.random.randint(0, 40_000))
                stream.say(content)
                self.said[stream.id] += content

    def we_end(self) -> None:
        for stream in self._streams():
            if stream.id in self.said and stream._unsaid_end is None:
                stream.say_end(TRAILERS if self.shrinks or self.random.random() < 0.5 else ())

    def we_reset(self) -> None:
        for stream in self._streams():
            stream.reset(ErrorCodes.CANCEL)
            self.dead.add(stream.id)

    def we_rest(self) -> None:
        for stream in self._streams():
            if stream.resting:
                stream.go_on()
            else:
                stream.rest()

    def it_blocks(self) -> None:
        self.owner.blocked = not self.owner.blocked
        if not self.owner.blocked:
            self.session.drained()

    # ------------------------------------------------------------ the bytes

    def carry(self) -> None:
        self.owner.now += 10
        self.to_us += self.peer.data_to_send()
        size = self.random.randint(0, len(self.to_us))
        data, self.to_us = self.to_us[:size], self.to_us[size:]
        self.owner.received(data)
        if not self.owner.blocked:
            self.to_peer += self.owner.take()
        size = self.random.randint(0, len(self.to_peer))
        self.reader.receive(self.to_peer[:size])
        self.to_peer = self.to_peer[size:]
        events: list[Event] = []
        while (frame := self.reader.next_frame()) is not None:
            # One by one, since the library measures all that it gets at once by the settings before.
            events += self.peer.receive_data(frame.octets)
        # What has been reset is not spoken on any more.
        for event in sorted(events, key=lambda event: not isinstance(event, StreamReset)):
            self._heard(event)

    def _heard(self, event: Event) -> None:
        number = getattr(event, "stream_id", 0)
        if isinstance(event, DataReceived):
            self.heard[number] = self.heard.get(number, b"") + event.data
        elif isinstance(event, StreamReset):
            self._died(number)
        elif isinstance(event, StreamEnded):
            self.ended[number] = self.ended.get(number, "")
        elif isinstance(event, TrailersReceived):
            self.ended[number] = "trailers"
        elif isinstance(event, ResponseReceived):
            self.heard.setdefault(number, b"")
        elif type(event).__name__ == "RequestReceived":
            self.heard.setdefault(number, b"")
            if number not in self.dead:
                self.peer.send_headers(number, OK)
                self._peer_began(number)

    def _died(self, number: int) -> None:
        self.dead.add(number)
        self.speaks.discard(number)

    def _streams(self) -> list[Told]:
        live = [stream for stream in self.session.streams.values() if isinstance(stream, Told)]
        return self.random.sample(live, min(2, len(live)))

    def _some(self, numbers: set[int]) -> list[int]:
        return self.random.sample(sorted(numbers), min(2, len(numbers)))

    # ------------------------------------------------------------ all of it

    def step(self) -> None:
        rare = [self.peer_resets, self.we_reset, self.peer_settles]
        often = [self.peer_opens, self.peer_says, self.peer_ends, self.peer_makes_room, self.we_open, self.we_answer]
        often += [self.we_say, self.we_end, self.we_rest, self.it_blocks, self.carry, self.carry, self.carry]
        self.random.choice(rare if self.random.random() < 0.05 else often)()
        for stream in self.session.streams.values():
            assert stream.unsaid == sum(map(len, stream.queue))

    def finish(self) -> None:
        """Everybody says what is left, and has all the room for it."""
        if self.owner.blocked:
            self.it_blocks()
        self.peer.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1 << 24})
        self.peer.increment_flow_control_window(1 << 28)
        for stream in list(self.session.streams.values()):
            stream.go_on()
        for _ in range(200):
            self.carry()
        for _ in range(30):
            for stream in list(self.session.streams.values()):
                if stream.id not in self.said:
                    stream.say_head(OK, False)
                    self.said[stream.id] = b""
                stream.go_on()
                stream.say_end(TRAILERS)
            for number in list(self.speaks):
                self.speaks.discard(number)
                self.peer.end_stream(number)
            for _ in range(20):
                self.carry()


@pytest.mark.parametrize("seed", range(14))
@pytest.mark.parametrize("client", [False, True])
def test_whatever_both_sides_do_nothing_is_lost(client: bool, seed: int) -> None:
    walk = Walk(seed, client)
    for _ in range(600):
        walk.step()
    walk.finish()
    assert walk.session.streams == {}
    assert len(walk.owner.over) == len(set(walk.owner.over)) == len(walk.owner.opened) > 10
    whole = 0
    for number, stream in walk.owner.opened.items():
        assert (stream.over, stream.unsaid, len(stream.queue)) == (True, 0, 0)
        heard = walk.heard.get(number, b"")
        assert walk.said.get(number, b"").startswith(heard) is True
        assert walk.sent.get(number, b"").startswith(stream.content)
        if number in walk.ended:
            assert (heard == walk.said[number]) is True
            whole += 1
        if any(call[:2] == (number, "end") for call in walk.owner.log):
            assert (stream.content == walk.sent[number]) is True
    assert whole >= 3
    assert walk.session._unacknowledged_by == {}


def test_the_tests_own_conversations_are_valid() -> None:
    for seed in range(50):
        owner = Owner(client=False)
        calls, *_, failure, _ = told(owner, [conversation(Random(seed), False)])
        assert failure is None
        assert calls
    assert conversation(Random(1), False).startswith(PREFACE)
    assert GET

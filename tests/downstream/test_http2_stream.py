"""Requests over HTTP/2 and their answers, with the network in memory and ``h2`` as the client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from tests.http2_client import GET, POST, HTTP2Client, Lines
from tests.memory import DATE, Wire
from tests.secure_origin import SecureOrigin
from twistedproxy.errors import ConnectTimeout

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: x\r\n\r\nhi"
Find = Callable[..., SecureOrigin]
WINDOW = 65535
CONNECT = [(b":method", b"CONNECT"), (b":authority", b"origin.test:443")]


@pytest.fixture
def wire() -> Wire:
    return Wire(("intercept.mode", "all-but"), ("intercept.ports", "all"))


@pytest.fixture
def client(wire: Wire) -> HTTP2Client:
    return HTTP2Client(wire)


def replaced(name: bytes, *values: bytes, of: Lines = GET) -> Lines:
    """The lines of a request with other ``values`` for the pseudo-header field ``name``."""
    others = [line for line in of if line[0] != name]
    return [*((name, value) for value in values), *others]


def reasons(wire: Wire) -> list[tuple[int, str]]:
    """Status and reason of each request inside."""
    return [(record.status, record.reason) for record in wire.records.all if record.kind != "intercept"]


# ---------------------------------------------------------------- translation


def test_get(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    stream = client.ask()
    there = origin(wire)
    assert there.plain == b"GET /a?b HTTP/1.1\r\nHost: origin.test\r\nVia: 2.0 proxy.test\r\n\r\n"
    there.say(OK)
    client.turn()
    answer = client.answers[stream]
    assert (answer.status, answer.content, answer.ended, answer.reset) == (200, b"hi", True, None)
    assert answer.head == {b":status": b"200", b"date": b"x", b"content-length": b"2", b"via": b"1.1 proxy.test"}
    record = wire.records.all[1]
    assert (record.kind, record.url, record.status, record.reason) == ("forward", b"https://origin.test/a?b", 200, "")
    # Two frames' headers, a block of four fields and two bytes; what comes back is alike.
    assert 9 < record.bytes_from_client < 100
    assert 2 * 9 + 2 < record.bytes_to_client < 150
    assert record.bytes_from_upstream == len(OK)


def test_both_sides_speak_it(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    """Trailers, and an answer that is only trailers: what gRPC is made of."""
    stream = client.ask([*POST, (b"te", b"trailers"), (b"content-type", b"application/grpc")], b"abc")
    there = origin(wire, 0, b"h2")
    assert there.requests[1][b"content-type"] == b"application/grpc"
    assert (there.contents[1], there.ended) == (b"abc", [1])

    def answer(h2: Any) -> None:
        h2.send_headers(1, [(b":status", b"200"), (b"content-type", b"application/grpc")])
        h2.send_data(1, b"xyz")
        h2.send_headers(1, [(b"grpc-status", b"0")], end_stream=True)

    there.act(answer)
    client.turn()
    got = client.answers[stream]
    assert (got.status, got.content, got.trailers, got.ended) == (200, b"xyz", {b"grpc-status": b"0"}, True)
    stream = client.ask([*POST, (b"te", b"trailers")], b"abc")
    there.pump()
    there.act(lambda h2: h2.send_headers(3, [(b":status", b"200"), (b"grpc-status", b"5")], end_stream=True))
    client.turn()
    got = client.answers[stream]
    assert (got.status, got.head[b"grpc-status"], got.ended) == (200, b"5", True)
    assert reasons(wire) == [(200, ""), (200, "")]


def test_dialogue(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    """Both directions of one stream, for longer than a client may pause in a request that nobody has answered."""
    stream = client.ask(POST, b"1", end=False)
    there = origin(wire, 0, b"h2")
    there.act(lambda h2: h2.send_headers(1, [(b":status", b"200")]))
    for number in range(3):
        wire.pass_time(50)
        there.act(lambda h2: h2.send_data(1, b"a"))
        client.turn()
        assert client.answers[stream].content == b"a" * (number + 1)
    client.send(stream, b"2", end=True)
    there.pump()
    assert (there.contents[1], there.ended) == (b"12", [1])
    there.act(lambda h2: h2.end_stream(1))
    client.turn()
    assert client.answers[stream].ended
    assert reasons(wire) == [(200, "")]


def test_post_of_known_length(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    client.ask([*POST, (b"content-length", b"5")], b"12345")
    assert origin(wire).plain.endswith(b"\r\nContent-Length: 5\r\nVia: 2.0 proxy.test\r\n\r\n12345")


def test_post_of_unknown_length(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    client.ask(POST, b"12345")
    assert origin(wire).plain.endswith(
        b"\r\nTransfer-Encoding: chunked\r\nVia: 2.0 proxy.test\r\n\r\n5\r\n12345\r\n0\r\n\r\n"
    )


def test_request_trailers(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    stream = client.ask(POST, b"12345", end=False)
    client.h2.send_headers(stream, [(b"x-sum", b"9"), (b"host", b"evil.test")], end_stream=True)
    client.turn()
    assert origin(wire).plain.endswith(b"\r\n5\r\n12345\r\n0\r\nx-sum: 9\r\n\r\n")


@pytest.mark.parametrize(
    ("method", "said", "status"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nDate: x\r\n\r\n", 200),
        (b"GET", b"HTTP/1.1 204 No Content\r\nDate: x\r\n\r\n", 204),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nDate: x\r\n\r\n", 304),
        (b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDate: x\r\n\r\n", 200),
    ],
)
def test_no_content(wire: Wire, client: HTTP2Client, origin: Find, method: bytes, said: bytes, status: int) -> None:
    stream = client.ask(replaced(b":method", method))
    origin(wire).say(said)
    client.turn()
    answer = client.answers[stream]
    assert (answer.status, answer.content, answer.ended) == (status, b"", True)
    length = {b"HEAD": b"5", b"GET": {204: None, 304: b"5", 200: b"0"}[status]}[method]
    assert answer.head.get(b"content-length") == length
    assert reasons(wire) == [(status, "")]


def test_chunked_answer(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    stream = client.ask()
    origin(wire).say(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: x\r\n\r\n"
        b"3\r\nabc\r\n3\r\ndef\r\n0\r\nX-Sum: 1\r\n\r\n"
    )
    client.turn()
    answer = client.answers[stream]
    assert (answer.content, answer.trailers, answer.ended) == (b"abcdef", {b"x-sum": b"1"}, True)
    assert answer.head == {b":status": b"200", b"date": DATE, b"via": b"1.1 proxy.test"}


def test_cookies_are_joined(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    """RFC 9113 section 8.2.3."""
    client.ask([*GET, (b"cookie", b"a=b"), (b"x", b"y"), (b"cookie", b"c=d")])
    assert b"\r\ncookie: a=b; c=d\r\n" in origin(wire).plain


def test_credentials_for_the_proxy(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    client.ask([*GET, (b"proxy-authorization", b"Basic c2VjcmV0"), (b"authorization", b"Basic bWluZQ==")])
    said = origin(wire).plain
    assert b"c2VjcmV0" not in said
    assert b"\r\nauthorization: Basic bWluZQ==\r\n" in said


def test_continue(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    stream = client.ask([*POST, (b"expect", b"100-continue"), (b"content-length", b"2")], end=False)
    there = origin(wire)
    assert b"\r\nExpect: 100-continue\r\n" in there.plain
    there.say(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
    client.turn()
    interim = client.answers[stream].interim
    assert [one[b":status"] for one in interim] == [b"103", b"100"]
    assert interim[0][b"link"] == b"</a>"
    client.send(stream, b"hi", end=True)
    there.say(OK)
    client.turn()
    assert client.answers[stream].status == 200


# ---------------------------------------------------------------- answers that come early, and resets


def test_answer_before_the_end_of_the_question(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    """RFC 9113 section 8.1: the whole answer, then a reset that blames nobody."""
    stream = client.ask(POST, b"1", end=False)
    there = origin(wire)
    there.say(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\nDate: x\r\nConnection: close\r\n\r\nno")
    client.turn()
    answer = client.answers[stream]
    assert (answer.status, answer.content, answer.ended) == (413, b"no", True)
    assert answer.reset == ErrorCodes.NO_ERROR
    assert not client.goaways
    assert client.answers[client.ask()].reset is None


def test_client_resets(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    stream, other = client.ask(), client.ask()
    first, second = origin(wire), origin(wire, 1)
    client.h2.reset_stream(stream, ErrorCodes.CANCEL)
    client.turn()
    assert reasons(wire) == [(0, "client_left")]
    assert first.transport.closed == "aborted"
    second.say(OK)
    client.turn()
    assert client.answers[other].content == b"hi"


def test_client_resets_while_its_origin_is_dialed(wire: Wire, client: HTTP2Client) -> None:
    wire.dialer.open = False
    stream = client.ask()
    client.h2.reset_stream(stream, ErrorCodes.CANCEL)
    client.turn()
    assert wire.dialer.dials[0].cancelled
    assert reasons(wire) == [(0, "client_left")]


def test_origin_breaks_off(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    """It must not look complete."""
    stream, other = client.ask(), client.ask()
    first, second = origin(wire), origin(wire, 1)
    first.say(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi")
    first.transport.peer_resets()
    client.turn()
    answer = client.answers[stream]
    assert (answer.status, answer.content, answer.ended) == (200, b"hi", False)
    assert answer.reset == ErrorCodes.INTERNAL_ERROR
    second.say(OK)
    client.turn()
    assert client.answers[other].ended
    assert reasons(wire) == [(200, "response_cut"), (200, "")]


def test_answer_is_taken_back(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    """What goes wrong in the turn in which the answer began can still be told."""
    stream = client.ask()
    origin(wire).say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\nnonsense\r\n")
    client.turn()
    answer = client.answers[stream]
    assert (answer.status, answer.ended, answer.reset) == (502, True, None)
    assert b"hi" not in answer.head.values()
    assert reasons(wire) == [(502, "malformed_response")]


def test_origin_cannot_be_had(wire: Wire, client: HTTP2Client) -> None:
    wire.dialer.open = False
    streams = [client.ask(), client.ask([*replaced(b":method", b"HEAD"), (b"accept", b"text/html")])]
    for dial in wire.dialer.dials:
        dial.fail(ConnectTimeout("x"))
    client.turn()
    for stream in streams:
        answer = client.answers[stream]
        assert (answer.status, answer.ended, answer.reset) == (504, True, None)
        assert answer.head[b"proxy-status"] == b"proxy.test; error=connection_timeout"
        assert answer.head[b"date"] == DATE
    plain, head = (client.answers[stream] for stream in streams)
    assert b"Its log has the reason connect_timeout." in plain.content
    assert int(plain.head[b"content-length"]) == len(plain.content)
    assert (head.content, head.head[b"content-type"]) == (b"", b"text/html; charset=utf-8")


# ---------------------------------------------------------------- requests that are not valid (RFC 9113 section 8)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([*GET, (b"X-Upper", b"a")], "malformed_request"),
        ([*GET, (b"x y", b"a")], "malformed_request"),
        ([*GET, (b"", b"a")], "malformed_request"),
        ([*GET, (b"x", b"a\r\nb: c")], "malformed_request"),
        ([*GET, (b"x", b"a\x00")], "malformed_request"),
        ([*GET, (b"x", b" a")], "malformed_request"),
        ([*GET, (b"connection", b"close")], "malformed_request"),
        ([*GET, (b"transfer-encoding", b"chunked")], "malformed_request"),
        ([*GET, (b"upgrade", b"websocket")], "malformed_request"),
        ([*GET, (b"proxy-connection", b"x")], "malformed_request"),
        ([*GET, (b"te", b"gzip")], "malformed_request"),
        ([*GET, (b":path", b"/")], "malformed_request"),
        ([*GET, (b"a", b"b"), (b":late", b"/")], "malformed_request"),
        ([*GET, (b":unknown", b"/")], "malformed_request"),
        (replaced(b":method", b"G T"), "malformed_request"),
        (replaced(b":method"), "malformed_request"),
        (replaced(b":path"), "invalid_target"),
        (replaced(b":path", b""), "invalid_target"),
        (replaced(b":path", b"a"), "invalid_target"),
        (replaced(b":path", b"/a b"), "invalid_target"),
        (replaced(b":path", b"/a#b"), "invalid_target"),
        (replaced(b":scheme"), "invalid_target"),
        (replaced(b":authority"), "invalid_host"),
        (replaced(b":authority", b"user@origin.test"), "invalid_host"),
        ([*GET, (b"host", b"other.test")], "invalid_host"),
        ([*GET, (b"content-length", b"2")], "malformed_framing"),
        ([*GET, (b"content-length", b"x")], "malformed_framing"),
        (CONNECT, "invalid_target"),
        ([*replaced(b":method", b"CONNECT")], "invalid_target"),
        ([*GET, (b":protocol", b"websocket")], "malformed_request"),
    ],
)
def test_malformed(wire: Wire, client: HTTP2Client, lines: Lines, reason: str) -> None:
    """Each has its answer, and its stream is reset as one that is not valid; the connection goes on."""
    stream = client.ask(lines)
    answer = client.answers[stream]
    assert (answer.status, answer.head.get(b"proxy-status")) == (400, b"proxy.test; error=http_request_error")
    assert reasons(wire) == [(400, reason)]
    assert wire.dialer.dials == []
    # A CONNECT is one that follows the rules of HTTP/2, and leads nowhere.
    assert answer.reset == (None if lines == CONNECT else ErrorCodes.PROTOCOL_ERROR)
    client.ask()
    assert len(wire.dialer.dials) == 1
    assert not client.goaways


@pytest.mark.parametrize(
    ("lines", "status", "reason"),
    [
        ([*GET, *((b"x-%d" % number, b"") for number in range(129))], 431, "head_too_large"),
        ([*GET, (b"x", b"a" * 66_000)], 431, "head_too_large"),
        (replaced(b":path", b"/" + b"a" * 16_384), 414, "target_too_long"),
        (replaced(b":method", b"A" * 100), 501, "method_not_implemented"),
        ([*GET, (b"expect", b"200-ok")], 417, "expectation_failed"),
        ([*replaced(b":method", b"CONNECT"), (b":protocol", b"connect-udp")][::-1], 501, "method_not_implemented"),
        (replaced(b":authority", b"other.test"), 421, "misdirected_request"),
        (replaced(b":authority", b"origin.test:444"), 421, "misdirected_request"),
        (replaced(b":scheme", b"http"), 421, "misdirected_request"),
        ([*GET, (b"via", b"1.1 proxy.test")], 502, "loop_detected"),
    ],
)
def test_refused(wire: Wire, client: HTTP2Client, lines: Lines, status: int, reason: str) -> None:
    """They follow the rules, and get an answer like any other."""
    stream = client.ask(lines)
    answer = client.answers[stream]
    assert (answer.status, answer.ended, answer.reset) == (status, True, None)
    assert reasons(wire) == [(status, reason)]
    assert wire.dialer.dials == []


def test_content_of_another_length(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    """RFC 9113 section 8.1.1; the origin must not see a request that is shorter or longer than it says."""
    for content, end in ((b"123", True), (b"123456", False)):
        stream = client.ask([*POST, (b"content-length", b"5")], content, end=end)
        answer = client.answers[stream]
        assert (answer.status, answer.reset) == (400, ErrorCodes.PROTOCOL_ERROR)
    assert reasons(wire) == [(400, "malformed_framing")] * 2


def test_trailers_that_are_not_valid(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    stream = client.ask(POST, b"12345", end=False)
    there = origin(wire)
    client.h2.send_headers(stream, [(b"X", b"9")], end_stream=True)
    client.turn()
    assert client.answers[stream].status == 400
    assert client.answers[stream].reset == ErrorCodes.PROTOCOL_ERROR
    assert there.transport.closed == "aborted"


# ---------------------------------------------------------------- who may wait for whom


def test_streams_take_turns(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    """Answers in any order, each on its stream."""
    streams = [client.ask(replaced(b":path", b"/%d" % number)) for number in range(5)]
    there = [origin(wire, number) for number in range(5)]
    for number in (3, 0, 4, 1, 2):
        assert there[number].plain.startswith(b"GET /%d " % number)
        there[number].say(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)
    client.turn()
    assert [client.answers[stream].content for stream in streams] == [b"0", b"1", b"2", b"3", b"4"]


def test_stalled_stream(wire: Wire, origin: Find) -> None:
    """Its origin rests after what there was, its sibling goes on, and after write_timeout it alone is reset."""
    client = HTTP2Client(wire, reads=False)
    stream, other = client.ask(), client.ask()
    there, beside = origin(wire), origin(wire, 1)
    there.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"a" * 100_000)
    client.h2.increment_flow_control_window(1_000_000)
    client.turn()
    assert len(client.answers[stream].content) == WINDOW
    assert there.transport.paused
    beside.say(OK)
    client.turn()
    assert client.answers[other].ended
    assert not beside.transport.paused
    wire.pass_time(61)
    client.turn()
    assert client.answers[stream].reset == ErrorCodes.CANCEL
    assert there.transport.closed == "aborted"
    assert reasons(wire) == [(200, ""), (200, "client_stalled")]
    assert not client.goaways
    client.ask()
    assert len(wire.dialer.dials) == 3


def test_slow_client(wire: Wire, origin: Find) -> None:
    """Whoever takes something in is not given up."""
    client = HTTP2Client(wire, reads=False)
    stream = client.ask()
    there = origin(wire)
    there.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"a" * 100_000)
    client.h2.increment_flow_control_window(100_000)
    for _ in range(4):
        client.h2.increment_flow_control_window(8_000, stream)
        client.turn()
        wire.pass_time(50)
    client.h2.increment_flow_control_window(8_000, stream)
    client.turn()
    answer = client.answers[stream]
    assert (len(answer.content), answer.ended) == (100_000, True)
    assert reasons(wire) == [(200, "")]


def test_answer_waits_after_its_exchange(wire: Wire, origin: Find) -> None:
    """What the origin has said is said, and counted; the stream ends when the client takes it, or never does."""
    for takes in (True, False):
        client = HTTP2Client(wire, reads=False)
        stream = client.ask()
        there = origin(wire, len(wire.origins) - 1)
        there.say(b"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\nConnection: close\r\n\r\n" + b"a" * 70_000)
        client.h2.increment_flow_control_window(70_000)
        client.turn()
        assert not client.answers[stream].ended
        assert reasons(wire)[-1] == (200, "")
        assert wire.records.all[-1].bytes_to_client > 70_000
        if takes:
            client.h2.increment_flow_control_window(70_000, stream)
            client.turn()
            assert (len(client.answers[stream].content), client.answers[stream].ended) == (70_000, True)
        else:
            wire.pass_time(61)
            client.turn()
            assert client.answers[stream].reset == ErrorCodes.CANCEL
    assert len(reasons(wire)) == 2


def test_upload_waits_for_its_origin(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    """A client may send one window to an origin that does not read; a sibling's upload goes on."""
    stream, other = client.ask(POST, b"", end=False), client.ask(POST, b"", end=False)
    window = client.settings[SettingCodes.INITIAL_WINDOW_SIZE]
    assert window == 256 * 1024
    there, beside = origin(wire), origin(wire, 1)
    there.transport.fill()
    sent = 0
    while (room := client.h2.local_flow_control_window(stream)) > 0:
        client.send(stream, b"a" * min(room, 16384))
        sent += min(room, 16384)
    assert sent <= window + 16384
    for _ in range(40):
        client.send(other, b"b" * 16384)
        beside.pump()
    assert beside.plain.partition(b"\r\n\r\n")[2].count(b"b") == 40 * 16384
    there.transport.drain()
    there.pump()
    client.turn()
    assert client.h2.local_flow_control_window(stream) >= window // 2
    client.send(stream, b"", end=True)
    there.pump()
    assert there.plain.count(b"a") >= sent


def test_upload_while_its_origin_is_dialed(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    wire.dialer.open = False
    stream = client.ask(POST, b"a", end=False)
    while (room := client.h2.local_flow_control_window(stream)) > 0:
        client.send(stream, b"a" * min(room, 16384))
    wire.dialer.dials[0].succeed()
    there = origin(wire)
    client.turn()
    assert client.h2.local_flow_control_window(stream) > 0
    client.send(stream, b"", end=True)
    there.pump()
    assert there.plain.endswith(b"\r\n0\r\n\r\n")


def test_content_that_does_not_come(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    """downstream.body_timeout, for this stream."""
    stream, other = client.ask(POST, b"a", end=False), client.ask()
    there, beside = origin(wire), origin(wire, 1)
    wire.pass_time(50)
    client.send(stream, b"b")
    wire.pass_time(50)
    assert not client.answers[stream].status
    wire.pass_time(11)
    client.turn()
    answer = client.answers[stream]
    assert (answer.status, answer.ended, answer.reset) == (408, True, ErrorCodes.NO_ERROR)
    assert there.transport.closed == "aborted"
    assert reasons(wire) == [(408, "request_timeout")]
    beside.say(OK)
    client.turn()
    assert client.answers[other].ended


def test_large_frame_that_comes_slowly(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    stream = client.ask(POST, b"a", end=False)
    there = origin(wire)
    client.h2.max_outbound_frame_size = 60_000
    client.h2.send_data(stream, b"b" * 50_000, end_stream=True)
    frame = client.h2.data_to_send()
    for start in range(0, len(frame), 10_000):
        client.say(frame[start : start + 10_000])
        wire.pass_time(30)
    there.pump()
    assert there.plain.count(b"b") == 50_000 + there.plain.split(b"\r\n\r\n")[0].count(b"b")
    assert reasons(wire) == []


def test_fault_of_our_own(wire: Wire, client: HTTP2Client, monkeypatch: pytest.MonkeyPatch, logged_errors: Any) -> None:
    monkeypatch.setattr(wire.pool, "take_idle", lambda *_: 1 / 0)
    stream, other = client.ask(), client.ask()
    assert client.answers[stream].status == client.answers[other].status == 500
    assert len(logged_errors.flush(ZeroDivisionError)) == 2
    assert not client.goaways


def test_an_end_that_comes_by_itself_is_sent_at_once(wire: Wire, origin: Find) -> None:
    client = HTTP2Client(wire)
    stream = client.ask()
    there = origin(wire, protocol=b"h2")
    there.act(lambda h2: h2.send_headers(1, [(b":status", b"200")]))
    there.act(lambda h2: h2.send_data(1, b"hi"))
    client.turn()
    answer = client.answers[stream]
    assert (answer.content, answer.ended) == (b"hi", False)
    there.act(lambda h2: h2.end_stream(1))
    client.turn()
    assert (answer.ended, answer.reset) == (True, None)


@pytest.mark.parametrize(("content", "reason"), [(b"hi", ""), (b"h", "client_left")])
@pytest.mark.parametrize("leaves", [True, False])
def test_a_client_that_has_all_of_it_may_leave_before_its_end(
    wire: Wire, origin: Find, content: bytes, reason: str, leaves: bool
) -> None:
    """By a reset of the stream, or altogether."""
    client = HTTP2Client(wire)
    stream = client.ask()
    there = origin(wire, protocol=b"h2")
    there.act(lambda h2: h2.send_headers(1, [(b":status", b"200"), (b"content-length", b"2")]))
    there.act(lambda h2: h2.send_data(1, content))
    client.turn()
    assert client.answers[stream].content == content
    if leaves:
        client.transport.peer_resets()
    else:
        client.h2.reset_stream(stream, ErrorCodes.CANCEL)
        client.turn()
    wire.turn()
    assert wire.records.reasons[-1] == reason


def test_a_client_that_leaves_with_content_on_its_way_has_not_all_of_it(wire: Wire, origin: Find) -> None:
    """What waits for its windows it does not have."""
    client = HTTP2Client(wire, reads=False, window=1)
    stream = client.ask()
    there = origin(wire, protocol=b"h2")
    there.act(lambda h2: h2.send_headers(1, [(b":status", b"200"), (b"content-length", b"2")]))
    there.act(lambda h2: h2.send_data(1, b"hi"))
    client.turn()
    assert client.answers[stream].content == b"h"
    client.h2.reset_stream(stream, ErrorCodes.CANCEL)
    client.turn()
    assert wire.records.reasons[-1] == "client_left"

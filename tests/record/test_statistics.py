"""What a worker counts: outcomes, bytes and durations, read off, sent and added up."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.record.finished import NOT_APPLICABLE, FinishedExchange
from twistedproxy.record.statistics import (
    BOUNDS,
    DIRECTIONS,
    PHASES,
    Histogram,
    LookupTally,
    Requests,
    Statistics,
    Tally,
    added_up,
    grown,
)

Make = Callable[..., FinishedExchange]


def read(tally: Tally) -> Statistics:
    statistics = Statistics()
    tally.read_into(statistics)
    return statistics


def filled(histogram: Histogram) -> dict[int, int]:
    """The buckets that are not empty."""
    return {bucket: count for bucket, count in enumerate(histogram.counts) if count}


def test_nothing_yet() -> None:
    statistics = read(Tally())
    assert statistics.requests == []
    assert statistics.bytes == dict.fromkeys(DIRECTIONS, 0)
    assert statistics.phases == {phase: Histogram() for phase in PHASES}
    assert len(Histogram().counts) == len(BOUNDS) + 1


def test_a_request(finished: Make) -> None:
    tally = Tally()
    tally.finished(finished())
    assert repr(tally) == "<Tally exchanges=1>"
    statistics = read(tally)
    assert statistics.requests == [Requests("forward", "2xx", "", 1)]
    assert statistics.bytes == {"from_client": 101, "to_client": 1270, "to_upstream": 133, "from_upstream": 1180}
    phases = statistics.phases
    assert filled(phases["connect"]) == {3: 1}  # 10 ms, which the bucket up to 10 ms holds
    assert filled(phases["first_byte"]) == {5: 1}
    assert filled(phases["request"]) == {5: 1}
    assert filled(phases["tunnel"]) == {}
    totals = [phases[phase].total for phase in PHASES]
    assert totals == pytest.approx([0.01, 0.0305, 0.042, 0.0])


def test_a_tunnel_has_its_own_histogram(finished: Make) -> None:
    tally = Tally()
    tally.finished(finished(kind="tunnel", started_at=1000.0, finished_at=9000.0))
    phases = read(tally).phases
    assert filled(phases["tunnel"]) == {len(BOUNDS): 1}
    assert phases["tunnel"].total == 8000.0
    assert filled(phases["request"]) == {}


def test_phases_that_it_did_not_pass_through(finished: Make) -> None:
    tally = Tally()
    tally.finished(finished(connect_seconds=NOT_APPLICABLE, first_byte_seconds=NOT_APPLICABLE))
    phases = read(tally).phases
    assert (phases["connect"], phases["first_byte"]) == (Histogram(), Histogram())
    tally.finished(finished(connect_seconds=0.0, first_byte_seconds=0.0))
    phases = read(tally).phases
    assert (filled(phases["connect"]), filled(phases["first_byte"])) == ({0: 1}, {0: 1})


@pytest.mark.parametrize(
    ("status", "code"),
    [(0, "none"), (101, "1xx"), (200, "2xx"), (304, "3xx"), (499, "4xx"), (503, "5xx"), (999, "none")],
)
def test_class_of_a_status(finished: Make, status: int, code: str) -> None:
    tally = Tally()
    tally.finished(finished(status=status))
    assert read(tally).requests == [Requests("forward", code, "", 1)]


def test_outcomes(finished: Make) -> None:
    """Statuses of one class are one outcome; kinds and reasons are apart."""
    tally = Tally()
    for status in (200, 204, 206, 200):
        tally.finished(finished(status=status))
    tally.finished(finished(status=502, reason="dns_error"))
    tally.finished(finished(kind="answer", status=403, reason="port_denied"))
    assert read(tally).requests == [
        Requests("forward", "2xx", "", 4),
        Requests("forward", "5xx", "dns_error", 1),
        Requests("answer", "4xx", "port_denied", 1),
    ]


def test_what_was_read_does_not_grow(finished: Make) -> None:
    tally = Tally()
    before = read(tally)
    tally.finished(finished())
    assert before == read(Tally())


@given(st.lists(st.floats(0, 10000), max_size=50))
def test_buckets(durations: list[float]) -> None:
    """A bucket holds what is at most its bound and more than the one before, as Prometheus's ``le`` has it."""
    tally = Tally()
    for seconds in durations:
        tally.finished(Ended(seconds))
    histogram = read(tally).phases["request"]
    for bucket, count in enumerate(histogram.counts):
        low = BOUNDS[bucket - 1] if bucket else -1.0
        high = BOUNDS[bucket] if bucket < len(BOUNDS) else float("inf")
        assert count == sum(low < seconds <= high for seconds in durations)
    assert histogram.total == pytest.approx(sum(durations))
    assert sum(histogram.counts) == len(durations)


class Ended:
    """An exchange that took ``seconds``, and of which nothing else is known."""

    kind = "forward"
    status = 200
    reason = ""
    bytes_from_client = bytes_to_client = bytes_to_upstream = bytes_from_upstream = 0
    connect_seconds = first_byte_seconds = NOT_APPLICABLE
    started_at = 0.0

    def __init__(self, seconds: float) -> None:
        self.finished_at = seconds


def test_it_can_be_sent(finished: Make) -> None:
    tally = Tally()
    tally.finished(finished())
    statistics = read(tally)
    statistics.lag = 0.25
    assert msgspec.json.decode(msgspec.json.encode(statistics), type=Statistics) == statistics
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(statistics), type=Statistics) == statistics


def test_of_no_workers() -> None:
    assert added_up([]) == read(Tally())


def test_added_up(finished: Make) -> None:
    parts = []
    for number, lag in enumerate((0.5, 2.0, 1.0), 1):
        tally = Tally()
        for _ in range(number):
            tally.finished(finished())
        tally.finished(finished(kind="answer", status=403, reason="port_denied"))
        part = read(tally)
        for name in ADDED:
            setattr(part, name, number)
        part.lag = lag
        parts.append(part)
    whole = added_up(parts)
    assert whole.requests == [Requests("answer", "4xx", "port_denied", 3), Requests("forward", "2xx", "", 6)]
    assert whole.bytes["to_client"] == 9 * 1270
    assert filled(whole.phases["request"]) == {bisect_left(BOUNDS, 0.042): 9}
    assert whole.phases["request"].total == pytest.approx(9 * 0.042)
    assert {name: getattr(whole, name) for name in ADDED} == dict.fromkeys(ADDED, 6)
    assert whole.lag == 2.0
    assert parts[0].requests[0].count == 1


ADDED = (
    "connections_accepted",
    "connections_refused",
    "log_lines_lost",
    "cpu_seconds",
    "connections",
    "tunnels",
    "upstream_open",
    "upstream_idle",
    "upstream_waiting",
    "lookups_made",
    "lookups",
    "names_kept",
    "resident",
    "descriptors",
    "descriptor_limit",
)


def test_look_ups() -> None:
    tally = LookupTally()
    tally.made = 3
    for reason in ("dns_error", "dns_timeout", "dns_error"):
        tally.failed(reason)
    statistics = Statistics()
    tally.read_into(statistics)
    tally.failed("dns_error")
    assert (statistics.lookups_made, statistics.lookups_failed) == (3, {"dns_error": 2, "dns_timeout": 1})
    assert repr(tally) == "<LookupTally made=3 failures={'dns_error': 3, 'dns_timeout': 1}>"
    whole = added_up([statistics, statistics, Statistics(lookups_failed={"dns_failed": 1})])
    assert (whole.lookups_made, whole.lookups_failed) == (6, {"dns_error": 4, "dns_timeout": 2, "dns_failed": 1})
    assert grown(whole).lookups_failed == whole.lookups_failed


def test_every_number_is_added_or_named() -> None:
    by_name = {"listed", "limit_refusals", "limit_slowings", "lookups_failed", "parent_failures", "parents_failing"}
    assert set(ADDED) | by_name | {"requests", "bytes", "phases", "lag"} == set(Statistics.__struct_fields__)


@pytest.mark.parametrize("name", ["listed", "limit_refusals", "limit_slowings", "lookups_failed", "parent_failures"])
def test_counts_by_name_are_added(name: str) -> None:
    parts = [Statistics(**{name: {"a": 1, "b": 2}}), Statistics(**{name: {"b": 5}})]
    assert getattr(added_up(parts), name) == {"a": 1, "b": 7}
    assert getattr(grown(parts[0]), name) == {"a": 1, "b": 2}


def test_who_fails_is_counted_by_worker_while_it_does() -> None:
    parts = [Statistics(parents_failing={"office http://a:1": 1}), Statistics(parents_failing={"office http://a:1": 1})]
    assert added_up(parts).parents_failing == {"office http://a:1": 2}
    assert grown(parts[0]).parents_failing == {}


def test_a_worker_that_has_said_nothing_yet(finished: Make) -> None:
    tally = Tally()
    tally.finished(finished())
    one = read(tally)
    assert added_up([Statistics(), one]) == added_up([one])

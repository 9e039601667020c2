"""The numbers in Prometheus's formats: parsed back to exactly what they were made from."""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families

from twistedproxy.control.metrics import OPENMETRICS, TEXT, Numbers, exposition_of, wants_openmetrics
from twistedproxy.control.types import Status, Worker
from twistedproxy.record.statistics import BOUNDS, PHASES, Statistics

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]

PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


def samples(families: Any) -> Samples:
    found: Samples = {}
    for family in families:
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def expected(prefix: str, whose: dict[str, str], statistics: Statistics) -> Samples:
    """The samples of one worker or of all together, written down here a second time."""
    wanted: Samples = {}

    def put(name: str, value: float, **labels: str) -> None:
        wanted[f"{prefix}_{name}", frozenset({**whose, **labels}.items())] = value

    for one in statistics.requests:
        put("requests_total", one.count, kind=one.kind, code=one.code, reason=one.reason)
    for direction, moved in statistics.bytes.items():
        put("bytes_total", moved, direction=direction)
    for name, count in statistics.listed.items():
        put("listed_requests_total", count, list=name)
    for reason, count in statistics.lookups_failed.items():
        put("lookups_failed_total", count, reason=reason)
    for name, count in statistics.limit_refusals.items():
        put("limit_refusals_total", count, limit=name)
    for name, count in statistics.limit_slowings.items():
        put("limit_slowings_total", count, limit=name)
    for whole, count in statistics.parent_failures.items():
        route, parent = whole.split()
        put("parent_failures_total", count, route=route, parent=parent)
    for whole, count in statistics.parents_failing.items():
        route, parent = whole.split()
        put("parent_failing", count, route=route, parent=parent)
    for phase in PHASES:
        histogram = statistics.phases[phase]
        for bound, upto in zip([*map(str, BOUNDS), "+Inf"], accumulate(histogram.counts), strict=True):
            put("phase_seconds_bucket", upto, phase=phase, le=bound)
        put("phase_seconds_count", sum(histogram.counts), phase=phase)
        put("phase_seconds_sum", histogram.total, phase=phase)
    put("upstream_connections", statistics.upstream_open - statistics.upstream_idle, state="in_use")
    put("upstream_connections", statistics.upstream_idle, state="idle")
    put("upstream_waiting_requests", statistics.upstream_waiting)
    put("connections_accepted_total", statistics.connections_accepted)
    put("connections_refused_total", statistics.connections_refused)
    put("lookups_made_total", statistics.lookups_made)
    put("log_lines_lost_total", statistics.log_lines_lost)
    put("cpu_seconds_total", statistics.cpu_seconds)
    put("connections", statistics.connections)
    put("tunnels", statistics.tunnels)
    put("lookups", statistics.lookups)
    put("cached_names", statistics.names_kept)
    put("reactor_lag_seconds", statistics.lag)
    put("resident_memory_bytes", statistics.resident)
    put("open_descriptors", statistics.descriptors)
    put("descriptor_limit", statistics.descriptor_limit)
    return wanted


def all_expected(status: Status) -> Samples:
    def labelled(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
        return name, frozenset(labels.items())

    wanted = {
        labelled("pyproxy_info", version="1.2.3"): 1.0,
        labelled("pyproxy_start_time_seconds"): 1795421523.5,
        labelled("pyproxy_ready"): 1.0,
        labelled("pyproxy_settings_generation"): 4.0,
        labelled("pyproxy_reloads_total", result="ok"): 3.0,
        labelled("pyproxy_reloads_total", result="failed"): 1.0,
        labelled("pyproxy_workers", state="starting"): 0.0,
        labelled("pyproxy_workers", state="ready"): 1.0,
        labelled("pyproxy_workers", state="draining"): 0.0,
        labelled("pyproxy_workers", state="waiting"): 1.0,
        labelled("pyproxy_worker_restarts_total", worker="0"): 0.0,
        labelled("pyproxy_worker_restarts_total", worker="1"): 3.0,
    }
    wanted |= expected("pyproxy", {}, status.statistics)
    for worker in status.workers:
        wanted |= expected("pyproxy_worker", {"worker": str(worker.number)}, worker.statistics)
    return wanted


@pytest.mark.parametrize(
    ("accept", "media_type", "parse"), [("", TEXT, text_families), (PROMETHEUS_3, OPENMETRICS, openmetrics_families)]
)
def test_parsed_back(steered: Any, accept: str, media_type: str, parse: Any) -> None:
    said, content = exposition_of(steered.now, accept)
    assert said == media_type
    assert samples(parse(content.decode("utf-8"))) == all_expected(steered.now)


def test_a_sum_over_a_family_counts_nothing_twice(steered: Any) -> None:
    found = samples(text_families(exposition_of(steered.now, "")[1].decode()))
    for name in ("requests_total", "bytes_total", "connections", "cpu_seconds_total", "phase_seconds_count"):
        together = sum(value for (one, _), value in found.items() if one == f"pyproxy_{name}")
        of_each = sum(value for (one, _), value in found.items() if one == f"pyproxy_worker_{name}")
        assert together == of_each > 0


def test_as_text(steered: Any) -> None:
    lines = exposition_of(steered.now, "")[1].decode().splitlines()
    assert lines[:3] == [
        "# HELP pyproxy_info The version that runs.",
        "# TYPE pyproxy_info gauge",
        'pyproxy_info{version="1.2.3"} 1.0',
    ]
    assert 'pyproxy_requests_total{code="5xx",kind="forward",reason="dns_error"} 6.0' in lines
    assert 'pyproxy_worker_requests_total{code="5xx",kind="forward",reason="dns_error",worker="1"} 4.0' in lines


def test_names_and_units(steered: Any) -> None:
    """What ``promtool check metrics`` looks for."""
    families = list(Numbers(steered.now).collect())
    names = [family.name for family in families]
    assert len(set(names)) == len(names)
    for family in families:
        assert re.fullmatch(r"pyproxy(_[a-z]+)*", family.name)
        assert re.match(r"[A-Z0-9].*\.$", family.documentation)
        assert not re.search(
            r"_(total|count|sum|bucket|info|milliseconds|minutes|kilobytes|gauge|counter)\b", family.name
        )
        assert not re.search(r"(gauge|counter|histogram|summary)", family.name)
        # A label never repeats what the family's name says.
        assert not {name for sample in family.samples for name in sample.labels} & {
            family.name,
            "type",
            "job",
            "instance",
        }
    exposed = exposition_of(steered.now, "")[1].decode()
    for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", exposed, re.MULTILINE):
        assert name.endswith("_total") == (kind == "counter")


@pytest.mark.parametrize(("state", "ready"), [("ready", 1), ("reloading", 1), ("draining", 0), ("starting", 0)])
def test_ready(steered: Any, state: Any, ready: int) -> None:
    steered.now.state = state
    assert f"\npyproxy_ready {ready}.0\n" in exposition_of(steered.now, "")[1].decode()


def test_a_worker_that_has_said_nothing_yet(steered: Any) -> None:
    steered.now.workers = [Worker(0, 101, "starting", 0.0, 0, "", 0.0, Statistics())]
    steered.now.statistics = Statistics()
    text = exposition_of(steered.now, "")[1].decode()
    assert 'pyproxy_worker_connections{worker="0"} 0.0\n' in text
    assert "pyproxy_phase_seconds_bucket" not in text


def test_hostile_reason_is_escaped(steered: Any) -> None:
    steered.now.version = 'a"b\\c\nd'
    found = samples(text_families(exposition_of(steered.now, "")[1].decode()))
    assert ("pyproxy_info", frozenset({("version", 'a"b\\c\nd')})) in found


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        ("text/plain;version=0.0.4", False),
        ("application/openmetrics-text", True),
        ("Application/OpenMetrics-Text; version=1.0.0; charset=utf-8", True),
        ("text/plain, application/openmetrics-text;version=1.0.0;q=0.1", True),
        ("application/openmetrics-text;version=0.0.1", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=0.000", False),
        (PROMETHEUS_3, True),
        (";;;,=,q", False),
    ],
)
def test_what_is_asked_for(accept: str, wanted: bool) -> None:
    assert wants_openmetrics(accept) is wanted


def test_repr(steered: Any) -> None:
    assert repr(Numbers(steered.now)) == "<Numbers workers=2>"

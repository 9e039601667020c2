"""What a daemon might answer."""

from __future__ import annotations

from bisect import bisect_left

from twistedproxy.control.types import (
    CertificateAuthority,
    Connection,
    Connections,
    ExplainedRequest,
    Explanation,
    Setting,
    SettingsInForce,
    Status,
    Step,
    WhatWasLearned,
    Worker,
)
from twistedproxy.record.learned import Learned
from twistedproxy.record.statistics import BOUNDS, Histogram, Requests, Statistics


def histogram(*durations: float) -> Histogram:
    """What was counted of ``durations``."""
    counts = [0] * (len(BOUNDS) + 1)
    for seconds in durations:
        counts[bisect_left(BOUNDS, seconds)] += 1
    return Histogram(counts, sum(durations))


STATISTICS = Statistics(
    requests=[
        Requests("answer", "4xx", "port_denied", 7),
        Requests("forward", "2xx", "", 1200),
        Requests("tunnel", "2xx", "", 30),
    ],
    bytes={"from_client": 1000, "to_client": 5 * 2**20, "to_upstream": 900, "from_upstream": 5 * 2**20},
    phases={"connect": histogram(0.02, 0.02, 0.02, 0.04), "first_byte": Histogram()},
    connections_accepted=90,
    connections_refused=2,
    cpu_seconds=12.34,
    connections=5,
    tunnels=2,
    upstream_open=3,
    upstream_idle=4,
    lag=0.0021,
    resident=50 * 2**20,
    descriptors=40,
    descriptor_limit=65536,
)

WORKERS = [
    Worker(0, 4712, "ready", 90061.0, 0, "", 0.01, STATISTICS),
    Worker(1, 0, "waiting", 0.0, 3, "killed by signal 9", 12.0, Statistics()),
]

STATUS = Status(
    version="0.1.0",
    pid=4711,
    state="ready",
    started=1795421523.0,
    uptime=90061.0,
    generation=3,
    settings_file="/etc/twistedproxy/pyproxy.toml",
    log_level="info",
    listeners=["127.0.0.1:8080", "[::1]:8080"],
    reloads=2,
    reloads_failed=1,
    workers=WORKERS,
    statistics=STATISTICS,
)

CONNECTIONS = Connections(
    3,
    [
        Connection("0-17", "192.0.2.7:50000", "tunnel", 75.0, 1, "CONNECT", "a.test:443", "192.0.2.9:443", 2048, 4096),
        Connection("1-2", "192.0.2.8:50001", "idle", 3.0, 4, "", "", "", 100, 1536),
    ],
)

LEARNED = WhatWasLearned(
    [
        Learned(0, "192.0.2.7", "a.test", 2, True, 75.0),
        Learned(1, "2001:db8:1:2::/64", "b.test", 1, False, 3.0),
    ]
)

EXPLANATION = Explanation(
    False,
    [
        ExplainedRequest(
            "CONNECT",
            "a.test:443",
            True,
            200,
            "",
            "access.default",
            [
                Step("client", "allowed", "access.clients", "access.clients", "default", "127.0.0.1 is in loopback"),
                Step("rule", "open", "access.rules[0]", "access.rules[0]", "a.toml:3", "it depends on the address"),
                Step("destination", "allowed", "192.0.2.1"),
            ],
        ),
        ExplainedRequest(
            "GET",
            "https://a.test/x",
            False,
            451,
            "denied_by_rule",
            "games",
            [Step("rule", "denied", "games", "access.rules[1]", "a.toml:7")],
        ),
    ],
)

SETTINGS = SettingsInForce(
    3,
    "/etc/twistedproxy/pyproxy.toml",
    [
        Setting("log.level", "info", "default"),
        Setting("log.format", "json", "/etc/twistedproxy/pyproxy.toml:9"),
        Setting("access.connect_ports", [443, "8000-8999"], "--set"),
        Setting("upstream.pool", True, "default"),
    ],
)

AUTHORITY = CertificateAuthority(
    origin="own",
    subject="CN=twistedproxy CA 12ab34cd",
    fingerprint="AB:CD:EF",
    not_before=1795421523.0,
    not_after=2110954323.0,
    days_left=3652,
    files=["/var/lib/twistedproxy/ca/twistedproxy-ca.pem", "/var/lib/twistedproxy/ca/twistedproxy-ca-cert.pem"],
)

"""What the tests of the control plane share: a daemon that only says what it was told to say."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed

from twistedproxy.access.blocklists.report import Fault
from twistedproxy.blocklists.state import ListState
from twistedproxy.control.steering import CannotBeDone
from twistedproxy.control.types import (
    Candidate,
    CertificateAuthority,
    CertificateFormat,
    Change,
    Connection,
    Connections,
    ExplainedRequest,
    Explanation,
    Finding,
    Inquiry,
    Level,
    LimitInForce,
    Setting,
    SettingsInForce,
    State,
    Status,
    Step,
    Verdict,
    WhatIsBlocked,
    WhatIsLimited,
    WhatWasLearned,
    Worker,
)
from twistedproxy.limits.state import ShareState
from twistedproxy.record.learned import Learned
from twistedproxy.record.statistics import BOUNDS, PHASES, Histogram, Requests, Statistics, added_up


def statistics(factor: int) -> Statistics:
    """Numbers of which no two are the same, and all of which are multiples of ``factor``."""
    counts = [factor * (number % 3) for number in range(len(BOUNDS) + 1)]
    return Statistics(
        requests=[
            Requests("forward", "2xx", "", 10 * factor),
            Requests("forward", "5xx", "dns_error", 2 * factor),
            Requests("tunnel", "2xx", "tunnel_idle", 3 * factor),
        ],
        bytes={"from_client": 11 * factor, "to_client": 12 * factor, "to_upstream": 13 * factor, "from_upstream": 14},
        phases={phase: Histogram(list(counts), 0.5 * factor * number) for number, phase in enumerate(PHASES, 1)},
        listed={"ads": 9 * factor},
        lookups_made=24 * factor,
        lookups_failed={"dns_error": 25 * factor},
        limit_refusals={"guests": 41 * factor},
        limit_slowings={"guests": 42 * factor, "night": factor},
        parent_failures={"office http://a.test:3128": 43 * factor, "far socks5://b.test:1080": 44 * factor},
        parents_failing={"office http://a.test:3128": factor},
        connections_accepted=21 * factor,
        connections_refused=22 * factor,
        log_lines_lost=23 * factor,
        cpu_seconds=0.25 * factor,
        connections=31 * factor,
        tunnels=4 * factor,
        upstream_open=8 * factor,
        upstream_idle=5 * factor,
        upstream_waiting=6 * factor,
        lookups=7 * factor,
        names_kept=26 * factor,
        lag=0.125 * factor,
        resident=1024 * factor,
        descriptors=41 * factor,
        descriptor_limit=65536,
    )


LIST = ListState(
    name="ads",
    source="https://lists.test/ads",
    format="auto",
    category="advertising",
    action="block",
    allow=False,
    everybody=True,
    names=1000,
    rules=7,
    lines=1100,
    skipped=3,
    bad=1,
    faults=[Fault(12, "no list", "more than one word")],
    memory=20480,
    checked=1_800_000_000.0,
    changed=1_799_900_000.0,
    next=1_800_086_400.0,
    error="",
)


LIMITED = WhatIsLimited(
    [
        LimitInForce("guests", "client", True, "refuse", 20.0, 60.0, 30, 10, 2 << 20, 0, 5 << 30, 0, 7, 9),
        LimitInForce("night", "rule", False, "slow", 0.0, 0.0, 0, 0, 0, 1 << 19, 0, 9 << 40, 0, 0),
    ],
    [
        ShareState("guests", "192.0.2.7", 0.5, 1.25, 0.0, 12, 10, 3, 1 << 30, 0, 1.25),
        ShareState("night", "rule late", 0.0, 0.0, 0.25, 1, 0, 0, 0, 1 << 40, 0.25),
        ShareState("gone", "all"),
    ],
    1_800_057_600.0,
    1_801_440_000.0,
)


class FakeSteered:
    """Notes what is asked of it in ``asked``, and answers with its attributes.

    With ``against`` it cannot do what it is asked, with ``fault`` it breaks, and it answers when ``waiting`` does.
    """

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.state: State = "ready"
        self.log_level: Level = "info"
        self.against = ""
        self.fault: Exception | None = None
        self.waiting: Deferred[Any] | None = None
        self.verdict = Verdict(
            True, [], [Change("log.level", '"info"', '"warn"', "pyproxy.toml:3")], ["everybody is served"]
        )
        workers = [
            Worker(0, 101, "ready", 60.0, 0, "", 0.1, statistics(1)),
            Worker(1, 102, "waiting", 0.0, 3, "killed by signal 9", 2.5, statistics(2)),
        ]
        self.now = Status(
            version="1.2.3",
            pid=100,
            state="ready",
            started=1795421523.5,
            uptime=61.5,
            generation=4,
            settings_file="/etc/twistedproxy/pyproxy.toml",
            log_level="info",
            listeners=["127.0.0.1:8080"],
            reloads=3,
            reloads_failed=1,
            workers=workers,
            statistics=added_up(worker.statistics for worker in workers),
        )
        self.open = Connections(
            7, [Connection("0-17", "192.0.2.7", "request", 1.5, 2, "GET", "http://a.test/", "192.0.2.9:80", 100, 200)]
        )
        self.authority = CertificateAuthority(
            "own", "CN=twistedproxy CA 1", "AB:CD", 1795421523.0, 2110954323.0, 3652, ["/var/lib/twistedproxy/ca/a.pem"]
        )
        self.in_force = SettingsInForce(
            4,
            "/etc/twistedproxy/pyproxy.toml",
            [
                Setting("access.connect_ports", [443, "8000-8999"], "pyproxy.toml:2"),
                Setting("log.level", "info", "default"),
            ],
        )

    def _say(self, what: Any) -> Deferred[Any]:
        if self.fault is not None:
            return fail(self.fault)
        if self.against:
            return fail(CannotBeDone(self.against))
        if self.waiting is not None:
            return self.waiting
        return succeed(what)

    def status(self) -> Deferred[Status]:
        self.asked.append("status")
        return self._say(self.now)

    def connections(self, limit: int, client: str, state: str) -> Deferred[Connections]:
        self.asked.append((limit, client, state))
        return self._say(self.open)

    def close_connection(self, id: str) -> Deferred[bool]:
        self.asked.append(id)
        return self._say(id == "0-17")

    def settings(self) -> SettingsInForce:
        self.asked.append("settings")
        if self.fault is not None:
            raise self.fault
        return self.in_force

    def judge(self, candidate: Candidate) -> Verdict:
        self.asked.append(candidate)
        return self.verdict

    def apply(self, candidate: Candidate) -> Deferred[Verdict]:
        self.asked.append(candidate)
        return self._say(self.verdict)

    def reload(self) -> Deferred[None]:
        self.asked.append("reload")
        return self._say(None)

    def drain(self, timeout: float | None) -> None:
        self.asked.append(("drain", timeout))

    def upgrade(self) -> Deferred[int]:
        self.asked.append("upgrade")
        return self._say(4711)

    def set_log_level(self, level: Level) -> Deferred[None]:
        self.asked.append(level)
        return self._say(None)

    def learned(self, host: str, forget: bool) -> Deferred[WhatWasLearned]:
        self.asked.append((host, forget))
        return self._say(WhatWasLearned([Learned(0, "192.0.2.7", "a.test", 2, True, 60.0)]))

    def explain(self, inquiry: Inquiry) -> Deferred[Explanation]:
        self.asked.append(inquiry)
        step = Step("rule", "denied", "games", "access.rules[1]", "pyproxy.toml:9", "")
        request = ExplainedRequest("GET", inquiry.url, False, 403, "denied_by_rule", "games", [step])
        return self._say(Explanation(False, [request]))

    def blocklists(self) -> WhatIsBlocked:
        self.asked.append("blocklists")
        return WhatIsBlocked([LIST])

    def refresh_lists(self, name: str, force: bool) -> Deferred[list[str]]:
        self.asked.append((name, force))
        return self._say(["ads"] if force else [])

    def edit_list(self, host: str, *, allow: bool, there: bool) -> Deferred[bool]:
        self.asked.append((host, allow, there))
        return self._say(host != "known.test")

    def test_lists(self, target: str) -> Finding:
        self.asked.append(target)
        if self.against:
            raise CannotBeDone(self.against)
        return Finding(target, True, "ads", "advertising", "a.test")

    def limits(self, most: int, name: str) -> Deferred[WhatIsLimited]:
        self.asked.append((most, name))
        return self._say(LIMITED)

    def refill(self, name: str, key: str) -> Deferred[None]:
        self.asked.append((name, key))
        return self._say(None)

    def certificate_authority(self) -> Deferred[CertificateAuthority]:
        self.asked.append("authority")
        return self._say(self.authority)

    def authority_certificate(self, format: CertificateFormat) -> Deferred[bytes]:
        self.asked.append(format)
        return self._say(b"\xff" + format.encode())

    def renew_authority(self) -> Deferred[CertificateAuthority]:
        self.asked.append("renew")
        return self._say(self.authority)


@pytest.fixture
def steered() -> FakeSteered:
    """A daemon with two workers, one of which is down."""
    return FakeSteered()

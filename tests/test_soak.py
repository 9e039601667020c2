"""``scripts/soak``: that it passes on this proxy, and that it would not on one that is wrong."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest

from scripts.soaking.content import PIECE, Comparison, Content
from scripts.soaking.judging import (
    NOTHING,
    Answer,
    Expected,
    Failure,
    Kill,
    Torn,
    complaints_of,
    descriptor_leaks,
    growth,
    is_excused,
    is_late,
    logged_number,
    verdict,
)
from scripts.soaking.ledger import Ledger

ROOT = Path(__file__).parents[1]
MIB = 1 << 20
SQUID = (
    "1795421523.123     42 127.0.0.1 TCP_MISS/200 1270 GET http://127.0.0.1:80/sized/5?n={} - HIER_DIRECT/127.0.0.1 a/b"
)
JSON = json.dumps(
    dict.fromkeys(("started", "finished", "kind", "client_address", "method", "status", "reason"))
    | {"url": "http://127.0.0.1:80/sized/5?n=5"}
)
REFUSED = frozenset((502,))


def soaking(*options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "scripts.soaking", *options]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


# ---------------------------------------------------------------- a real run


def test_passes_on_this_proxy(tmp_path: Path) -> None:
    written = tmp_path / "report.json"
    # The machine may be busy with other tests: how late a reactor is then is not asked here.
    with soaking("--seconds", "8", "--clients", "6", "--lag-limit", "30", "--json", str(written)) as run:
        said, progress = run.communicate()
    assert run.returncode == 0, said + progress
    report = json.loads(written.read_text())
    assert report["passed"] is True
    assert report["problems"] == []
    for kind, outcome in (
        ("get", "right"),
        ("get kept alive", "right"),
        ("upload", "right"),
        ("tunnel", "right"),
        ("pipelined", "right"),
        ("malformed", "refused"),
        ("vanished", "left"),
    ):
        assert report["requests"][kind][outcome] > 0, kind
    assert {outcome for row in report["requests"].values() for outcome in row}.isdisjoint(("failed", "wrong"))
    assert report["trouble"]["reload"] > 0
    assert report["polls"] > 0
    assert report["log_lines"] > 100
    assert report["descriptors_before"]["socket"] > 0
    assert said.startswith(f"soak: seed {report['seed']}, ")
    assert said.endswith("soak: passed\n")


def test_interrupt_leaves_nothing(tmp_path: Path) -> None:
    with soaking("--minutes", "1", "--keep", str(tmp_path)) as run:
        started = threading.Event()
        assert run.stderr is not None
        run.stderr.readline()
        while not started.wait(0.05) and not (tmp_path / "control.sock").exists():
            assert run.poll() is None
        run.send_signal(signal.SIGINT)
        _, progress = run.communicate()
    assert run.returncode == 1
    assert "soak: interrupted" in progress
    # Whatever belongs to the run names its directory.
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.parent.exists()]
    assert [command for command in commands if str(tmp_path).encode() in command] == []


# ---------------------------------------------------------------- content


def fed(content: Content, data: bytes, sizes: Sequence[int]) -> Comparison:
    comparison = Comparison(content)
    position = 0
    for size in sizes:
        comparison.feed(data[position : position + size])
        position += size
    comparison.feed(data[position:])
    return comparison


@pytest.mark.parametrize("size", [0, 1, 7, 8, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5])
def test_content_is_recognized_in_any_pieces(size: int) -> None:
    content = Content("a 1", size)
    data = bytes(content)
    assert len(data) == size
    for sizes in ((), (1, 2, 3), (PIECE, 5), (PIECE + 3,)):
        assert fed(content, data, sizes).whole


@pytest.mark.parametrize("change", ["one bit", "other key", "swapped pieces", "lost byte", "one more", "nothing"])
def test_other_content_is_not(change: str) -> None:
    content = Content("a 1", 3 * PIECE + 5)
    data = bytes(content)
    changed = {
        "one bit": data[:PIECE] + bytes((data[PIECE] ^ 1,)) + data[PIECE + 1 :],
        "other key": bytes(Content("a 2", len(data))),
        "swapped pieces": data[PIECE : 2 * PIECE] + data[:PIECE] + data[2 * PIECE :],
        "lost byte": data[:100] + data[101:],
        "one more": data + b"x",
        "nothing": b"",
    }[change]
    assert not fed(content, changed, (1000, PIECE)).whole


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize(
    ("expected", "answer", "outcome"),
    [
        (Expected(7), Answer(200, 7, "complete", same=True, whole=True), "right"),
        (Expected(7), Answer(200, 8, "complete", same=True, whole=True), "wrong"),
        (Expected(7), Answer(200, -1, "complete", same=True, whole=True), "wrong"),
        (Expected(7), Answer(200, 7, "complete", same=False, whole=False), "wrong"),
        (Expected(7), Answer(200, 7, "complete", same=True, whole=False), "wrong"),
        (Expected(7), Answer(200, 7, "cut", same=False, whole=False), "wrong"),
        (Expected(7), Answer(200, 7, "cut", same=True, whole=False), "failed"),
        (Expected(7), Answer(502, -1, "complete", same=True, whole=False), "failed"),
        (Expected(7), NOTHING, "failed"),
        (Expected(7, REFUSED), Answer(502, -1, "complete", same=True, whole=False), "refused"),
        (Expected(7, REFUSED), Answer(504, -1, "complete", same=True, whole=False), "failed"),
        (Expected(7, REFUSED), Answer(502, 6, "complete", same=True, whole=False), "wrong"),
        (Expected(7, REFUSED), Answer(200, 7, "complete", same=True, whole=True), "wrong"),
        (Expected(7, cut="must"), Answer(200, 7, "cut", same=True, whole=False), "cut"),
        (Expected(7, cut="must"), Answer(200, 7, "complete", same=True, whole=True), "wrong"),
        (Expected(7, cut="may"), Answer(200, 7, "complete", same=True, whole=True), "right"),
    ],
)
def test_verdict(expected: Expected, answer: Answer, outcome: str) -> None:
    assert verdict(expected, answer)[0] == outcome


KILL = Kill(10.0, 12.0, frozenset((4000,)))


@pytest.mark.parametrize(
    ("port", "began", "ended", "excused"),
    [
        (4000, 9.0, 11.0, True),
        (4000, 11.0, 13.0, True),
        (4001, 9.0, 11.0, False),
        (4000, 8.0, 9.9, False),
        (4000, 12.1, 13.0, False),
    ],
)
def test_excuse_is_a_kill_of_what_carried_it(port: int, began: float, ended: float, excused: bool) -> None:
    assert is_excused(Failure(port, began, ended, ""), [KILL]) is excused


def ledger_with(outcome: Literal["failed", "wrong", "retried"], port: int) -> Ledger:
    ledger = Ledger()
    ledger.kills.append(KILL)
    ledger.count("get", outcome, Failure(port, 9.0, 11.0, "that"))
    ledger.settle()
    return ledger


def test_ledger_excuses_what_failed_with_a_killed_process() -> None:
    ledger = ledger_with("failed", 4000)
    assert ledger.counts == {("get", "excused"): 1}
    assert ledger.problems == []


@pytest.mark.parametrize(
    ("outcome", "port", "problem"),
    [
        ("failed", 4001, "failed: get from port 4001, 2.000 s until 11.000: that"),
        ("wrong", 4000, "wrong: get from port 4000, 2.000 s until 11.000: that"),
        ("retried", 4001, "closed without need: get from port 4001 at 11.000: that"),
    ],
)
def test_ledger_tells_what_has_no_excuse(
    outcome: Literal["failed", "wrong", "retried"], port: int, problem: str
) -> None:
    ledger = ledger_with(outcome, port)
    assert ledger.counts == {("get", outcome): 1}
    assert ledger.problems == [problem]


def test_closing_in_a_drain_is_no_problem() -> None:
    ledger = Ledger()
    ledger.drains.append((10.0, 20.0))
    ledger.count("get", "retried", Failure(1, 9.0, 11.0, ""))
    ledger.settle()
    assert ledger.problems == []


# ---------------------------------------------------------------- what grows


def samples(*sizes: int) -> list[tuple[float, int]]:
    """Sizes in MiB, each a second after the one before."""
    return [(float(second), size * MIB) for second, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("sizes", "is_leak"),
    [
        ([100] * 80, False),
        ([*range(20, 40), *[100] * 60], False),
        ([*[100] * 60, *[114] * 20], False),
        ([*[100] * 60, *[116] * 20], True),
        (list(range(100, 180)), True),
    ],
)
def test_memory_that_grows_is_a_leak(sizes: list[int], is_leak: bool) -> None:
    grown = growth(samples(*sizes))
    assert grown is not None
    assert grown.is_leak is is_leak


def test_short_time_tells_nothing_of_memory() -> None:
    assert growth([]) is None
    assert growth(samples(*[100] * 40)) is None


def test_descriptors_that_stay_open_are_a_leak() -> None:
    before = {"socket": 10, "file": 4, "pipe": 2}
    assert descriptor_leaks(before, {"socket": 10, "file": 3, "pipe": 2 + 256}, workers=2) == []
    assert len(descriptor_leaks(before, {"socket": 11}, workers=2)) == 1
    assert len(descriptor_leaks(before, {"pipe": 2 + 257, "pidfd": 1}, workers=2)) == 2


def test_reactor_is_late_beyond_what_the_machine_is() -> None:
    assert not is_late(1.0, 0.0, limit=1.0)
    assert is_late(1.01, 0.0, limit=1.0)
    assert not is_late(2.0, 1.2, limit=1.0)
    assert is_late(2.5, 1.2, limit=1.0)


# ---------------------------------------------------------------- the logs


@pytest.mark.parametrize(
    ("line", "number"),
    [
        (SQUID.format(17), 17),
        (SQUID.format(17) + " client_left", 17),
        ("1795421530.508      0 127.0.0.1 TCP_TUNNEL/200 480 CONNECT 127.0.0.1:25 - HIER_DIRECT/127.0.0.1 -", -1),
        ("1795421530.508      0 127.0.0.1 NONE/400 480 - error:malformed_request - HIER_NONE/- text/html bad_one", -1),
        ('127.0.0.1 - - [23/Nov/2026:08:12:03 +0000] "GET http://a/?n=3 HTTP/1.1" 200 1270 "-" "-"', 3),
        ('127.0.0.1 - - [23/Nov/2026:08:12:03 +0000] "-" 400 1270 "-" "-"', -1),
        (JSON, 5),
    ],
)
def test_lines_of_every_format_are_known(line: str, number: int) -> None:
    assert logged_number(line) == number


@pytest.mark.parametrize("line", ["", SQUID[:60], SQUID.format(1)[9:], SQUID.format(1) + SQUID.format(2), '{"url":"a'])
def test_torn_lines_are_noticed(line: str) -> None:
    with pytest.raises(Torn):
        logged_number(line)


def test_access_log_is_compared_with_what_was_asked() -> None:
    ledger = Ledger()
    for number in range(4):
        assert ledger.new_number() == number
        ledger.sent(number)
        ledger.answered(number)
    ledger.read_log("log", "".join(f"{SQUID.format(number)}\n" for number in (0, 1, 1, 2, 9)) + "torn")
    ledger.check_log(0, 0)
    assert [problem.partition(": a line")[0] for problem in ledger.problems] == [
        "log ends in the middle of a line",
        "log",
        "log",
        "the access log has no line about 1 requests, such as 3",
        "the access log has too many lines about 1 requests, such as 1",
    ]


def test_number_of_other_lines_is_plausible() -> None:
    ledger = Ledger()
    ledger.unnumbered = 5
    ledger.check_log(5, 5)
    assert ledger.problems == []
    ledger.check_log(6, 9)
    ledger.check_log(0, 4)
    assert len(ledger.problems) == 2


def test_operational_log_has_no_errors_but_those_that_were_made() -> None:
    moment = "2026-11-27T12:00:00.000Z"
    killed = f"{moment} error worker 0 (process 17) was ended by signal 9 after 2.0 s; another starts now"
    stuck = f"{moment} error worker 0 (process 18) was killed, because its reactor did not answer for 3.1 s after 2.0 s"
    log = f"{moment} info  ready\n{killed}\n{stuck}\n"
    assert complaints_of(log, frozenset((17, 18))) == []
    assert complaints_of(log, frozenset((17,))) == [stuck]
    assert complaints_of(f"{moment} critical oh\n    Traceback (most recent call last):\n", frozenset()) != []

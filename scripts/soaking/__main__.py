"""The soak test: one proxy under every kind of traffic and trouble for a while, on loopback only.

Ends with 0 when nothing was wrong, and with 1 otherwise. The report goes to standard output, progress to standard
error. Whatever was started is stopped at the end, however that comes.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import signal
import sys
import tempfile
from pathlib import Path

import msgspec

from scripts.soaking.processes import adopt_orphans, end_all
from scripts.soaking.report import text
from scripts.soaking.run import Plan, Run
from scripts.soaking.subject import CannotGoOn

MOST_HOURS = 72.0


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    lasting = options.add_mutually_exclusive_group()
    lasting.add_argument("--seconds", type=float, help="how long the traffic flows")
    lasting.add_argument("--minutes", type=float, default=3.0, help="the same in minutes (3)")
    lasting.add_argument("--hours", type=float, help="the same in hours")
    options.add_argument("--workers", type=int, default=2, help="how many the proxy has, apart from reloads (2)")
    options.add_argument("--clients", type=int, default=12, help="how many work side by side (12)")
    options.add_argument("--requests", type=int, default=5_000_000, help="end after so many too (5000000)")
    options.add_argument(
        "--lag-limit",
        type=float,
        default=1.0,
        help="how late a reactor may be, in seconds beyond how late the test itself is (1)",
    )
    options.add_argument("--seed", default="", help="do as the run with this seed did, as far as time allows")
    options.add_argument("--json", type=Path, metavar="FILE", help="write the report there too, as JSON")
    options.add_argument("--keep", type=Path, metavar="DIRECTORY", help="leave the proxy's files in this directory")
    chosen = options.parse_args()
    if chosen.seconds is None:
        chosen.seconds = chosen.hours * 3600 if chosen.hours is not None else chosen.minutes * 60
    if not 0 < chosen.seconds <= MOST_HOURS * 3600:
        options.error(f"it lasts for {MOST_HOURS:g} hours at most")
    if chosen.workers < 1 or chosen.clients < 1 or chosen.requests < 1:
        options.error("there is at least one of each")
    return chosen


async def _run(plan: Plan, directory: Path) -> Run:
    """Run until the end, or until an interrupt, which cancels it."""
    task = asyncio.current_task()
    assert task is not None, "a coroutine runs in a task"
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    run = Run(plan, directory)
    try:
        await run.go()
    except CannotGoOn as error:
        run.ledger.problem(str(error))
    finally:
        run.stop_origins()
    return run


def main() -> int:
    """Do what the command line says; the exit status."""
    chosen = _options()
    adopt_orphans()
    plan = Plan(
        seed=chosen.seed or secrets.token_hex(4),
        seconds=chosen.seconds,
        workers=chosen.workers,
        clients=chosen.clients,
        requests=chosen.requests,
        lag_limit=chosen.lag_limit,
    )
    print(f"soak: seed {plan.seed}, {plan.seconds:g} s", file=sys.stderr, flush=True)
    # Not below a long path: a Unix socket's may have little more than a hundred bytes.
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        directory = chosen.keep or Path(name)
        directory.mkdir(parents=True, exist_ok=True)
        try:
            run = asyncio.run(_run(plan, directory.resolve()))
        except asyncio.CancelledError:
            print("soak: interrupted", file=sys.stderr)
            return 1
        finally:
            ended = end_all()
            if ended:
                print(f"soak: had to end processes {', '.join(map(str, ended))}", file=sys.stderr)
    report = run.report
    report.problems = run.ledger.problems
    report.passed = not report.problems and not ended
    if chosen.json is not None:
        chosen.json.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    print(text(report))
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main())

"""Looks for input that the readers and writers of HTTP, WebSockets, credentials, LDAP, DNS, other proxies and
blocklists get wrong, for a bounded time; run by scripts/fuzz."""

from __future__ import annotations

import argparse
import ast
import os
import sys
import time
from random import Random

from tests.fuzz.engine import TARGETS, Finding, Fuzzer, failure

INTERVAL = 10.0
"""Seconds between two lines about the progress."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to look (60)")
    parser.add_argument("--seed", type=int, help="repeat an earlier run's inputs")
    parser.add_argument("--target", choices=[*TARGETS], action="append", help="what to fuzz (everything); repeatable")
    parser.add_argument("--input", help="check this one input only: a bytes literal, as a report prints it")
    return parser.parse_args()


def report(finding: Finding) -> None:
    print(f"\n{finding.target.name}: an input breaks an invariant\n\n{finding.report}")
    print(f"reproduce with: scripts/fuzz --target {finding.target.name} --input '{as_literal(finding.data)}'")


def as_literal(data: bytes) -> str:
    """A bytes literal that a shell leaves alone between single quotes."""
    return 'b"' + repr(b'"' + data)[3:-1].replace("\\'", "'").replace('"', '\\"').replace("'", "\\x27") + '"'


def check_one(names: list[str], text: str) -> int:
    data = ast.literal_eval(text)
    if not isinstance(data, bytes):
        raise SystemExit("scripts/fuzz: --input takes a bytes literal, such as 'b\"GET / HTTP/1.1\\r\\n\"'")
    reports = [(name, failure(TARGETS[name], data)) for name in names]
    for name, text_of_failure in reports:
        print(f"{name}: {text_of_failure or 'all is well'}")
    return 1 if any(text_of_failure for _, text_of_failure in reports) else 0


def main() -> int:
    options = arguments()
    names = options.target or [*TARGETS]
    if options.input is not None:
        return check_one(names, options.input)
    seed = int.from_bytes(os.urandom(4), "big") if options.seed is None else options.seed
    print(f"seed {seed}, {options.seconds:g} s", flush=True)
    fuzzers = [Fuzzer(TARGETS[name], Random(seed)) for name in names]
    began = said = time.monotonic()
    finding = None
    while finding is None and time.monotonic() - began < options.seconds:
        for fuzzer in fuzzers:
            finding = finding or fuzzer.step()
        if time.monotonic() - said > INTERVAL:
            said = time.monotonic()
            print(f"{said - began:.0f} s: {state(fuzzers)}", flush=True)
    if finding is not None:
        report(finding)
    print(f"{sum(fuzzer.executions for fuzzer in fuzzers)} executions; {state(fuzzers)}")
    return 0 if finding is None else 1


def state(fuzzers: list[Fuzzer]) -> str:
    return "; ".join(
        f"{fuzzer.target.name}: {fuzzer.executions} executions, corpus {len(fuzzer.corpus)}, "
        f"features {len(fuzzer.features)}"
        for fuzzer in fuzzers
    )


if __name__ == "__main__":
    sys.exit(main())

"""The fuzzer: messages from a grammar full of oddities, mutated, until the time is over or an invariant breaks.

Every input comes from one number, and a failure prints that number: ``--seed N`` meets the same input first.
"""

from __future__ import annotations

import argparse
import sys
import time
from random import Random, SystemRandom

from tests.fuzz.invariants import check_requests, check_responses
from tests.fuzz.messages import mutated, request, response, several


def one(seed: int) -> None:
    """Make one input of each kind from ``seed``, and check everything of it."""
    random = Random(seed)
    requests = several(random, request)
    check_requests(mutated(random, requests) if random.random() < 0.7 else requests, random)
    responses = several(random, response)
    method = random.choice((b"GET", b"HEAD", b"POST"))
    check_responses(mutated(random, responses) if random.random() < 0.7 else responses, random, [method] * 8)


def main() -> int:
    """Run for the time that was asked for; the exit status is 1 when something was found."""
    options = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    options.add_argument("--seconds", type=float, default=60.0, help="how long (60)")
    options.add_argument("--seed", type=int, default=None, help="where to begin; a random place otherwise")
    chosen = options.parse_args()
    first = SystemRandom().getrandbits(48) if chosen.seed is None else chosen.seed
    end = time.monotonic() + chosen.seconds
    seed = first
    while time.monotonic() < end:
        try:
            one(seed)
        except Exception:
            print(f"an invariant broke: scripts/fuzz --seed {seed}", file=sys.stderr)
            raise
        seed += 1
    print(f"{seed - first} inputs of each kind, nothing found (from --seed {first})")
    return 0


if __name__ == "__main__":
    sys.exit(main())

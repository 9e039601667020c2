"""The benchmark: what a unit of work costs this proxy and its peers, in one run on one machine.

The proxies take turns, round after round. The tables go to standard output, progress to standard error.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from benchmark import intercept_report, lists, policy, service_report
from benchmark.installing import install
from benchmark.intercept import INTERCEPTED, addresses_needed
from benchmark.interceptors import INTERCEPTORS
from benchmark.measures import MEASURES, Bench, LoadFailed, Measure, Work, resident_memory
from benchmark.origins import start_origins
from benchmark.processes import DidNotStart
from benchmark.proxies import PROXIES, ROOT, Proxy, Running, start
from benchmark.report import OUR_NAME, Results, page, tables
from benchmark.service import PARTS, measure_service
from benchmark.sharing import measure_sharing, sharing_text
from benchmark.tls_origin import start_tls_origin

PAGE_FILE = ROOT / "docs" / "benchmarks.md"
# Access logs are here, so that no disk is measured: tinyproxy waits for it at each line.
MEMORY_FILES = "/dev/shm"
# Room for 10,000 tunnels, two descriptors each, in one proxy, and for some more.
DESCRIPTORS = 40_000
# An idle tunnel's memory hardly varies, and a round of it needs new processes.
FRESH_ROUNDS = 2


def say(text: str) -> None:
    """One line of progress."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def _names(known: Sequence[str]) -> Callable[[str], list[str]]:
    """An argument type: known names, separated by commas."""

    def parse(text: str) -> list[str]:
        unknown = [name for name in text.split(",") if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"not one of {', '.join(known)}: {', '.join(unknown)}")
        return text.split(",")

    return parse


def _options() -> argparse.Namespace:
    measures = [measure.name for measure in MEASURES]
    proxies = [proxy.name for proxy in PROXIES]
    options = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    options.add_argument(
        "--only",
        type=_names(measures),
        metavar="MEASURES",
        help=f"of {', '.join(measures)}; separated by commas",
    )
    options.add_argument(
        "--proxies",
        type=_names(proxies),
        metavar="PROXIES",
        help=f"of {', '.join(proxies)}; separated by commas",
    )
    options.add_argument("--rounds", type=int, default=5, help="how often each proxy does the work (5)")
    options.add_argument("--requests", type=int, default=10_000, help="plain requests a round, about (10000)")
    options.add_argument("--quick", action="store_true", help="two rounds of a fifth of the work")
    options.add_argument(
        "--memory",
        nargs="?",
        const=[OUR_NAME],
        type=_names(proxies),
        metavar="PROXIES",
        help="also resident memory from request 100,000 to request 1,000,000, several minutes a proxy (ours)",
    )
    intercepted = [measure.name for measure in INTERCEPTED]
    options.add_argument(
        "--intercept",
        nargs="?",
        const=intercepted,
        type=_names(intercepted),
        metavar="MEASURES",
        help=f"instead, what it costs to look into tunnels: {', '.join(intercepted)} (all); with those of the proxies "
        f"that can: {', '.join(proxy.name for proxy in INTERCEPTORS)}",
    )
    options.add_argument(
        "--service",
        nargs="?",
        const=list(PARTS),
        type=_names(list(PARTS)),
        metavar="PARTS",
        help=f"instead, what the managed service promises: {', '.join(PARTS)} (all)",
    )
    options.add_argument(
        "--sharing", action="store_true", help="instead, two ways in which processes can share a port, without a proxy"
    )
    options.add_argument(
        "--lists", action="store_true", help="instead, what lists of a million domains cost, beside a set and Squid"
    )
    options.add_argument(
        "--policy", action="store_true", help="instead, plain requests with rules, an account and a list, beside Squid"
    )
    options.add_argument(
        "--write",
        action="store_true",
        help="write docs/benchmarks.md, for whole runs only; with --intercept, --lists, --policy or --service, "
        "that part of it",
    )
    chosen = options.parse_args()
    if chosen.write and (chosen.only or chosen.proxies or chosen.quick or chosen.sharing):
        options.error("--write is for a whole run, without --only, --proxies, --quick and --sharing")
    if chosen.write and chosen.service and len(chosen.service) < len(PARTS):
        options.error("--write is for all parts of the service")
    if chosen.write and chosen.intercept and len(chosen.intercept) < len(INTERCEPTED):
        options.error("--write is for all measures of interception")
    return chosen


def _work(chosen: argparse.Namespace) -> tuple[Work, int]:
    if chosen.quick:
        work = Work(requests=chosen.requests // 5, bulk_share=0.2, tunnels_share=0.2, idle_tunnels=500)
        return work, min(chosen.rounds, 2)
    return Work(requests=chosen.requests), chosen.rounds


class Run:
    """One run: the proxies that still take part, and what has been found."""

    def __init__(self, bench: Bench, results: Results) -> None:
        self.bench = bench
        self.results = results
        self._started = 0

    def __repr__(self) -> str:
        return f"<Run of {len(self.results.proxies)} proxies, {len(self.results.costs)} results>"

    def _start(self, proxy: Proxy) -> Running:
        self._started += 1
        return start(proxy, self.bench.directory / f"{self._started}-{proxy.name}", self.bench.origins)

    def _drop(self, measure: Measure, proxy: Proxy, error: Exception) -> None:
        say(f"{measure.name} {proxy.name}: {error}")
        self.results.costs.pop((measure.name, proxy.name), None)
        self.results.problems.append(f"{measure.title}, {proxy.title}: it failed.")

    def measure(self, measure: Measure) -> None:
        """All the rounds of one measure, the proxies in turns."""
        taking_part = {proxy: ExitStack() for proxy in self.results.proxies if measure.name in proxy.measures}
        running: dict[Proxy, Running] = {}
        rounds = min(self.results.rounds, FRESH_ROUNDS) if measure.fresh else self.results.rounds
        with ExitStack() as everything:
            for number in range(rounds):
                for proxy, stack in list(taking_part.items()):
                    everything.push(stack)
                    try:
                        if proxy not in running or measure.fresh:
                            stack.close()
                            running[proxy] = self._start(proxy)
                            stack.enter_context(running[proxy].process)
                            measure.warm_up(self.bench, running[proxy])
                        cost = measure.per_round(self.bench, running[proxy])
                    except (DidNotStart, LoadFailed) as error:
                        self._drop(measure, proxy, error)
                        taking_part.pop(proxy).close()
                        continue
                    self.results.costs.setdefault((measure.name, proxy.name), []).append(cost)
                    say(f"{measure.name} round {number + 1} {proxy.name}: {cost:.3g} {measure.unit}")
                    if measure.fresh:
                        stack.close()

    def memory(self, proxies: Sequence[Proxy]) -> None:
        """Resident memory over many requests, one proxy after the other."""
        for proxy in proxies:
            try:
                self.results.memory[proxy.name] = resident_memory(self.bench, proxy, say)
            except (DidNotStart, LoadFailed) as error:
                say(f"memory {proxy.name}: {error}")
                self.results.problems.append(f"Resident memory, {proxy.title}: it failed.")


@contextmanager
def _memory_directory() -> Iterator[Path]:
    memory = MEMORY_FILES if os.access(MEMORY_FILES, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="bench-", dir=memory) as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


def _compare(chosen: argparse.Namespace) -> None:
    """This proxy and its peers."""
    wanted = [proxy for proxy in PROXIES if chosen.proxies is None or proxy.name in chosen.proxies]
    of_memory = [proxy for proxy in PROXIES if proxy.name in (chosen.memory or ())]
    install([*wanted, *of_memory])
    work, rounds = _work(chosen)
    results = Results(
        proxies=[proxy for proxy in wanted if proxy.available()],
        measures=[measure for measure in MEASURES if chosen.only is None or measure.name in chosen.only],
        rounds=rounds,
    )
    results.problems += [f"{proxy.title}: it is not installed." for proxy in wanted if not proxy.available()]
    with _memory_directory() as directory, ExitStack() as stack:
        origins = start_origins(directory / "origins", stack)
        run = Run(Bench(origins, directory, work), results)
        for measure in results.measures:
            run.measure(measure)
        run.memory([proxy for proxy in of_memory if proxy.available()])
    _print(tables(results), results.problems)
    if chosen.write:
        if any(results.cost(measure.name, OUR_NAME) is None for measure in results.measures):
            raise SystemExit("bench: a figure of ours is missing; docs/benchmarks.md is as it was")
        old = PAGE_FILE.read_text()
        sections = {
            "intercept": intercept_report.SECTION.kept(old),
            "lists": lists.SECTION.kept(old),
            "policy": policy.SECTION.kept(old),
            "service": service_report.SECTION.kept(old),
        }
        PAGE_FILE.write_text(page(results, sections))
        say("wrote docs/benchmarks.md")


def _results_for(chosen: argparse.Namespace, proxies: Iterable[Proxy], measures: Sequence[Measure]) -> Results:
    """Room for what those of ``proxies`` that are wanted will show, which are installed, where that is possible."""
    wanted = [proxy for proxy in proxies if chosen.proxies is None or proxy.name in chosen.proxies]
    install(wanted)
    rounds = _work(chosen)[1]
    results = Results([proxy for proxy in wanted if proxy.available()], measures, rounds)
    results.problems += [f"{proxy.title}: it is not installed." for proxy in wanted if not proxy.available()]
    return results


def _look_inside(chosen: argparse.Namespace) -> None:
    """What it costs to look into tunnels."""
    measures = [measure for measure in INTERCEPTED if measure.name in chosen.intercept]
    work, rounds = _work(chosen)
    results = _results_for(chosen, INTERCEPTORS, measures)
    addresses = addresses_needed(rounds, max(proxy.tunnels for proxy in INTERCEPTORS))
    begun = os.getloadavg()[0]
    with _memory_directory() as directory, ExitStack() as stack:
        origins = start_origins(directory / "origins", stack)
        tls = start_tls_origin(directory / "tls-origin", stack, addresses)
        run = Run(Bench(replace(origins, tls=tls), directory, work), results)
        for measure in results.measures:
            run.measure(measure)
    _print(tables(results), results.problems)
    if chosen.write:
        text = intercept_report.section(results, begun)
        PAGE_FILE.write_text(intercept_report.SECTION.replaced(PAGE_FILE.read_text(), text))
        say("wrote interception's part of docs/benchmarks.md")


def _police(chosen: argparse.Namespace) -> None:
    """What it costs to tell who may go where."""
    work = _work(chosen)[0]
    results = _results_for(chosen, policy.SUBJECTS, policy.POLICED)
    begun = os.getloadavg()[0]
    with _memory_directory() as directory, ExitStack() as stack:
        origins = start_origins(directory / "origins", stack)
        run = Run(Bench(origins, directory, work), results)
        for measure in results.measures:
            run.measure(measure)
    _print(tables(results), results.problems)
    if chosen.write:
        text = policy.section(results, begun)
        PAGE_FILE.write_text(policy.SECTION.replaced(PAGE_FILE.read_text(), text))
        say("wrote policy's part of docs/benchmarks.md")


def _serve(chosen: argparse.Namespace) -> None:
    """What the managed service promises."""
    install([])
    with _memory_directory() as directory, ExitStack() as stack:
        origins = start_origins(directory / "origins", stack)
        found = measure_service(Bench(origins, directory, Work()), chosen.service, say)
    _print(service_report.service_tables(found), found.problems)
    if chosen.write:
        if found.problems:
            raise SystemExit("bench: a figure is missing; docs/benchmarks.md is as it was")
        text = service_report.section(found)
        PAGE_FILE.write_text(service_report.SECTION.replaced(PAGE_FILE.read_text(), text))
        say("wrote the service's part of docs/benchmarks.md")


def _hold_lists(chosen: argparse.Namespace) -> None:
    """What lists of what is blocked cost."""
    install([proxy for proxy in PROXIES if proxy.name == "squid"])
    with _memory_directory() as directory:
        found = lists.measure_lists(directory, say)
    _print(found, [])
    if chosen.write:
        PAGE_FILE.write_text(lists.SECTION.replaced(PAGE_FILE.read_text(), lists.section(found)))
        say("wrote the lists' part of docs/benchmarks.md")


def _print(titled: Iterable[tuple[str, str]], problems: Sequence[str]) -> None:
    for title, text in titled:
        print(f"\n{title}\n\n{text}")
    for problem in problems:
        print(f"\nmissing: {problem}")


def main() -> None:
    """Do what the command line says."""
    chosen = _options()
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(DESCRIPTORS, hard), hard))
    if chosen.sharing:
        _print([("Two ways to share a port", sharing_text(measure_sharing(say)))], [])
    elif chosen.lists:
        _hold_lists(chosen)
    elif chosen.policy:
        _police(chosen)
    elif chosen.intercept:
        _look_inside(chosen)
    elif chosen.service:
        _serve(chosen)
    else:
        _compare(chosen)


if __name__ == "__main__":
    main()

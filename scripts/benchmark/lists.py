"""What lists of a million domains cost: to load, to hold and to look up, and what a refresh does to those who wait.

Beside a plain set of Python's, and Squid with the same list in an ``acl dstdomain``.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles

from benchmark.processes import Process, free_ports
from benchmark.proxies import OURS, PROXIES, ROOT, SQUID, program, squid_user
from benchmark.report import table
from benchmark.sections import Section

DOMAINS = 1_000_000
SECTION = Section("<!-- Lists: scripts/bench --lists --write -->", "<!-- The end of lists -->")
_TITLES = {
    "compact": "this proxy, from the text",
    "mapped": "this proxy, compiled before",
    "set": "a plain set of Python's",
}
_LOOK_UPS = {
    "hit": "us, listed",
    "miss": "us, not",
    "found": "us, listed, first",
    "first": "us, not, first",
    "again": "us, again",
}
_PAUSE = 0.002


def write_list(path: Path, prefix: str = "") -> None:
    """A million domains, each different."""
    chosen = random.Random(1)
    with path.open("w") as file:
        for number in range(DOMAINS):
            file.write(f"{prefix}{chosen.getrandbits(40):010x}.example{number % 5000}.com\n")


def _subject(kind: str, path: Path, directory: Path) -> dict[str, float]:
    script = str(Path(__file__).with_name("lists_subject.py"))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, script, kind, str(path), str(directory)], capture_output=True, env=environment, check=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _squid(directory: Path, lines: str) -> tuple[float, float]:
    """The CPU time until it listens, in seconds, and its resident memory, in MiB."""
    directory.mkdir()
    directory.chmod(0o777)
    (port,) = free_ports(1)
    settings = directory / "squid.conf"
    text = SQUID % {"port": port, "directory": directory}
    settings.write_text(text.replace("http_access allow localhost", f"{lines}http_access allow localhost"))
    argv = [*squid_user(), program("squid") or "squid", "-N", "-f", str(settings)]
    with Process(argv, output=directory / "output", cwd=ROOT) as process:
        process.await_port(port)
        return process.cpu_seconds(), process.rss_kib() / 1024


class _Asking:
    """Asks a proxy for a blocked page again and again, and keeps how long each answer took, in seconds."""

    def __init__(self, port: int) -> None:
        self.took: list[float] = []
        self._port = port
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port)
        while not self._enough.wait(_PAUSE):
            begun = time.perf_counter()
            connection.request("GET", "http://blocked.invalid/")
            connection.getresponse().read()
            self.took.append(time.perf_counter() - begun)
        connection.close()

    def __enter__(self) -> _Asking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()


def _refresh(directory: Path, path: Path) -> tuple[list[float], list[float], float]:
    """How long answers take before a refresh and during one, in seconds, and how long that takes."""
    directory.mkdir()
    (port,) = free_ports(1)
    settings = directory / "pyproxy.toml"
    lists = f'\n[control]\nsocket = "{directory}/control"\n[[blocklists.lists]]\nname = "ads"\nsource = "{path}"\n'
    settings.write_text(OURS % {"port": port, "directory": directory} + lists)
    programs = Path(sys.executable).parent
    environment = os.environ | {"STATE_DIRECTORY": str(directory), "PYTHONPATH": str(ROOT)}
    control = [str(programs / "pyproxyctl"), "--socket", f"{directory}/control", "block"]
    argv = ["env", f"STATE_DIRECTORY={directory}", f"PYTHONPATH={ROOT}", str(programs / "twistd")]
    argv += ["-n", "--pidfile=", "pyproxy", "--config", str(settings)]
    with Process(argv, output=directory / "output", cwd=directory) as process:
        process.await_port(port)
        add = [*control, "add", "blocked.invalid"]
        while subprocess.run(add, env=environment, capture_output=True, check=False).returncode:
            # It listens before it has read its lists.
            time.sleep(0.1)
        with _Asking(port) as before:
            time.sleep(3)
        with path.open("a") as file:
            file.write("one.more.example\n")
        begun = time.perf_counter()
        with _Asking(port) as during:
            subprocess.run([*control, "refresh"], env=environment, capture_output=True, check=True)
        return before.took, during.took, time.perf_counter() - begun


def measure_lists(directory: Path, say: Callable[[str], None]) -> list[tuple[str, str]]:
    """Titles and tables of all of it."""
    path = directory / "domains.txt"
    write_list(path)
    rows = [["one million domains", "CPU s to load", "MiB resident", *_LOOK_UPS.values()]]
    for kind, title in _TITLES.items():
        found = [_subject(kind, path, directory) for _ in range(3)]
        middle = {name: median(one[name] for one in found) for name in found[0]}
        say(f"lists {kind}: {middle}")
        figures = [f"{middle['seconds']:.2f}", f"{middle['mebibytes']:.0f}"]
        rows.append([title, *figures, *(f"{middle[name]:.2f}" for name in _LOOK_UPS)])
    squid = next(proxy for proxy in PROXIES if proxy.name == "squid")
    if squid.available():
        dotted = directory / "dstdomain.txt"
        write_list(dotted, ".")
        plain = _squid(directory / "squid-plain", "")
        lines = f'acl blocked dstdomain "{dotted}"\nhttp_access deny blocked\n'
        listed = _squid(directory / "squid-lists", lines)
        say(f"lists squid: {plain} {listed}")
        figures = [f"{listed[0] - plain[0]:.2f}", f"{listed[1] - plain[1]:.0f}"]
        rows.append([f"Squid {squid.version()}, dstdomain", *figures, *[""] * len(_LOOK_UPS)])
    before, during, seconds = _refresh(directory / "refresh", path)
    say(f"lists refresh: {seconds:.1f} s")
    waits = [["answers while", "asked", "median ms", "99 % ms", "worst ms"]]
    for title, took in (("nothing happens", before), (f"a million lines are refreshed ({seconds:.1f} s)", during)):
        hundredths = quantiles(took, n=100)
        figures = (f"{value * 1000:.2f}" for value in (median(took), hundredths[98], max(took)))
        waits.append([title, f"{len(took):,}", *figures])
    return [("Lists of a million domains", table(rows)), ("A refresh, for those who wait", table(waits))]


def section(found: list[tuple[str, str]]) -> str:
    """The part of the page."""
    (_, costs), (_, waits) = found
    return f"""## Lists of what is blocked

A list of 1,000,000 different domains, in a process of its own each time; the middle of three. *Listed* are hosts
below an entry, *not* ones that are nowhere, as the set itself finds them; *first* is the whole decision about a host
that was not asked for before, and *again* that about one of the last 4096, which the proxy remembers. Of this proxy the
text becomes an image on disk, which all workers map: what is resident counts once for all of them. Of Squid it is what
the list adds until it listens.

{costs}

One client asks for a blocked page every {_PAUSE * 1000:.0f} ms, with one worker on this machine of two cores:

{waits}

Bars: loaded in 3 s, 40 MiB, 2 us a look-up (*listed* and *not*). The whole decision about a host that is listed, which
is then remembered, takes longer."""

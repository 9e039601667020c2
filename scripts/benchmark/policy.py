"""What it costs to tell who may go where: a hundred rules, an account and a list of a million domains, beside Squid.

The request that is measured is one that nothing forbids, so that all of it has to be asked. Before the first round each
proxy shows that it refuses what it should.
"""

from __future__ import annotations

import base64
import datetime
import http.client
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from benchmark.lists import write_list
from benchmark.measures import CONNECTIONS, MEASURES, Bench, LoadFailed, Measure
from benchmark.origins import Origins
from benchmark.processes import free_ports
from benchmark.proxies import OURS, PROXIES, ROOT, SQUID, Launch, Proxy, Running, forwarding, program, squid_user
from benchmark.report import Results, tables
from benchmark.sections import Section

NAME, PASSWORD = "ann", "correct horse"
HASH = "$5$bench$XxMljTKxnzIwAIGiwV4CRE8wUscenx198sN/65IYAz7"
"""SHA-256 crypt, which both know."""

CREDENTIALS = f"Basic {base64.b64encode(f'{NAME}:{PASSWORD}'.encode()).decode()}"
PATIENCE_SECONDS = 60
_PAUSE = 0.2

# What a rule denies: the key of ours with its entry, and the type of Squid's ACL with its value.
KINDS: tuple[tuple[int, str, str, str, str], ...] = (
    (60, "hosts", ".site%d.example", "dstdomain -n", ".site%d.example"),
    (10, "hosts", r"~^ads[0-9]+\.%d\.example$", "dstdom_regex -n", r"^ads[0-9]+\.%d\.example$"),
    (10, "urls", "~/tracking%d/", "url_regex", "/tracking%d/"),
    (10, "clients", "10.%d.0.0/16", "src", "10.%d.0.0/16"),
    (5, "ports", "90%d", "port", "90%d"),
    (5, "User-Agent", "badbot%d/*", "browser", "^badbot%d/"),
)
"""How many of each."""

RULES = tuple(
    (key, entry % number, kind, value % number) for count, key, entry, kind, value in KINDS for number in range(count)
)

ACCOUNTS = """
[accounts]
required = true
htpasswd_file = "%(directory)s/accounts"

[[blocklists.lists]]
name = "domains"
source = "%(directory)s/domains.txt"
"""

# None of them is ever reached.
LIMITS = """
[[limits.tables]]
name = "everything"
per = "account"
requests_per_second = 1000000
connections = 1000
download = "100GiB"
upload = "100GiB"
daily = "1000GiB"
"""

SQUID_RULES = """
auth_param basic program %(ncsa)s %(directory)s/accounts
auth_param basic children 1
acl known proxy_auth REQUIRED
acl listed dstdomain -n "%(directory)s/domains.txt"
%(rules)s
http_access deny listed
http_access deny !known
http_access allow localhost
"""


def our_rules() -> str:
    """The rules, in our settings."""
    texts = []
    for number, (key, entry, _kind, _value) in enumerate(RULES):
        written = entry if key == "ports" else f"'{entry}'"
        fits = f"fields = {{ {key} = [{written}] }}" if key == "User-Agent" else f"{key} = [{written}]"
        texts.append(f'[[access.rules]]\nname = "rule {number}"\n{fits}\naction = "deny"\n')
    return "\n".join(texts)


def squid_rules() -> str:
    """The rules, in Squid's configuration."""
    return "\n".join(
        f"acl rule{number} {kind} {value}\nhttp_access deny rule{number}"
        for number, (_key, _entry, kind, value) in enumerate(RULES)
    )


def _write(directory: Path, prefix: str) -> None:
    write_list(directory / "domains.txt", prefix)
    accounts = directory / "accounts"
    accounts.write_text(f"{NAME}:{HASH}\n")
    # Squid's helper is another user when root starts it; ours does not mind who may read it but others.
    accounts.chmod(0o644 if prefix else 0o600)


def _launch_ours(directory: Path, _origins: Origins, more: str = "") -> Launch:
    (port,) = free_ports(1)
    values = {"port": port, "directory": directory}
    _write(directory, "")
    settings = directory / "pyproxy.toml"
    settings.write_text(OURS % values + ACCOUNTS % values + more + our_rules())
    twistd = str(ROOT / ".venv" / "bin" / "twistd")
    argv = ["env", f"STATE_DIRECTORY={directory}", twistd, "-n", "--pidfile=", "pyproxy", "--config", str(settings)]
    return _with_credentials(forwarding(argv, port))


def _launch_limited(directory: Path, origins: Origins) -> Launch:
    return _launch_ours(directory, origins, LIMITS)


def _launch_squid(directory: Path, _origins: Origins) -> Launch:
    (port,) = free_ports(1)
    _write(directory, ".")
    rules = SQUID_RULES % {
        "ncsa": "/usr/lib/squid/basic_ncsa_auth",
        "directory": directory,
        "rules": squid_rules(),
    }
    text = SQUID % {"port": port, "directory": directory}
    settings = directory / "squid.conf"
    settings.write_text(text.replace("http_access allow localhost\n", rules.lstrip()))
    argv = [*squid_user(), program("squid") or "squid", "-N", "-f", str(settings)]
    return _with_credentials(forwarding(argv, port))


def _with_credentials(launch: Launch) -> Launch:
    return replace(launch, fields={"Proxy-Authorization": CREDENTIALS})


def _status(port: int, url: str, fields: dict[str, str]) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", url, headers=fields)
        return connection.getresponse().status
    finally:
        connection.close()


def _listed(running: Running) -> str:
    with (running.process.output.with_name("domains.txt")).open() as file:
        return file.readline().strip().lstrip(".")


def show_refusals(bench: Bench, running: Running) -> None:
    """Wait until the list is in force, then see that each kind of refusal is there. Raises LoadFailed."""
    port = running.launch.plain.port
    fields = dict(running.launch.fields)
    origin = f"http://127.0.0.1:{bench.origins.http}"
    deadline = time.monotonic() + PATIENCE_SECONDS
    while _status(port, f"http://below.{_listed(running)}/", fields) != 403:
        if time.monotonic() > deadline:
            raise LoadFailed(f"{running.proxy.name} does not refuse what is listed")
        running.process.pause(_PAUSE)
    expected: tuple[tuple[str, dict[str, str], int], ...] = (
        (f"{origin}/100", {}, 407),
        (f"{origin}/100", {"Proxy-Authorization": "Basic YW5uOmd1ZXNz"}, 407),
        (f"{origin}/tracking7/", fields, 403),
        ("http://www.site42.example/", fields, 403),
        ("http://ads1.3.example/", fields, 403),
        ("http://127.0.0.1:903/", fields, 403),
        (f"{origin}/100", fields | {"User-Agent": "badbot3/1"}, 403),
        (f"{origin}/100", fields, 200),
    )
    for url, sent, status in expected:
        answered = _status(port, url, sent)
        if answered != status:
            raise LoadFailed(f"{running.proxy.name} answers {url} with {answered}, not {status}")


def _after_refusals(measure: Measure) -> Callable[[Bench, Running], object]:
    def warm_up(bench: Bench, running: Running) -> None:
        show_refusals(bench, running)
        measure.warm_up(bench, running)

    return warm_up


def _with_policy(measure: Measure, name: str) -> Measure:
    return replace(
        measure,
        name=name,
        title=f"{measure.title}, with rules, an account and a list",
        warm_up=_after_refusals(measure),
    )


def _measures(known: Iterable[Measure]) -> tuple[Measure, ...]:
    wanted = {"get-100": "policy-get-100", "get-10k": "policy-get-10k"}
    return tuple(_with_policy(measure, wanted[measure.name]) for measure in known if measure.name in wanted)


POLICED = _measures(MEASURES)
_LAUNCHES = (("ours", "", _launch_ours), ("ours", ", limits too", _launch_limited), ("squid", "", _launch_squid))
_PROXIES = {proxy.name: proxy for proxy in PROXIES}
SUBJECTS: tuple[Proxy, ...] = tuple(
    replace(
        _PROXIES[name],
        name=f"{name}-limited" if more else name,
        title=_PROXIES[name].title + more,
        launch=launch,
        measures=frozenset(measure.name for measure in POLICED),
    )
    for name, more, launch in _LAUNCHES
)

SECTION = Section("<!-- Policy: scripts/bench --policy --write -->", "<!-- The end of policy -->")

METHOD = """\
{connections} kept-alive client connections, as above, whose requests carry a name and a password in
`Proxy-Authorization`, {rounds} rounds. All of 100 rules are asked and none fits: 60 of a domain each, 10 regular
expressions of the host and 10 of the URL, 10 client networks, 5 ports and 5 user agents. The account is in a file, its
hash is SHA-256 crypt, and both proxies remember that the password was right. The list has 1,000,000 domains. Before its
first round each proxy has refused a listed domain, a request without a password, one with a wrong one, and one for
kinds of rules. *Limits too* is this proxy with one that counts all there is by the account: requests, connections,
bandwidth each way and a quota, none of which is reached. Measured on {date}: {versions}; the load average when it began
was {begun:.1f}."""


def section(results: Results, begun: float) -> str:
    """The part of the page. ``begun`` is the load average when it began."""
    method = METHOD.format(
        connections=CONNECTIONS,
        rounds=results.rounds,
        date=f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
        versions=" and ".join(
            dict.fromkeys(f"{proxy.title.partition(',')[0]} {proxy.version()}" for proxy in results.proxies)
        ),
        begun=begun,
    )
    parts = [f"## {title}\n\n{table}" for title, table in tables(results)]
    return "\n\n".join([*parts, *(f"Not in these tables: {problem}" for problem in results.problems), method])

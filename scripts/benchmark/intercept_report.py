"""The tables of what it costs to look into tunnels, and their place in the page."""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence

from benchmark.intercept import INTERCEPTED
from benchmark.interceptors import INTERCEPT, MITMDUMP_OPEN, SQUID_BUMP
from benchmark.report import Results, readable, tables
from benchmark.sections import Section

SECTION = Section("<!-- Interception: scripts/bench --intercept --write -->", "<!-- The end of interception -->")

TEXT = """\
Work inside tunnels that the proxy has opened. The client trusts the proxy's authority and nobody else, each proxy
trusts that of the origin, and all verify what they see; every status and body is checked. What is said under *Method*
holds here too, with {rounds} rounds. Squid speaks HTTP/1.1 only inside tunnels; it looks at the origin's certificate
before it answers, as mitmproxy does. This proxy connects to the origin when the first request comes, and its
connections are there for all clients. mitmproxy holds each body until it is whole, as it does by default.

{measures}

Measured on {date} on {cores} cores{priority}: {versions}. The load average when it began was
{begun:.1f}: above 1, other work kept the cores busy too.

To the configurations below, this adds for twistedproxy, with the origin's authority in `SSL_CERT_FILE`:

```
{ours}
```

for Squid, which is Debian's `squid-openssl`, in the place of `http_port`:

```
{squid}
```

and mitmdump has the options

```
{mitmdump}
```"""

PRIORITY = ", and all that took part went before what else the machine did (`chrt -f 1`)"


def section(results: Results, begun: float) -> str:
    """Interception's part of the page. ``begun`` is the load average when it began."""
    text = TEXT.format(
        rounds=results.rounds,
        measures="\n".join(f"- *{measure.title}.* {measure.method}" for measure in INTERCEPTED),
        date=f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
        cores=os.cpu_count(),
        versions=_list([f"{proxy.title.partition(',')[0]} {proxy.version()}" for proxy in results.proxies]),
        priority=PRIORITY if os.sched_getscheduler(0) == os.SCHED_FIFO else "",
        begun=begun,
        ours=readable(INTERCEPT),
        squid=readable(SQUID_BUMP),
        mitmdump=readable(MITMDUMP_OPEN),
    )
    parts = [f"## {title}\n\n{table}" for title, table in tables(results)]
    caveats = [f"Not in these tables: {problem}" for problem in results.problems]
    return "\n\n".join([*parts, *caveats, "## Interception: what was measured", text])


def _list(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)

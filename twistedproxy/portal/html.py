"""The page for clients as HTML: one file without scripts, and with nothing from elsewhere."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from html import escape
from typing import Final

from twistedproxy.portal.facts import COMPARE, DOWNLOADS, SECRET, Certificate, Facts
from twistedproxy.portal.names import ADDRESS
from twistedproxy.portal.trust import SYSTEMS, Step, System

_STYLE: Final = """
:root { color-scheme: light dark; --text: #1c2528; --soft: #5a686d; --ground: #f4f6f5; --card: #fff; --line: #dce3e1;
  --accent: #0b6b61; --on-accent: #fff; --warn: #fff6e0; --warn-line: #e5c46f; }
@media (prefers-color-scheme: dark) { :root { --text: #e3e9e8; --soft: #9aa9ab; --ground: #12181a; --card: #1a2225;
  --line: #2d393c; --accent: #5cc9b8; --on-accent: #06231f; --warn: #2b2413; --warn-line: #77622a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--text); font: 1rem/1.55 system-ui, sans-serif; }
main { max-width: 46rem; margin: 0 auto; padding: 2.5rem 1.1rem 3rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; letter-spacing: -.01em; }
h2 { font-size: 1.15rem; margin: 0 0 .7rem; }
p { margin: 0 0 .8rem; }
a { color: var(--accent); }
time { white-space: nowrap; }
.lead, footer { color: var(--soft); }
section { background: var(--card); border: 1px solid var(--line); border-radius: .8rem; margin-top: 1.2rem;
  padding: 1.2rem 1.3rem; }
section > :last-child { margin-bottom: 0; }
dl { margin: 0; } dt { font-weight: 600; } dd { margin: 0 0 .8rem; } dd p { margin: 0 0 .3rem; }
.warning { background: var(--warn); border: 1px solid var(--warn-line); border-radius: .5rem; padding: .7rem .9rem; }
code, pre, .fingerprint { font: .88rem/1.6 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
code, .fingerprint { overflow-wrap: anywhere; }
.fingerprint { background: var(--ground); border-radius: .5rem; padding: .7rem .9rem; font-size: .95rem; }
.fingerprint span { display: inline-block; }
.downloads { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .7rem; margin: 1rem 0; }
.downloads a { background: var(--accent); color: var(--on-accent); border-radius: .5rem; padding: .6rem .9rem;
  text-decoration: none; }
.downloads a:hover, .downloads a:focus-visible { text-decoration: underline; }
.downloads b, .downloads small { display: block; }
details { border-top: 1px solid var(--line); }
summary { cursor: pointer; padding: .6rem 0; font-weight: 600; }
ol { margin: 0 0 .6rem; padding-left: 1.4rem; } li { margin-bottom: .35rem; }
li code { display: block; white-space: pre; overflow-x: auto; background: var(--ground); border-radius: .4rem;
  padding: .35rem .6rem; }
.undo { color: var(--soft); font-size: .93rem; }
pre { background: var(--ground); border-radius: .5rem; padding: .8rem .9rem; margin: 0; overflow-x: auto; }
footer { font-size: .9rem; margin-top: 1.5rem; }
"""

POLICY: Final = (
    "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src 'sha256-"
    + b64encode(sha256(_STYLE.encode()).digest()).decode()
    + "'"
)
"""The Content-Security-Policy of every page: nothing but that style, and an empty icon, so that none is asked for."""

_FRAME: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{body}
</main>
</body>
</html>
"""

_COMMAND: Final = "pyproxyctl ca"

# The first word in a User-Agent that is found there; Android says Linux too, and iOS says Mac OS X.
_AGENTS: Final = (
    *((b"Android", "android"), (b"iPhone", "ios"), (b"iPad", "ios"), (b"Firefox/", "firefox"), (b"Windows", "windows")),
    *((b"Mac OS X", "macos"), (b"Chrome/", "chromium"), (b"Linux", "debian")),
)


def page(facts: Facts, agent: bytes) -> str:
    """The page, for a client that calls itself ``agent`` (User-Agent)."""
    name = f"<b>{escape(facts.name)}</b>"
    parts = [
        f'<p class="lead">Your requests go through {name}, a twistedproxy, on their way to sites.</p>',
        _sees(facts),
    ]
    if facts.certificate is not None:
        parts += [_certificate(facts.certificate), _trust(facts.certificate, agent)]
    if facts.variables:
        parts.append(_programs(facts))
    parts.append(f"<footer><p>For whoever uses the proxy, this page is at <code>{ADDRESS}</code>.</p></footer>")
    return _framed("This is a proxy", parts)


def short_page(title: str, sentence: str) -> str:
    """A page that says one thing, and leads back to the first."""
    return _framed(title, [f"<p>{escape(sentence)}</p>", '<p><a href="/">About this proxy</a></p>'])


def _framed(title: str, parts: Iterable[str]) -> str:
    return _FRAME.format(title=escape(title), style=_STYLE, body="\n".join(parts))


def _sees(facts: Facts) -> str:
    https = "".join(f"<p>{escape(sentence)}</p>" for sentence in facts.https)
    return f"""<section>
<h2>What it sees</h2>
<dl>
<dt>http://</dt>
<dd><p>{escape(facts.http)}</p></dd>
<dt>https://</dt>
<dd>{https}</dd>
</dl>
<p>What is written down, and who reads it, the operator of the proxy can tell you.</p>
</section>"""


def _certificate(certificate: Certificate) -> str:
    octets = certificate.fingerprint.split(":")
    groups = [":".join(octets[start : start + 8]) for start in range(0, len(octets), 8)]
    # Written without a space, so that it can be copied as one.
    fingerprint = "".join(f"<span>{group}</span>" for group in (*(f"{one}:" for one in groups[:-1]), groups[-1]))
    links = "\n".join(
        f'<a href="{one.path}" download="{one.file}"><b>{one.title}</b><small>{one.purpose}</small></a>'
        for one in DOWNLOADS
    )
    return f"""<section>
<h2>Its certificate</h2>
<p>To look inside, the proxy shows you certificates of its own authority, which your device refuses unless it has been
told to trust that one: <b>{escape(certificate.subject)}</b>, until <time>{certificate.ends}</time>.</p>
<p class="warning">{escape(SECRET)}</p>
<p>{escape(COMPARE).replace(_COMMAND, f"<code>{_COMMAND}</code>")}</p>
<p class="fingerprint">{fingerprint}</p>
<p class="downloads">
{links}
</p>
<p class="undo">All three are the same certificate. The key is in none of them.</p>
</section>"""


def _trust(certificate: Certificate, agent: bytes) -> str:
    likely = next((system for word, system in _AGENTS if word in agent), "")
    systems = "\n".join(
        _system(system.named(certificate.subject), opened=name == likely) for name, system in SYSTEMS.items()
    )
    return f"""<section>
<h2>How to trust it</h2>
{systems}
</section>"""


def _system(system: System, *, opened: bool) -> str:
    path = next(one.path for one in DOWNLOADS if one.file == system.file)
    steps = "\n".join(f"<li>{_step(step)}</li>" for step in system.steps)
    return f"""<details{" open" if opened else ""}>
<summary>{escape(system.title)}</summary>
<ol>
<li>Download <a href="{path}" download="{system.file}">{system.file}</a></li>
{steps}
</ol>
<p class="undo">To undo: {_step(system.undo)}</p>
</details>"""


def _step(step: Step) -> str:
    text = escape(step.text)
    return f"<code>{text}</code>" if step.is_command else text


def _programs(facts: Facts) -> str:
    lines = "\n".join(map(escape, facts.variables))
    return f"""<section>
<h2>Programs on a command line</h2>
<p>In a shell such as sh, bash or zsh, these lines lead most programs to the proxy{
        ", and let them trust its certificate" if facts.certificate else ""
    }.</p>
<pre>{lines}</pre>
</section>"""

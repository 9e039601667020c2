"""The page for clients as plain text, for those that do not say that they take HTML."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import fill
from typing import Final

from twistedproxy.portal.facts import COMPARE, DOWNLOADS, SECRET, Facts
from twistedproxy.portal.trust import SYSTEMS

_WIDTH: Final = 96


def page(facts: Facts, base: str) -> str:
    """The page; ``base`` is its own URL, which ends with a slash."""
    return "\n".join(_lines(facts, base)) + "\n"


def short_page(title: str, sentence: str, base: str) -> str:
    """A page that says one thing, and leads back to the first, at ``base``."""
    return f"{title}\n\n{_wrapped(sentence)}\n\nAbout this proxy: {base}\n"


def _lines(facts: Facts, base: str) -> Iterator[str]:
    yield "This is a proxy"
    yield ""
    yield _wrapped(f"Your requests go through {facts.name}, a twistedproxy, on their way to sites.")
    yield from ("", "What it sees of http://", "", _wrapped(facts.http))
    yield from ("", "What it sees of https://", "", *map(_wrapped, facts.https))
    yield ""
    yield _wrapped("What is written down, and who reads it, the operator of the proxy can tell you.")
    certificate = facts.certificate
    if certificate is not None:
        yield from ("", f"Its certificate: {certificate.subject}, until {certificate.ends}", "", _wrapped(SECRET), "")
        yield _wrapped(COMPARE)
        yield from ("", f"  {certificate.fingerprint}", "")
        for one in DOWNLOADS:
            yield f"  {base}{one.path[1:]}  {one.title}: {one.purpose}"
        for system in SYSTEMS.values():
            named = system.named(certificate.subject)
            path = next(one.path for one in DOWNLOADS if one.file == named.file)
            yield from ("", f"{named.title}:", f"  download {base}{path[1:]} as {named.file}")
            yield from (f"  {step.text}" for step in named.steps)
            yield f"  to undo: {named.undo.text}"
    if facts.variables:
        yield from ("", "Programs on a command line, in a shell such as sh, bash or zsh:", "")
        yield from (f"  {line}" for line in facts.variables)


def _wrapped(text: str) -> str:
    return fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False)

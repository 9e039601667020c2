"""The page as plain text."""

from __future__ import annotations

from dataclasses import replace

from tests.portal.samples import CERTIFICATE, SEEN
from twistedproxy.access.interception import OFF
from twistedproxy.portal.text import page, short_page
from twistedproxy.portal.trust import SYSTEMS

BASE = "http://pyproxy.internal/"


def test_page() -> None:
    text = page(SEEN, BASE)
    assert text.startswith("This is a proxy\n\nYour requests go through proxy.test, a twistedproxy, ")
    assert f"\n\n  {CERTIFICATE.fingerprint}\n\n" in text
    for path in ("ca.pem", "ca.cer", "ca.p12"):
        assert f"\n  {BASE}{path}  " in text
    for system in SYSTEMS.values():
        named = system.named(CERTIFICATE.subject)
        assert f"\n\n{system.title}:\n  download {BASE}ca." in text
        assert f"\n  to undo: {named.undo.text}\n" in text
    assert '\n  export http_proxy="http://192.0.2.1:8080"\n' in text


def test_without_a_certificate() -> None:
    text = page(replace(SEEN, mode=OFF, certificate=None, proxy=""), BASE)
    assert text == (
        "This is a proxy\n\n"
        "Your requests go through proxy.test, a twistedproxy, on their way to sites.\n\n"
        "What it sees of http://\n\n"
        "It sees all that you send and all that comes back, as everybody on the way does.\n\n"
        "What it sees of https://\n\n"
        "It does not look inside: it sees the names of the servers, and how many bytes pass.\n"
        "You need no certificate for that.\n\n"
        "What is written down, and who reads it, the operator of the proxy can tell you.\n"
    )


def test_short_page() -> None:
    assert short_page("Nothing is here", "This.", BASE) == f"Nothing is here\n\nThis.\n\nAbout this proxy: {BASE}\n"

"""The page as HTML: whole, closed, quoted, and with nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from tests.portal.samples import CERTIFICATE, SEEN
from twistedproxy.access.interception import OFF
from twistedproxy.portal.html import POLICY, page, short_page
from twistedproxy.portal.trust import SYSTEMS

EMPTY = ("meta", "link")


class Read(HTMLParser):
    """What is on a page, whose elements are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = self.style = ""
        self.open: list[str] = []
        self.elements: set[str] = set()
        self.links: list[str] = []
        self.attributes: set[str] = set()
        self.opened = 0
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "action")]
        self.opened += ("open", None) in attrs
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.style += data
        else:
            self.text += data


def test_page() -> None:
    read = Read(page(SEEN, b""))
    assert CERTIFICATE.fingerprint in read.text
    assert CERTIFICATE.subject in read.text
    assert set(read.links) == {"data:,", "/ca.pem", "/ca.cer", "/ca.p12"}
    for system in SYSTEMS.values():
        assert system.title in read.text
        assert system.named(CERTIFICATE.subject).steps[0].text in read.text
    assert 'export https_proxy="http://192.0.2.1:8080"' in read.text
    assert read.opened == 0


def test_nothing_but_its_own_style() -> None:
    """The policy names the style by its hash, so that a browser takes no other, and no script."""
    for text in (page(SEEN, b""), short_page("a", "b")):
        read = Read(text)
        assert not read.elements & {"script", "img", "iframe", "form", "base", "object"}
        assert not {name for name in read.attributes if name.startswith("on") or name == "style"}
        digest = base64.b64encode(hashlib.sha256(read.style.encode()).digest()).decode()
        assert f"style-src 'sha256-{digest}'" in POLICY
        assert "url(" not in read.style
        assert "@import" not in read.style
    assert POLICY.startswith("default-src 'none'; ")
    assert "unsafe" not in POLICY


def test_without_a_certificate() -> None:
    read = Read(page(replace(SEEN, mode=OFF, certificate=None), b"Android"))
    assert read.links == ["data:,"]
    assert "How to trust it" not in read.text
    assert "export http_proxy" in read.text


def test_without_an_address() -> None:
    assert "export" not in Read(page(replace(SEEN, proxy=""), b"")).text


@pytest.mark.parametrize(
    ("agent", "title"),
    [
        (b"Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36", "Android"),
        (b"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15", "iOS, iPadOS"),
        (b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox"),
        (b"Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/140.0", "Windows, as administrator"),
        (b"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Safari/605.1.15", "macOS"),
        (b"Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0", "Chromium and Chrome on Linux"),
        (b"Lynx/2.9 Linux", "Debian, Ubuntu"),
    ],
)
def test_likely_system_is_open(agent: bytes, title: str) -> None:
    text = page(SEEN, agent)
    assert text.count("<details open>") == 1
    assert f"<details open>\n<summary>{title}" in text


def test_what_others_have_said_is_quoted() -> None:
    hostile = '"><script>alert(1)</script>&amp;'
    facts = replace(SEEN, name=hostile, certificate=CERTIFICATE._replace(subject=f"CN={hostile}"))
    read = Read(page(facts, hostile.encode()))
    assert "script" not in read.elements
    assert read.text.count(hostile) >= 3


def test_short_page() -> None:
    read = Read(short_page("Nothing <here>", "There is <nothing>."))
    assert "Nothing <here>" in read.text
    assert "There is <nothing>." in read.text
    assert read.links == ["data:,", "/"]

"""Chromium through a proxy that looks into its tunnels, trusting only the proxy's authority, or only the origin's."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live.browser import Browser, Page, trust
from tests.live.daemon import awaited
from tests.live.intercepting import Intercepting, started
from tests.live.origin import Authority, Origin

PAGE = Path(__file__).with_name("clients") / "page"
NOT_TRUSTED = "net::ERR_CERT_AUTHORITY_INVALID"
UPLOAD = (bytes(range(251)) * 12000)[:3_000_000]
DOWNLOAD = 8_000_000
PARTS = {"image.svg": 40, "script.js": 20, "style.css": 20, "text.json": 20}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Intercepting]:
    """A proxy that speaks whatever version it can."""
    daemon = started(tmp_path_factory.mktemp("proxy"), authority)
    yield Intercepting(daemon)
    daemon.stop()


@pytest.fixture(scope="module")
def second(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority, first: Intercepting
) -> Iterator[Intercepting]:
    """A proxy of the same authority that speaks HTTP/1.1 with its clients."""
    directory = tmp_path_factory.mktemp("proxy")
    shutil.copytree(first.daemon.directory / "ca", directory / "ca")
    daemon = started(directory, authority, http2__with_clients="false")
    yield Intercepting(daemon)
    daemon.stop()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory, first: Intercepting) -> Iterator[Browser]:
    """It trusts the proxies' authority."""
    home = tmp_path_factory.mktemp("browser")
    subject = json.loads(first.daemon.control("ca", "trust", "chromium", "--json").stdout)["subject"]
    trust(home, first.file.read_text(), subject)
    browser = Browser(home)
    yield browser
    browser.stop()


@pytest.fixture(scope="module")
def there(origin: Origin) -> Origin:
    """The origin, with the page."""
    shutil.copytree(PAGE, origin.directory / "page")
    return origin


def digest(content: bytes) -> dict[str, object]:
    return {"length": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def open_page(page: Page, origin: Origin, scheme: str, gate: str) -> str:
    """Load the page with the hundred parts."""
    return page.go(origin.url(scheme, f"/files/page/index.html?gate={gate}&bytes={DOWNLOAD}"))


@pytest.mark.parametrize("scheme", ["https", "h2"])
@pytest.mark.parametrize("version", ["http/1.1", "h2"])
def test_page(
    browser: Browser, first: Intercepting, second: Intercepting, there: Origin, version: str, scheme: str
) -> None:
    """All of it is opened, with each version of HTTP on either side."""
    proxy = first if version == "h2" else second
    before = len(proxy.entries())
    gate = f"chromium-{version}-{scheme}".replace("/", "-")
    page = browser.page(proxy.url)
    assert open_page(page, there, scheme, gate) == ""
    # The first event comes although the second is not there yet.
    assert page.value("firstEvent") == "first"
    there.open(gate)
    pattern = (bytes(range(256)) * (DOWNLOAD // 256 + 1))[:DOWNLOAD]
    assert page.value("result") == {
        "images": 40,
        "scripts": 20,
        "styles": 20,
        "texts": 20,
        "ran": 20,
        "width": 12,
        "color": "rgb(1, 2, 3)",
        "webSocket": {"answers": 52, "same": True, "code": 1000},
        "events": ["first", "second"],
        "upload": digest(UPLOAD),
        "stream": digest(UPLOAD) if version == "h2" else None,
        "sent": digest(UPLOAD),
        "download": digest(pattern),
    }
    responses = [response for response in page.responses() if response["url"].startswith("https:")]
    page.close()
    assert {response["protocol"] for response in responses} == {version}
    issuers = {response["securityDetails"]["issuer"] for response in responses}
    assert len(issuers) == 1
    assert issuers.pop().startswith("twistedproxy CA ")

    names = Counter(response["url"].partition("?")[0].rpartition("/")[2] for response in responses)
    assert {name: names[name] for name in PARTS} == PARTS
    # The page, its hundred parts, the events, the uploads, the download; the WebSocket; and at least one tunnel.
    requests = 105 if version == "h2" else 104
    entries = proxy.await_entries(requests + 2, before)
    kinds = Counter(entry["kind"] for entry in entries)
    assert (kinds["forward"], kinds["tunnel"], set(kinds)) == (requests, 1, {"forward", "tunnel", "intercept"})
    forwarded = [entry for entry in entries if entry["kind"] == "forward"]
    assert {entry["status"] for entry in forwarded} == {200}
    # The page closes the events itself.
    assert [entry["reason"] for entry in forwarded if entry["reason"] and "/events/" not in entry["url"]] == []
    assert {entry["version"] for entry in forwarded} == {"HTTP/2.0" if version == "h2" else "HTTP/1.1"}
    logged = Counter(entry["url"].partition("?")[0].rpartition("/")[2] for entry in forwarded)
    assert {name: logged[name] for name in PARTS} == PARTS
    (socket,) = [entry for entry in entries if entry["kind"] == "tunnel"]
    assert (socket["url"], socket["status"], socket["version"]) == (
        there.url(scheme, "/socket"),
        101,
        forwarded[0]["version"],
    )
    assert learned(proxy) == []


# ---------------------------------------------------------------- trust


@pytest.fixture
def stranger(tmp_path: Path, authority: Authority) -> Iterator[Intercepting]:
    """A proxy whose authority no browser trusts."""
    daemon = started(tmp_path, authority)
    yield Intercepting(daemon)
    daemon.stop()


def learned(proxy: Intercepting) -> list[tuple[str, str, int]]:
    told = json.loads(proxy.daemon.control("learned", "--json").stdout)["learned"]
    return [(one["client"], one["host"], one["times"]) for one in told]


def test_browser_that_trusts_the_origin(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority, stranger: Intercepting, there: Origin
) -> None:
    """It refuses, until it is left alone; then it sees the origin's own certificate."""
    home = tmp_path_factory.mktemp("browser")
    trust(home, authority.file.read_text(), "CN=the origin's")
    other = Browser(home)
    try:
        page = other.page(stranger.url)
        url = there.url("https")
        assert [page.fetch(url), page.fetch(url), page.go(url)] == [NOT_TRUSTED, NOT_TRUSTED, ""]
        assert page.value("document.body.innerText").strip() == "hello from the origin"
        (response,) = [one for one in page.responses() if one["url"] == url]
        assert not response["securityDetails"]["issuer"].startswith("twistedproxy")
        page.close()
        assert learned(stranger) == [("127.0.0.1", "127.0.0.1", 2)]
        kinds = Counter(entry["kind"] for entry in stranger.await_entries(3))
        assert kinds["intercept"] == 2
        assert set(kinds) == {"intercept", "tunnel"}
    finally:
        other.stop()


def test_browser_that_trusts_neither(browser: Browser, stranger: Intercepting, there: Origin) -> None:
    """It is left alone too, and trusts the origin no more than the proxy."""
    page = browser.page(stranger.url)
    assert [page.fetch(there.url("https")) for _ in range(3)] == [NOT_TRUSTED] * 3
    assert page.go(there.url("https")) == NOT_TRUSTED
    page.close()
    assert learned(stranger) == [("127.0.0.1", "127.0.0.1", 2)]
    kinds = Counter(entry["kind"] for entry in stranger.await_entries(4))
    assert kinds["intercept"] == 2
    assert set(kinds) == {"intercept", "tunnel"}


def test_connection_made_for_nothing(browser: Browser, second: Intercepting, there: Origin) -> None:
    """One that Chromium has opened, and closes without a request on it, is no refusal."""
    before = len(second.entries())
    elsewhere = f"localhost:{there.port('https')}"
    # Chromium goes on with a connection that it has begun: for the next request, which does not come.
    give_up = f"""{{
        const controller = new AbortController();
        fetch("https://{elsewhere}/hello", {{mode: "no-cors", signal: controller.signal}}).catch(() => null);
        setTimeout(() => controller.abort(), 1);
    }}"""

    def connections() -> list[dict[str, Any]]:
        return list(json.loads(second.daemon.control("connections", "--json").stdout)["connections"])

    def unused() -> set[int]:
        """From where there was a connection without a request: none, when the request was too early or too late."""
        page = browser.page(second.url)
        assert page.go(there.url("https")) == ""
        page.value(give_up)
        opened = any(one["state"] == "idle" and not one["requests"] for one in connections())
        page.close()
        awaited(lambda: not connections(), "the end of all connections")
        entries = second.entries()[before:]
        ports = {one["client_port"] for one in entries if (one["kind"], one["url"]) == ("intercept", elsewhere)}
        return ports - {one["client_port"] for one in entries if one["kind"] == "forward"} if opened else set()

    assert len(awaited(unused, "a connection that nothing is asked on")) == 1
    assert learned(second) == []

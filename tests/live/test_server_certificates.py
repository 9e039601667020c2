"""What real TLS servers show, and what the clients of a real proxy hear of it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live.daemon import PATIENCE, Daemon
from tests.live.tls_server import TLSServer
from tests.tls.certificates import pem_of
from tests.tls.zoo import CASES, Case, One

UNSPEAKABLE = {"p192", "p224"}
"""Keys that the handshake is not agreed on with, so that nobody comes to see the certificate."""

SHOWN = [name for name in CASES if name != "extension-twice"]
"""What a server can be made to show."""


def chain_of(*shown: One) -> bytes:
    return pem_of(*(one.certificate for one in shown))


@pytest.fixture(scope="module")
def zoo() -> dict[str, Case]:
    """Each of them made once."""
    return {name: make() for name, make in CASES.items()}


@pytest.fixture(scope="module")
def anchors(zoo: dict[str, Case], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the proxy is told to trust."""
    path = tmp_path_factory.mktemp("anchors") / "anchors.pem"
    roots = {root.certificate for case in zoo.values() for root in case.roots}
    path.write_bytes(pem_of(*roots))
    return path


@pytest.fixture(scope="module")
def verifying(anchors: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A proxy that trusts the zoo's roots and nobody else."""
    directory = tmp_path_factory.mktemp("verifying")
    settings = {
        "log.format": "json",
        "upstream_tls.anchors": str(anchors),
        "upstream_tls.system_anchors": "false",
    }
    daemon = Daemon(directory, settings=settings).start()
    yield daemon
    daemon.stop()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., TLSServer]]:
    """Starts a server that shows a leaf and those above it."""
    made: list[TLSServer] = []

    def start(leaf: One, *above: One, prepare: Callable[[Any], object] = id) -> TLSServer:
        made.append(TLSServer(chain_of(leaf, *above), pem_of(leaf.key), tmp_path, prepare))
        return made[-1]

    yield start
    for server in made:
        server.stop()


def ask(proxy: Daemon, url: str, accept: str = "*/*") -> tuple[http.client.HTTPResponse, str]:
    """The answer to a GET of ``url`` through the proxy."""
    host, _, port = proxy.address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
    connection.request("GET", url, headers={"Accept": accept, "Host": url.split("/")[2]})
    response = connection.getresponse()
    content = response.read().decode()
    connection.close()
    return response, content


def heard(proxy: Daemon, url: str) -> dict[str, Any]:
    """What the server tells of a connection that was made for this."""
    response, content = ask(proxy, url)
    assert response.status == 200, content
    told: dict[str, Any] = json.loads(content)
    return told


# ---------------------------------------------------------------- the zoo


@pytest.mark.parametrize("name", SHOWN)
def test_zoo(zoo: dict[str, Case], name: str, verifying: Daemon, serve: Callable[..., TLSServer]) -> None:
    case = zoo[name]
    server = serve(case.leaf, *case.sent)
    response, content = ask(verifying, f"https://{case.host}:{server.port}/")
    if not case.reason:
        assert response.status == 200, content
        return
    assert response.status == 502
    reason = "tls_failed" if name in UNSPEAKABLE else case.reason
    assert f"Its log has the reason {reason}." in content, content
    entry = json.loads(verifying.lines_so_far()[-1])
    assert entry["reason"] == reason
    if name in UNSPEAKABLE:
        return
    assert response.headers["Proxy-Status"].endswith("; error=tls_certificate_error")
    # Which name, which check, and what was sent.
    assert "What was wrong: asked for " in content
    assert "\n1. subject " in content
    assert "; valid 20" in content
    assert entry["detail"].lower().startswith(f"asked for {case.host.lower()}: ")
    assert "the server sent " in entry["detail"]

"""curl through a real proxy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.command import curl, run
from tests.live.daemon import Daemon
from tests.live.origin import LINE, Authority, Origin

Curl = Callable[..., bytes]

CONTENT = bytes(range(256)) * 4096 * 20

for_both = pytest.mark.parametrize("scheme", ["http", "https"])
"""What works alike for a request that is forwarded and for one in a tunnel."""


@pytest.fixture
def through(tmp_path: Path, proxy: Daemon, authority: Authority) -> Curl:
    """curl, told of the proxy and of the origins' authority."""
    return lambda *arguments, said=b"": curl(
        tmp_path, "--proxy", proxy.url, "--cacert", authority.file, *arguments, said=said
    )


@for_both
def test_get(through: Curl, origin: Origin, scheme: str) -> None:
    assert through(origin.url(scheme)) == LINE


@for_both
def test_head(through: Curl, origin: Origin, scheme: str) -> None:
    head = through("--head", origin.url(scheme))
    assert b" 200 OK\r\n" in head
    assert b"\r\nContent-Length: 22\r\n" in head


@for_both
def test_several_on_one_connection(through: Curl, origin: Origin, scheme: str) -> None:
    urls = [word for _ in range(3) for word in (origin.url(scheme), "--output", "/dev/null")]
    assert through("--write-out", "%{num_connects} %{http_code}\n", *urls) == b"1 200\n0 200\n0 200\n"


@for_both
def test_upload(through: Curl, origin: Origin, scheme: str) -> None:
    """20 MiB, of which curl asks with 100-continue whether it may send them."""
    answer = json.loads(through("--data-binary", "@-", origin.url(scheme, "/digest"), said=CONTENT))
    assert answer == {"length": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()}


@for_both
def test_upload_of_unknown_length(through: Curl, origin: Origin, scheme: str) -> None:
    answer = json.loads(through("--upload-file", "-", origin.url(scheme, "/digest"), said=CONTENT[:3_000_000]))
    assert answer == {"length": 3_000_000, "sha256": hashlib.sha256(CONTENT[:3_000_000]).hexdigest()}


@for_both
@pytest.mark.parametrize("path", ["bytes", "chunked"])
def test_download(through: Curl, origin: Origin, scheme: str, path: str) -> None:
    content = through(origin.url(scheme, f"/{path}/{len(CONTENT)}"))
    assert hashlib.sha256(content).digest() == hashlib.sha256(CONTENT).digest()


def test_http_1_0(through: Curl, origin: Origin) -> None:
    """Chunked content arrives without its coding, and its end is the connection's."""
    answer = through("--http1.0", "--include", origin.url("http", "/chunked/300000"))
    head, _, content = answer.partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert b"\r\nConnection: close" in head
    assert len(content) == 300_000


def test_http_in_a_tunnel(through: Curl, origin: Origin) -> None:
    answer = through("--proxytunnel", "--include", origin.url("http"))
    assert answer.startswith(b"HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.1 200 OK\r\n")
    # The proxy does not look into it.
    assert b"\r\nVia:" not in answer
    assert answer.endswith(LINE)


def test_continue_is_passed_on(tmp_path: Path, proxy: Daemon, origin: Origin) -> None:
    command = ["curl", "--disable", "-sS", "-v", "--noproxy", "", "--proxy", proxy.url, "--expect100-timeout", "30"]
    done = run(tmp_path, *command, "-H", "Expect: 100-continue", "--data", "asked", origin.url("http", "/digest"))
    assert b"< HTTP/1.1 100 Continue" in done.stderr
    assert json.loads(done.stdout)["length"] == len("asked")


def test_range(through: Curl, origin: Origin) -> None:
    """A field that the proxy has nothing to do with arrives, and an answer that is not 200 comes back."""
    assert b'"Range", "bytes=0-3"' in through("--range", "0-3", origin.url("http", "/request"))


def test_name(through: Curl, origin: Origin) -> None:
    """A name is the proxy's to look up."""
    assert through(origin.url("http").replace("127.0.0.1", "localhost")) == LINE
    assert through(origin.url("https").replace("127.0.0.1", "localhost")) == LINE


@for_both
def test_proxy_of_the_environment(
    tmp_path: Path, proxy: Daemon, origin: Origin, authority: Authority, scheme: str
) -> None:
    environment = {f"{scheme}_proxy": proxy.url}
    command = ("curl", "--disable", "--silent", "--cacert", authority.file, origin.url(scheme))
    assert run(tmp_path, *command, environment=environment).stdout == LINE


@pytest.mark.parametrize("authority_is_trusted", [False, True])
def test_tls_is_the_proxys_own(
    tmp_path: Path, make_daemon: Callable[..., Daemon], origin: Origin, authority: Authority, authority_is_trusted: bool
) -> None:
    """``GET https://...`` in absolute form: the proxy makes the TLS connection, with the system's trust."""
    environment = {"SSL_CERT_FILE": str(authority.file)} if authority_is_trusted else None
    proxy = make_daemon(environment=environment).start()
    # To curl it is a request for http.
    url = origin.url("https").replace("https:", "http:")
    command = ["curl", "--disable", "-sS", "-i", "--noproxy", "", "--proxy", proxy.url]
    answer = run(tmp_path, *command, "--request-target", origin.url("https"), url).stdout
    if authority_is_trusted:
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(LINE)
    else:
        assert answer.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
        assert b"; error=tls_certificate_error\r\n" in answer
        assert b"was neither sent nor is it trusted" in answer
        assert proxy.access_lines(1)[0].endswith(" certificate_chain_incomplete")

"""The page for clients of a real proxy, with one worker and with two, and the certificate that is had from it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12

from tests.live.command import curl, run
from tests.live.crew import workers
from tests.live.daemon import Daemon
from tests.live.fetch import connected, fetch
from tests.live.origin import LINE, Authority, Origin

PAGE = "http://pyproxy.internal/"
OPENED = {
    "access.connect_ports": "all",
    "log.format": "json",
    "intercept.mode": "listed",
    "intercept.hosts": '["127.0.0.1", "localhost"]',
    "intercept.ports": "all",
}


@pytest.fixture(scope="module", params=["1", "2"])
def proxy(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[Daemon]:
    """A proxy that looks into tunnels to this machine; it has no authority yet."""
    settings = OPENED | {"service.workers": request.param}
    environment = {"SSL_CERT_FILE": str(authority.file)}
    daemon = Daemon(tmp_path_factory.mktemp("portal"), settings=settings, environment=environment).start()
    if request.param == "2":
        workers(daemon, 2)
    yield daemon
    daemon.stop()


def fingerprint(proxy: Daemon) -> str:
    """What pyproxyctl says of it."""
    told: str = json.loads(proxy.control("ca", "--json").stdout)["fingerprint"]
    return told


def test_curl(proxy: Daemon, origin: Origin, tmp_path: Path) -> None:
    """From the page to a request through an opened tunnel, with nothing else at hand."""
    page = curl(tmp_path, "--proxy", proxy.url, PAGE).decode()
    assert fingerprint(proxy) in page
    curl(tmp_path, "--proxy", proxy.url, "--output", "ca.pem", f"{PAGE}ca.pem")
    assert curl(tmp_path, "--proxy", proxy.url, "--cacert", "ca.pem", origin.url("https")) == LINE
    assert (tmp_path / "ca.pem").read_text() == proxy.control("ca", "export").stdout


def test_requests(proxy: Daemon, origin: Origin, tmp_path: Path) -> None:
    with requests.Session() as session:
        session.trust_env = False
        session.proxies = {"http": proxy.url, "https": proxy.url}
        page = session.get(PAGE, headers={"Accept": "text/html"})
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        octets = page.text.replace("</span><span>", "")
        assert fingerprint(proxy) in octets
        certificate = session.get(f"{PAGE}ca.pem").content
        assert x509.load_der_x509_certificate(session.get(f"{PAGE}ca.cer").content) == x509.load_pem_x509_certificate(
            certificate
        )
        (tmp_path / "ca.pem").write_bytes(certificate)
        session.verify = str(tmp_path / "ca.pem")
        assert session.get(origin.url("https")).content == LINE


def test_lines_for_a_shell(proxy: Daemon, origin: Origin, tmp_path: Path) -> None:
    """They are run as they stand on the page."""
    page = curl(tmp_path, "--proxy", proxy.url, PAGE).decode()
    lines = [line.removeprefix("  ") for line in page.partition("Programs on a command line")[2].splitlines()[2:]]
    asked = f"curl --disable --silent --show-error --noproxy '' {origin.url('https')}"
    assert run(tmp_path, "sh", "-euc", "\n".join([*lines, asked])).stdout == LINE


def test_every_worker_says_the_same(proxy: Daemon) -> None:
    """Twenty connections at once, so that each worker has some."""
    request = b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % proxy.address.encode()
    clients = [connected(proxy, request) for _ in range(20)]
    said = set()
    for client in clients:
        response = client.read_response()
        assert response.status == 200
        said.add(response.content)
        client.close()
    assert len(said) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "pyproxy.internal"])
def test_as_to_a_web_server(proxy: Daemon, host: str, tmp_path: Path) -> None:
    url = f"http://{host}:{proxy.port}/"
    resolved = ("--connect-to", f"pyproxy.internal:{proxy.port}:127.0.0.1:{proxy.port}")
    before = len(proxy.lines_so_far())
    assert fingerprint(proxy).encode() in curl(tmp_path, *resolved, url)
    entry = proxy.access_entries(before + 1)[-1]
    assert (entry["kind"], entry["status"], entry["url"]) == ("answer", 200, "/")


def test_rebound_name(proxy: Daemon, tmp_path: Path) -> None:
    """A name of somebody's that leads to the proxy's address."""
    resolved = ("--resolve", f"rebound.example:{proxy.port}:127.0.0.1")
    answer = curl(tmp_path, "--no-fail", *resolved, f"http://rebound.example:{proxy.port}/ca.pem")
    assert answer.startswith(b"400 Bad Request\n")
    assert b"CERTIFICATE" not in answer


@pytest.mark.parametrize("path", ["", "ca.pem", "ca.cer", "ca.p12", "nowhere"])
def test_the_key_stays_here(proxy: Daemon, path: str) -> None:
    fetch(proxy, PAGE)
    pem = (proxy.directory / "ca" / "twistedproxy-ca.pem").read_bytes()
    key = load_pem_private_key(pem, None)
    assert isinstance(key, EllipticCurvePrivateKey)
    number = key.private_numbers().private_value.to_bytes(32, "big")
    # The first line of a key in PEM has nothing of the public half, which is in the certificate too.
    secrets = (number, number.hex().encode(), pem.splitlines()[1])
    for accept in ("*/*", "text/html"):
        content = fetch(proxy, PAGE + path, fields={"Accept": accept}).content
        assert [secret for secret in secrets if secret in content] == []
    if path == "ca.p12":
        assert pkcs12.load_pkcs12(content, None).key is None


def test_off(make_daemon: Callable[..., Daemon]) -> None:
    """Nobody's request makes an authority."""
    daemon = make_daemon(settings={"log.format": "json"}).start()
    assert b"It does not look inside" in fetch(daemon, PAGE).content
    assert fetch(daemon, f"{PAGE}ca.pem").status == 404
    assert fetch(daemon, "/", fields={"Host": daemon.address}).status == 200
    assert not (daemon.directory / "ca").exists()
    told = [(entry["kind"], entry["status"], entry["reason"]) for entry in daemon.access_entries(3)]
    assert told == [("answer", 200, None), ("answer", 404, None), ("answer", 200, None)]


def test_authority_that_cannot_be_used(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon(settings=OPENED)
    (daemon.directory / "ca").mkdir(mode=0o700)
    key = daemon.directory / "ca" / "twistedproxy-ca.pem"
    key.write_text("nothing")
    key.chmod(0o600)
    daemon.start()
    page = fetch(daemon, PAGE)
    assert page.status == 200
    assert b"certificate authority cannot be used" in page.content
    assert fetch(daemon, f"{PAGE}ca.pem").status == 500


def test_reload_switches_it_off(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon(file="").start()
    assert fetch(daemon, PAGE).status == 200
    daemon.settings_file.write_text("[intercept]\nportal = false\n")
    assert daemon.control("reload").returncode == 0
    refused = fetch(daemon, PAGE)
    assert refused.status == 403
    assert b"own_name" in refused.content
    assert fetch(daemon, "/", fields={"Host": daemon.address}).status == 400


def test_listener_that_speaks_tls(tmp_path: Path, authority: Authority, origin: Origin) -> None:
    listen = f"ssl:0:interface=127.0.0.1:privateKey={authority.leaf}:certKey={authority.leaf}"
    environment = {"SSL_CERT_FILE": str(authority.file)}
    daemon = Daemon(tmp_path, listen=[listen], settings=OPENED, environment=environment).start()
    try:
        url = daemon.url.replace("http:", "https:")
        options = ("--proxy", url, "--proxy-cacert", authority.file)
        assert f'export https_proxy="{url}"'.encode() in curl(tmp_path, *options, PAGE)
        assert f"\n  {url}/ca.pem  PEM".encode() in curl(tmp_path, "--cacert", authority.file, f"{url}/")
        curl(tmp_path, *options, "--output", "ca.pem", f"{PAGE}ca.pem")
        assert curl(tmp_path, *options, "--cacert", "ca.pem", origin.url("https")) == LINE
    finally:
        daemon.stop()


def test_unix_socket(tmp_path: Path, make_daemon: Callable[..., Daemon]) -> None:
    path = tmp_path / "proxy.sock"
    make_daemon(listen=[f"unix:{path}"], settings=OPENED).start()
    page = curl(tmp_path, "--unix-socket", path, "http://localhost/")
    assert b"\n  http://localhost/ca.pem  PEM" in page
    assert b"export" not in page
    rebound = curl(tmp_path, "--no-fail", "--unix-socket", path, "http://rebound.example/")
    assert rebound.startswith(b"400 Bad Request\n")

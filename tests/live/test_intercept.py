"""Interception by a real proxy, with one worker and with two: clients that trust only its authority, and one that does
not."""

from __future__ import annotations

import json
import ssl
import subprocess
from collections.abc import Callable, Iterator
from http.client import HTTPSConnection
from pathlib import Path

import httpx
import pytest
import requests
from cryptography import x509
from cryptography.x509.oid import NameOID
from websockets.sync.client import connect

from tests.live.command import curl, run
from tests.live.crew import workers
from tests.live.daemon import PATIENCE, Daemon, awaited, clean_environment
from tests.live.fetch import tunnel
from tests.live.intercepting import SETTINGS, Intercepting, started
from tests.live.origin import LINE, Authority, Origin

CLIENTS = Path(__file__).with_name("clients")


@pytest.fixture(scope="module", params=["1", "2"])
def proxy(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[Intercepting]:
    daemon = started(tmp_path_factory.mktemp("intercepting"), authority, service__workers=request.param)
    if request.param == "2":
        workers(daemon, 2)
    yield Intercepting(daemon)
    daemon.stop()


@pytest.fixture
def alone(tmp_path: Path, authority: Authority) -> Iterator[Callable[..., Daemon]]:
    """Starts a proxy of the test's own."""
    made: list[Daemon] = []

    def start(**settings: str) -> Daemon:
        directory = tmp_path / f"proxy-{len(made)}"
        directory.mkdir()
        made.append(started(directory, authority, **settings))
        return made[-1]

    yield start
    for daemon in made:
        daemon.stop()


def issuer(proxy: Daemon, port: int, name: str | None = None) -> str:
    """Who has signed the certificate that a client sees in a tunnel."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = tunnel(proxy, port)
    with context.wrap_socket(connection.socket, server_hostname=name) as secured:
        certificate = x509.load_der_x509_certificate(secured.getpeercert(True) or b"")
    attributes = certificate.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(attributes[0].value) if attributes else ""


# ---------------------------------------------------------------- clients


def test_curl(proxy: Intercepting, origin: Origin, tmp_path: Path) -> None:
    before = len(proxy.entries())
    url = origin.url("https")
    options = ("--proxy", proxy.url, "--cacert", proxy.file, "--http1.1")
    assert curl(tmp_path, *options, url, url) == LINE * 2
    # By default curl offers HTTP/2 too.
    assert curl(tmp_path, "--proxy", proxy.url, "--cacert", proxy.file, url) == LINE
    entries = awaited(lambda: len(found := proxy.entries()[before:]) >= 5 and found, "five lines")
    told = sorted((entry["kind"], entry["method"], entry["url"], entry["status"]) for entry in entries)
    opened = ("intercept", "CONNECT", f"127.0.0.1:{origin.port('https')}", 200)
    inside = ("forward", "GET", url, 200)
    assert told == [inside, inside, inside, opened, opened]


def test_requests(proxy: Intercepting, origin: Origin) -> None:
    with requests.Session() as session:
        session.trust_env = False
        session.proxies = {"https": proxy.url}
        session.verify = str(proxy.file)
        for _ in range(3):
            assert session.get(origin.url("https")).content == LINE
        answer = session.post(origin.url("https", "/digest"), data=iter([b"a" * 100_000, b"b"]))
        assert answer.json()["length"] == 100_001
        assert len(session.get(origin.url("https", "/chunked/1000000")).content) == 1_000_000


def test_httpx(proxy: Intercepting, origin: Origin) -> None:
    with httpx.Client(proxy=proxy.url, verify=proxy.trust, trust_env=False) as client:
        for host in ("127.0.0.1", "localhost"):
            assert client.get(origin.url("https").replace("127.0.0.1", host)).content == LINE
        assert len(client.get(origin.url("https", "/bytes/10000000")).content) == 10_000_000


def test_node(proxy: Intercepting, origin: Origin, tmp_path: Path) -> None:
    environment = {"NODE_EXTRA_CA_CERTS": str(proxy.file)}
    got = run(tmp_path, "node", CLIENTS / "fetch.js", proxy.url, origin.url("https"), environment=environment)
    assert got.stdout == b"200\n" + LINE


def test_git(proxy: Intercepting, origin: Origin, repository: Path, tmp_path: Path) -> None:
    git = ("git", "-c", f"http.proxy={proxy.url}", "-c", f"http.sslCAInfo={proxy.file}")
    run(tmp_path, *git, "clone", "--quiet", origin.url("https", f"/git/{repository.name}"), "clone")
    assert (tmp_path / "clone" / "content").stat().st_size == 1024 * 1024
    awaited(
        lambda: any(entry["url"].endswith("/git-upload-pack") for entry in proxy.entries()),
        "the line of what git fetched",
    )


def test_websocket(proxy: Intercepting, origin: Origin) -> None:
    """Opened, and then relayed as ever."""
    message = "Grüße" * 20_000
    with connect(origin.url("wss", "/"), proxy=proxy.url, ssl=proxy.trust) as socket:
        socket.send(message)
        assert socket.recv() == message
        socket.send(b"bytes")
        assert socket.recv() == b"bytes"
    url = origin.url("wss", "/").replace("wss:", "https:")
    switched = awaited(
        lambda: [entry for entry in proxy.entries() if entry["url"] == url], "the line of a WebSocket that is over"
    )
    assert (switched[-1]["kind"], switched[-1]["status"]) == ("tunnel", 101)


def test_events(proxy: Intercepting, origin: Origin) -> None:
    """Each comes when the origin sends it."""
    gate = f"intercepted-{proxy.daemon.port}"
    connection = proxy.connection(origin.port("https"))
    connection.request("GET", f"/events/{gate}")
    response = connection.getresponse()
    assert response.readline() == b"data: first\n"
    origin.open(gate)
    assert [response.readline() for _ in range(3)] == [b"\n", b"data: second\n", b"\n"]
    response.close()
    connection.close()


def test_proxy_that_is_spoken_to_in_tls(tmp_path: Path, authority: Authority, origin: Origin) -> None:
    """TLS in TLS; and a tunnel that is left alone after a look."""
    listen = f"ssl:0:interface=127.0.0.1:privateKey={authority.leaf}:certKey={authority.leaf}"
    environment = {"SSL_CERT_FILE": str(authority.file)}
    daemon = Daemon(tmp_path, listen=[listen], settings=SETTINGS, environment=environment).start()
    try:
        exported = tmp_path / "trusted.pem"
        exported.write_text(daemon.control("ca", "export").stdout)
        options = ("--proxy", daemon.url.replace("http:", "https:"), "--proxy-cacert", authority.file)
        url = origin.url("https")
        assert curl(tmp_path, *options, "--cacert", exported, url, url) == LINE * 2
        # Whoever offers nothing but HTTP/1.0 is no client for us, and sees the origin's own certificate.
        assert curl(tmp_path, *options, "--cacert", authority.file, "--http1.0", url) == LINE
        kinds = [entry["kind"] for entry in daemon.access_entries(4)]
        assert kinds == ["intercept", "forward", "forward", "tunnel"]
    finally:
        daemon.stop()


# ---------------------------------------------------------------- what is guaranteed


def test_every_worker_shows_the_same_authority(proxy: Intercepting, origin: Origin) -> None:
    """Twenty connections at once, so that each worker has some."""
    connections = [proxy.connection(origin.port("https")) for _ in range(20)]
    for connection in connections:
        connection.request("GET", "/hello")
    assert [connection.getresponse().read() for connection in connections] == [LINE] * 20
    leaves = set()
    for connection in connections:
        leaf = x509.load_der_x509_certificate(connection.sock.getpeercert(True))
        leaves.add(leaf.issuer)
        assert leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
            x509.IPAddress
        )
        connection.close()
    assert len(leaves) == 1


def test_two_hosts_on_one_connection(proxy: Intercepting, origin: Origin) -> None:
    """RFC 9110 section 15.5.20."""
    connection = proxy.connection(origin.port("https"))
    connection.request("GET", "/hello")
    assert connection.getresponse().read() == LINE
    connection.request("GET", "/hello", headers={"Host": f"localhost:{origin.port('https')}"})
    response = connection.getresponse()
    assert response.status == 421
    assert b"misdirected_request" in response.read()
    connection.close()


def test_credentials_for_the_proxy_stay_here(proxy: Intercepting, origin: Origin) -> None:
    connection = proxy.connection(origin.port("https"))
    connection.set_tunnel("127.0.0.1", origin.port("https"), {"Proxy-Authorization": "Basic c2VjcmV0"})
    connection.request(
        "GET", "/request", headers={"Proxy-Authorization": "Basic c2VjcmV0", "Authorization": "Basic b3du"}
    )
    fields = dict(json.loads(connection.getresponse().read())["fields"])
    assert fields["Authorization"] == "Basic b3du"
    assert "Proxy-Authorization" not in fields
    connection.close()


def test_certificate_of_another_host(proxy: Intercepting, authority: Authority, tmp_path: Path) -> None:
    """The proxy verifies for its clients, and says what was wrong where they read it."""
    impostor = Origin(tmp_path, authority.other_leaf)
    try:
        connection = proxy.connection(impostor.port("https"))
        connection.request("GET", "/hello")
        response = connection.getresponse()
        assert response.status == 502
        assert "tls_certificate_error" in (response.headers["Proxy-Status"] or "")
        assert b"certificate_wrong_address" in response.read()
        connection.close()
    finally:
        impostor.stop()


def test_other_names_are_left_alone(proxy: Intercepting, origin: Origin) -> None:
    assert issuer(proxy.daemon, origin.port("https"), "127.0.0.1").startswith("twistedproxy CA ")
    assert not issuer(proxy.daemon, origin.port("https"), "other.example").startswith("twistedproxy CA ")


# ---------------------------------------------------------------- what is left alone


@pytest.mark.parametrize(
    "settings",
    [
        {"intercept__mode": "off"},
        {"intercept__leave_alone": "127.0.0.1"},
        {"intercept__hosts": "localhost"},
        {"intercept__ports": "443"},
        {"intercept__clients": "192.0.2.0/24"},
    ],
)
def test_left_alone(
    alone: Callable[..., Daemon], origin: Origin, authority: Authority, tmp_path: Path, settings: dict[str, str]
) -> None:
    """The client sees the origin's own certificate."""
    proxy = alone(**settings)
    assert curl(tmp_path, "--proxy", proxy.url, "--cacert", authority.file, origin.url("https")) == LINE
    (entry,) = proxy.access_entries(1)
    assert entry["kind"] == "tunnel"
    assert not (proxy.directory / "ca").exists()


def test_client_that_does_not_trust_the_authority(
    alone: Callable[..., Daemon], origin: Origin, authority: Authority, tmp_path: Path
) -> None:
    """After two refusals it is left alone, and sees the origin's own certificate."""
    proxy = alone()
    command = ("curl", "--disable", "--silent", "--proxy", proxy.url, "--cacert", authority.file, origin.url("https"))

    def attempt() -> tuple[int, bytes]:
        done = subprocess.run(
            list(map(str, command)), capture_output=True, env=clean_environment(tmp_path), timeout=PATIENCE
        )
        return done.returncode, done.stdout

    # 60: the peer's certificate cannot be authenticated.
    assert attempt() == (60, b"")
    assert attempt() == (60, b"")
    proxy.await_log(r"127\.0\.0\.1 does not take our certificate for 127\.0\.0\.1: its tunnels there are left alone")
    assert attempt() == (0, LINE)
    assert [entry["kind"] for entry in proxy.access_entries(3)] == ["intercept", "intercept", "tunnel"]
    (learned,) = json.loads(proxy.control("learned", "--json").stdout)["learned"]
    assert (learned["client"], learned["host"], learned["times"]) == ("127.0.0.1", "127.0.0.1", 2)
    assert proxy.control("learned", "--clear", "127.0.0.1").stdout == "1 forgotten\n"
    assert attempt() == (60, b"")


def test_what_each_worker_has_learned(alone: Callable[..., Daemon], origin: Origin, authority: Authority) -> None:
    proxy = alone(service__workers="2", intercept__learn_after="1")
    workers(proxy, 2)
    context = ssl.create_default_context(cafile=str(authority.file))
    connections = [tunnel(proxy, origin.port("https")) for _ in range(20)]
    for connection in connections:
        with pytest.raises(ssl.SSLCertVerificationError):
            context.wrap_socket(connection.socket, server_hostname="127.0.0.1")
        connection.close()
    learned = awaited(
        lambda: len(told := json.loads(proxy.control("learned", "--json").stdout)["learned"]) == 2 and told, "two lines"
    )
    assert {one["worker"] for one in learned} == {0, 1}
    assert proxy.control("learned", "--clear").stdout == "2 forgotten\n"
    assert proxy.control("learned").stdout == "nothing was learned\n"


def test_authority_that_cannot_be_used(alone: Callable[..., Daemon], origin: Origin, tmp_path: Path) -> None:
    proxy = alone(intercept__learn_after="0")
    assert issuer(proxy, origin.port("https")).startswith("twistedproxy CA ")
    key = proxy.directory / "ca" / "twistedproxy-ca.pem"
    key.rename(key.with_suffix(".gone"))
    key.write_text("nothing")
    key.chmod(0o600)
    connection = HTTPSConnection(proxy.address, timeout=PATIENCE)
    connection.set_tunnel("127.0.0.1", origin.port("https"))

    def refused() -> str:
        try:
            connection.connect()
        except ssl.SSLError:
            # The authority in memory is in use for another second at most.
            return ""
        except OSError as error:
            return str(error)
        return ""

    assert "500 Internal Server Error" in awaited(refused, "a tunnel that is refused")
    proxy.await_log("no tunnel can be opened: .*it has no private key")


def test_renewed_authority(alone: Callable[..., Daemon], origin: Origin) -> None:
    proxy = alone(service__workers="2")
    workers(proxy, 2)
    before = issuer(proxy, origin.port("https"))
    assert proxy.control("ca", "renew").returncode == 0
    after = awaited(
        lambda: (seen := issuer(proxy, origin.port("https"))) != before and seen, "leaves of the new authority"
    )
    assert str(after).startswith("twistedproxy CA ")

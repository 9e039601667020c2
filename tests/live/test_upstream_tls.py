"""What the settings say of servers with TLS, in a real proxy: whom to trust for what, and what to show."""

from __future__ import annotations

import http.client
import json
import re
import ssl
import stat
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.live.daemon import PATIENCE, Daemon
from tests.live.tls_server import TLSServer
from tests.tls.certificates import pem_of
from tests.tls.zoo import One, authorities, make, names
from twistedproxy.tls.handshakes import key_digest


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., TLSServer]]:
    """Starts a server that shows a leaf and those above it."""
    made: list[TLSServer] = []

    def start(leaf: One, *above: One, prepare: Callable[[Any], object] = id) -> TLSServer:
        chain = pem_of(*(one.certificate for one in (leaf, *above)))
        made.append(TLSServer(chain, pem_of(leaf.key), tmp_path, prepare))
        return made[-1]

    yield start
    for server in made:
        server.stop()


@pytest.fixture
def anchor(tmp_path: Path) -> Path:
    path = tmp_path / "root.pem"
    path.write_bytes(pem_of(authorities().root.certificate))
    return path


@pytest.fixture
def proxy(tmp_path: Path, anchor: Path) -> Iterator[Callable[..., Daemon]]:
    """Starts a proxy by a settings file, which says ``text`` besides whom to trust."""
    made: list[Daemon] = []

    def start(text: str = "", before: str = "", environment: dict[str, str] | None = None) -> Daemon:
        directory = tmp_path / f"proxy-{len(made)}"
        directory.mkdir()
        made.append(Daemon(directory, file=settings(directory, anchor, text, before), environment=environment).start())
        return made[-1]

    yield start
    for daemon in made:
        daemon.stop()


def settings(directory: Path, anchor: Path, text: str, before: str = "") -> str:
    return f"""\
[log]
access = "{directory}/access.log"
format = "json"
{before}
[upstream_tls]
system_anchors = false
anchors = ["{anchor}"]
{text}
"""


def good(**how: Any) -> Sequence[One]:
    case = authorities().case(**how)
    return [case.leaf, *case.sent]


def ask(proxy: Daemon, server: TLSServer, host: str = "localhost") -> str | dict[str, Any]:
    """What the server tells of the connection that was made to it, or the reason why there was none."""
    address, _, port = proxy.address.rpartition(":")
    connection = http.client.HTTPConnection(address, int(port), timeout=PATIENCE)
    connection.request("GET", f"https://{host}:{server.port}/", headers={"Host": host})
    response = connection.getresponse()
    content = response.read().decode()
    connection.close()
    if response.status == 200:
        told: dict[str, Any] = json.loads(content)
        return told
    found = re.search(r"Its log has the reason (\w+)\.", content)
    assert found is not None, content
    return found[1]


def told(proxy: Daemon, server: TLSServer, host: str = "localhost") -> dict[str, Any]:
    answer = ask(proxy, server, host)
    assert isinstance(answer, dict), answer
    return answer


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_are_resumed(proxy: Callable[..., Daemon], serve: Callable[..., TLSServer], version: int) -> None:
    """The server says so; it closes each connection after its answer."""
    server = serve(*good(), prepare=lambda context: setattr(context, "maximum_version", version))
    daemon = proxy()
    assert [told(daemon, server)["resumed"] for _ in range(4)] == [False, True, True, True]
    # Not under other settings, though they say the same.
    daemon.reload()
    assert [told(daemon, server)["resumed"] for _ in range(2)] == [False, True]


def test_versions(proxy: Callable[..., Daemon], serve: Callable[..., TLSServer]) -> None:
    old = serve(*good(), prepare=lambda context: setattr(context, "maximum_version", ssl.TLSVersion.TLSv1_2))
    new = serve(*good(), prepare=lambda context: setattr(context, "minimum_version", ssl.TLSVersion.TLSv1_3))
    daemon = proxy()
    assert (told(daemon, old)["version"], told(daemon, new)["version"]) == ("TLSv1.2", "TLSv1.3")
    daemon = proxy('min_version = "1.3"')
    assert (ask(daemon, old), told(daemon, new)["version"]) == ("tls_failed", "TLSv1.3")
    daemon = proxy('max_version = "1.2"')
    assert (told(daemon, old)["version"], ask(daemon, new)) == ("TLSv1.2", "tls_failed")


def test_name_in_the_hello(proxy: Callable[..., Daemon], serve: Callable[..., TLSServer]) -> None:
    server, daemon = serve(*good()), proxy()
    assert told(daemon, server, "LOCALHOST.")["name"] == "localhost"
    assert told(daemon, server, "127.0.0.1")["name"] is None


def test_pins(proxy: Callable[..., Daemon], serve: Callable[..., TLSServer]) -> None:
    shown = good()
    server = serve(*shown)
    right, wrong = (f"sha256/{b64encode(digest).decode()}" for digest in (key_digest(shown[0].certificate), bytes(32)))
    hosts = '[[upstream_tls.hosts]]\nnames = ["localhost"]\npins = '
    daemon = proxy(f'{hosts}["{wrong}", "{right}"]')
    assert told(daemon, server)["version"] == "TLSv1.3"
    daemon.reload(daemon.settings_file.read_text().replace(right, wrong))
    assert ask(daemon, server) == "certificate_pin_mismatch"
    assert told(daemon, server, "127.0.0.1")["version"] == "TLSv1.3"


def test_exempt_host(proxy: Callable[..., Daemon], serve: Callable[..., TLSServer]) -> None:
    """Only the host that is named, and with a warning that names it, at the start and at each reload."""
    server = serve(make("zoo.test"))
    daemon = proxy('[[upstream_tls.hosts]]\nnames = ["localhost"]\nverify = false')
    assert told(daemon, server)["version"] == "TLSv1.3"
    assert ask(daemon, server, "127.0.0.1") == "certificate_self_signed"
    warning = r"warn +THE CERTIFICATES OF localhost ARE NOT VERIFIED"
    daemon.await_log(warning)
    daemon.reload()
    daemon.await_log(warning, 2)
    shown = daemon.control("settings", "show", "upstream_tls.hosts")
    assert '[{ names = ["localhost"], verify = false }]' in shown.stdout


def test_exemption_of_all_hosts_is_refused(proxy: Callable[..., Daemon], serve: Callable[..., TLSServer]) -> None:
    """The settings that were in force stay so."""
    server, daemon = serve(make("zoo.test")), proxy()
    text = daemon.settings_file.read_text()
    line = text.count("\n") + 3
    daemon.reload(f'{text}[[upstream_tls.hosts]]\nverify = false\nnames = ["*"]\n')
    daemon.await_log(rf"pyproxy\.toml:{line}: upstream_tls\.hosts\[0\]\.names\[0\]: expected a single host")
    assert ask(daemon, server) == "certificate_self_signed"


def test_client_certificate(proxy: Callable[..., Daemon], serve: Callable[..., TLSServer], tmp_path: Path) -> None:
    """Shown to the host that it is for, from systemd's credentials; the other one hears of none."""
    zoo = authorities()

    def wants_one(context: ssl.SSLContext) -> None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=pem_of(zoo.root.certificate).decode())
        # Who has none hears of it in the handshake; in TLS 1.3 that is over for a client by then.
        context.maximum_version = ssl.TLSVersion.TLSv1_2

    usage = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH])
    shown = make("me", zoo.between, changed=[(usage, False)])
    (tmp_path / "client.pem").write_bytes(pem_of(shown.certificate, zoo.between.certificate))
    (tmp_path / "key.pem").write_bytes(pem_of(shown.key))
    (tmp_path / "key.pem").chmod(0o600)
    server = serve(*good(), prepare=wants_one)
    daemon = proxy(
        """
[[upstream_tls.hosts]]
names = ["localhost"]
certificate = "$CREDENTIALS_DIRECTORY/client.pem"
key = "$CREDENTIALS_DIRECTORY/key.pem"
""",
        environment={"CREDENTIALS_DIRECTORY": str(tmp_path)},
    )
    assert told(daemon, server)["client"] == "me"
    assert ask(daemon, server, "127.0.0.1") == "tls_failed"


def test_client_certificate_that_is_missed_later(proxy: Callable[..., Daemon], serve: Callable[..., TLSServer]) -> None:
    """In TLS 1.3 the handshake is over for the proxy when the server complains."""

    def wants_one(context: ssl.SSLContext) -> None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = ssl.TLSVersion.TLSv1_3

    daemon = proxy()
    assert ask(daemon, serve(*good(), prepare=wants_one)) == "no_response"
    assert "certificate required" in json.loads(daemon.lines_so_far()[-1])["detail"]


def test_files_that_are_none(proxy: Callable[..., Daemon], serve: Callable[..., TLSServer], anchor: Path) -> None:
    """A reload says where, and changes nothing; the files are read again when it is well."""
    server, daemon = serve(*good()), proxy()
    pem = anchor.read_bytes()
    anchor.write_bytes(b"nothing")
    daemon.reload()
    daemon.await_log(r"pyproxy\.toml:7: upstream_tls\.anchors\[0\]: there is no certificate in ")
    assert told(daemon, server)["version"] == "TLSv1.3"
    anchor.write_bytes(pem_of(authorities().stranger.certificate))
    daemon.reload()
    assert ask(daemon, server) == "certificate_unknown_root"
    anchor.write_bytes(pem)
    daemon.reload()
    assert told(daemon, server)["version"] == "TLSv1.3"


INTERCEPT = """\
[access]
connect_ports = ["all"]
[intercept]
mode = "listed"
hosts = ["localhost"]
ports = ["all"]
"""


def inside(daemon: Daemon, server: TLSServer) -> tuple[bytes, http.client.HTTPResponse, str]:
    """The certificate that a client sees in a tunnel, and what it is answered there."""
    context = ssl.create_default_context(cadata=daemon.control("ca", "export").stdout)
    address, _, port = daemon.address.rpartition(":")
    connection = http.client.HTTPSConnection(address, int(port), timeout=PATIENCE, context=context)
    connection.set_tunnel("localhost", server.port)
    connection.request("GET", "/", headers={"Accept": "text/html"})
    response = connection.getresponse()
    content = response.read().decode()
    certificate = connection.sock.getpeercert(True) if connection.sock else b""
    connection.close()
    return certificate, response, content


def test_page_inside_a_tunnel(proxy: Callable[..., Daemon], serve: Callable[..., TLSServer]) -> None:
    server = serve(*good(changed=[(names("other.test", "<b>.test"), False)]))
    _, response, content = inside(proxy(before=INTERCEPT), server)
    assert response.status == 502
    assert (response.headers["Proxy-Status"] or "").endswith("; error=tls_certificate_error")
    assert "asked for localhost: it is for &quot;other.test&quot;, &quot;&lt;b&gt;.test&quot;" in content
    assert "<li>1. subject &quot;CN=zoo.test&quot;; issuer &quot;CN=Zoo Intermediate&quot;; valid 20" in content
    assert "<code>certificate_wrong_host</code>" in content


def test_leaf_has_the_servers_names(proxy: Callable[..., Daemon], serve: Callable[..., TLSServer]) -> None:
    """As soon as they are known."""
    server = serve(*good(changed=[(names("localhost", "*.zoo.test", "192.0.2.1"), False)]))
    daemon = proxy(before=INTERCEPT)

    def shown() -> list[str]:
        certificate, response, _ = inside(daemon, server)
        assert response.status == 200
        found = x509.load_der_x509_certificate(certificate).extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
        return [str(name.value) for name in found.value]

    assert shown() == ["localhost"]
    assert shown() == ["*.zoo.test", "localhost", "192.0.2.1"]


def test_secrets_are_written_down(
    proxy: Callable[..., Daemon], serve: Callable[..., TLSServer], tmp_path: Path
) -> None:
    """Those of both sides, for who asks for that."""
    path = tmp_path / "keys.log"
    server = serve(*good())
    daemon = proxy(before=INTERCEPT, environment={"SSLKEYLOGFILE": str(path)})
    daemon.await_log(rf"warn +THE SECRETS OF ALL TLS CONNECTIONS ARE WRITTEN TO {path}")
    assert inside(daemon, server)[1].status == 200
    lines = [line.split() for line in path.read_text().splitlines()]
    assert {len(line) for line in lines} == {3}
    assert len({random for label, random, _ in lines if label == "CLIENT_TRAFFIC_SECRET_0"}) == 2
    assert server.random in {random for _, random, _ in lines}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

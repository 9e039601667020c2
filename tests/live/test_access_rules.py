"""Access rules in a real proxy: every spelling of what is forbidden, reloads under load, and what is explained."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.live.crew import workers
from tests.live.daemon import ANY_PORT, PATIENCE, Daemon
from tests.live.fetch import connected, fetch
from tests.live.load import Load
from tests.live.origin import LINE, Authority, Origin
from tests.live.wire.raw import Connection
from tests.upstream.test_dial_rules import SPELLINGS

MakeDaemon = Callable[..., Daemon]

FORBIDDEN = [f"[{host}]" if ":" in host else host for host in SPELLINGS]
"""Spellings of 127.0.0.66, as a URL has them."""

OWN = ["pyproxy.internal", "PyProxy.Internal", "pyproxy.internal.", "PYPROXY.INTERNAL."]
HOMOGRAPHS = [
    # Cyrillic letters that look the same, in UTF-8 and as DNS has them; and letters of full width.
    "рyproxy.internal",
    "xn--yproxy-jkg.internal",
    "ｐｙｐｒｏｘｙ.internal",
    "pyproxy%2einternal",
    "pyproxy。internal",
]

BY_ADDRESS = '[[access.rules]]\nname = "no"\ndestinations = ["127.0.0.66"]\naction = "deny"\n'
LEADING_THERE = '"127.0.0.66", "64:ff9b::7f00:42", "2002:7f00:42::"'
BY_HOST = f'[[access.rules]]\nname = "no"\nhosts = [{LEADING_THERE}]\naction = "deny"\n'
BY_KEY = ""


def settings(rules: str, more: str = "", keys: str = "") -> str:
    """The text of a settings file."""
    return (
        f'[downstream]\nlisten = ["{ANY_PORT}"]\n[log]\naccess = "access.log"\nformat = "json"\n{more}'
        f'[access]\nconnect_ports = ["all"]\n{keys}{rules}'
    )


@pytest.fixture(scope="module", params=["by address", "by host", "by key"])
def guarded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A proxy that forbids 127.0.0.66, in one of three ways."""
    text = {
        "by address": settings(BY_ADDRESS),
        "by host": settings(BY_HOST),
        "by key": settings("", keys='refuse_destinations = ["127.0.0.66"]\n'),
    }
    daemon = Daemon(tmp_path_factory.mktemp("guarded"), listen=(), file=text[request.param]).start()
    yield daemon
    daemon.stop()


def status(proxy: Daemon, head: bytes) -> int:
    """The status of the answer to a request."""
    connection = connected(proxy, head)
    found = connection.read_response().status
    connection.close()
    return found


def test_no_spelling_gets_through(guarded: Daemon, origin: Origin) -> None:
    port = origin.port("http")
    upgrade = (
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
        b"dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    for host in FORBIDDEN:
        url = f"http://{host}:{port}/hello".encode()
        field = b" HTTP/1.1\r\nHost: x\r\n"
        asked = {
            "HTTP": b"GET " + url + field + b"\r\n",
            "upper case": b"GET " + url.upper().replace(b"HTTP", b"http") + field + b"\r\n",
            "WebSocket": b"GET " + url + field + upgrade + b"\r\n",
            "CONNECT": f"CONNECT {host}:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
        }
        found = {how: status(guarded, head) for how, head in asked.items()}
        assert found == dict.fromkeys(asked, 403), host
    assert fetch(guarded, origin.url("http")).content == LINE


def test_nobody_stands_for_the_proxy(guarded: Daemon) -> None:
    for host in OWN:
        assert status(guarded, f"CONNECT {host}:443 HTTP/1.1\r\nHost: x\r\n\r\n".encode()) == 403, host
        assert status(guarded, f"GET http://{host}:8080/ HTTP/1.1\r\nHost: x\r\n\r\n".encode()) == 403, host
    for host in HOMOGRAPHS:
        # None of them is a name that could be asked for, or it is one that is not found.
        assert status(guarded, f"GET http://{host}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode()) in (400, 502), host
        assert status(guarded, f"CONNECT {host}:443 HTTP/1.1\r\nHost: x\r\n\r\n".encode()) in (400, 502), host


# ---------------------------------------------------------------- inside of tunnels


@pytest.fixture
def intercepting(make_daemon: MakeDaemon, authority: Authority) -> Callable[[str], tuple[Daemon, ssl.SSLContext]]:
    """Starts a proxy that looks into every tunnel; and what trusts it."""

    def start(rules: str, keys: str = "") -> tuple[Daemon, ssl.SSLContext]:
        more = '[intercept]\nmode = "all-but"\nports = ["all"]\n'
        daemon = make_daemon(
            listen=(), file=settings(rules, more, keys), environment={"SSL_CERT_FILE": str(authority.file)}
        ).start()
        trust = Path(daemon.directory / "trusted.pem")
        trust.write_text(daemon.control("ca", "export").stdout)
        return daemon, ssl.create_default_context(cafile=str(trust))

    return start


def inside(proxy: Daemon, trust: ssl.SSLContext, host: str, port: int, request: bytes) -> int:
    """The status of what is asked for in a tunnel to ``host``, or of the tunnel where there is none."""
    connection = connected(proxy, f"CONNECT {host}:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head = connection.read_through(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        connection.close()
        return int(head.split()[1])
    connection.socket.settimeout(PATIENCE)
    with trust.wrap_socket(connection.socket, server_hostname=host.strip("[]")) as secured:
        within = Connection(secured)
        within.send(request)
        return within.read_response().status


@pytest.mark.parametrize("rules", [BY_ADDRESS, BY_HOST, BY_KEY], ids=["address", "host", "key"])
def test_no_spelling_gets_through_a_tunnel_that_is_opened(
    intercepting: Callable[..., tuple[Daemon, ssl.SSLContext]], origin: Origin, rules: str
) -> None:
    keys = "" if rules else 'refuse_destinations = ["127.0.0.66"]\n'
    proxy, trust = intercepting(rules, keys)
    trust.check_hostname = False
    port = origin.port("https")
    for host in FORBIDDEN:
        request = f"GET /hello HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()
        assert inside(proxy, trust, host, port, request) == 403, host
    request = f"GET /hello HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    assert inside(proxy, trust, "127.0.0.1", port, request) == 200
    # Whoever has a tunnel to one host gets nowhere else by it.
    for host in FORBIDDEN:
        request = f"GET https://{host}:{port}/hello HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()
        assert inside(proxy, trust, "127.0.0.1", port, request) == 421, host


def test_a_url_inside(intercepting: Callable[..., tuple[Daemon, ssl.SSLContext]], origin: Origin) -> None:
    rule = '[[access.rules]]\nname = "secret"\nurls = ["https://127.0.0.1:*/secret*"]\naction = "deny"\nstatus = 451\n'
    proxy, trust = intercepting(rule)
    port = origin.port("https")
    for path, expected in (("/%73ecret", 451), ("/x/../secret", 451), ("/hello", 200)):
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
        assert inside(proxy, trust, "127.0.0.1", port, request) == expected
    denied = [entry for entry in proxy.access_entries(6) if entry["reason"]]
    assert [(entry["reason"], entry["rule"]) for entry in denied] == [("denied_by_rule", "secret")] * 2


# ---------------------------------------------------------------- reloads


@pytest.mark.parametrize("count", [1, 2])
def test_policies_are_swapped_under_load(make_daemon: MakeDaemon, origin: Origin, count: int) -> None:
    """No request fails that all of the policies allow, and what the last one denies is denied."""
    more = f"[service]\nworkers = {count}\n"

    def text(number: int) -> str:
        rules = "".join(
            f'[[access.rules]]\nname = "{number}-{one}"\nhosts = ["h{one}.example"]\n'
            f'{"destinations" if (one + number) % 2 else "clients"} = ["10.{one}.0.0/16"]\naction = "deny"\n'
            for one in range(number % 5 + 1)
        )
        denied = f'[[access.rules]]\nmethods = ["GET"]\npaths = ["/no/{number}"]\naction = "deny"\n'
        by_address = '[[access.rules]]\ndestinations = ["127.0.0.1"]\naction = "allow"\n' if number % 2 else ""
        return settings(rules + denied + by_address, more, 'default = "deny"\n' if number % 2 else "")

    proxy = make_daemon(listen=(), file=text(0)).start()
    address = proxy.address
    if count > 1:
        workers(proxy, count)
    with Load(address, origin.url("http"), least=50) as load:
        for number in range(1, 16):
            proxy.reload(text(number))
            assert fetch(address, origin.url("http", f"/no/{number}")).status == 403
    load.assert_no_failure()
    assert "not reloaded" not in proxy.log


# ---------------------------------------------------------------- what is explained


@pytest.mark.parametrize("count", [1, 2])
def test_explain(make_daemon: MakeDaemon, origin: Origin, count: int) -> None:
    proxy = make_daemon(listen=(), file=settings(BY_ADDRESS, f"[service]\nworkers = {count}\n")).start()
    port = origin.port("http")
    denied = proxy.control("explain", f"http://127.66:{port}/", "--json")
    assert denied.returncode == 1, denied
    (request,) = json.loads(denied.stdout)["requests"]
    assert (request["status"], request["reason"], request["rule"]) == (403, "denied_by_rule", "no")
    last = request["steps"][-1]
    assert (last["stage"], last["by"], last["key"]) == ("destination", "127.0.0.66", "access.rules[0]")
    file, _, line = last["source"].rpartition(":")
    assert (Path(file), proxy.settings_file.read_text().splitlines()[int(line) - 1]) == (
        proxy.settings_file,
        "[[access.rules]]",
    )
    assert status(proxy, f"GET http://127.66:{port}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode()) == 403
    allowed = proxy.control("explain", f"http://127.0.0.1:{port}/", "--client", "127.0.0.1")
    assert (allowed.returncode, allowed.stdout.splitlines()[-1]) == (0, "allowed, by access.default")
    tunnel = proxy.control("explain", f"127.0.0.1:{port}")
    assert tunnel.returncode == 0
    assert "left alone" in tunnel.stdout
    wrong = proxy.control("explain", "/nowhere")
    assert (wrong.returncode, wrong.stderr.startswith("pyproxyctl: Conflict: the target is a path")) == (1, True), wrong

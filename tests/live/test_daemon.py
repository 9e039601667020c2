"""A real ``twistd pyproxy``: how it starts, what it accepts and says at its start, and on what it listens."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.command import curl
from tests.live.daemon import ANY_PORT, PATIENCE, TWISTD, Daemon, clean_environment
from tests.live.fetch import fetch
from tests.live.origin import LINE, Authority, Origin

MakeDaemon = Callable[..., Daemon]


@pytest.mark.parametrize("daemonized", [False, True], ids=["foreground", "daemonized"])
def test_starts_and_serves_without_settings(make_daemon: MakeDaemon, origin: Origin, daemonized: bool) -> None:
    proxy = make_daemon(daemonized=daemonized).start()
    answer = fetch(proxy, origin.url("http"))
    assert (answer.status, answer.content) == (200, LINE)
    assert "pyproxy-" in answer.fields["Via"]
    assert proxy.access_lines(1)[0].endswith(f" GET {origin.url('http')} - HIER_DIRECT/127.0.0.1 text/plain")
    # A daemon has said nothing to whoever started it.
    assert bool(proxy.said) is not daemonized
    assert proxy.pid_file.exists() is daemonized
    proxy.stop()
    assert not proxy.pid_file.exists()


def test_daemon_keeps_its_state_where_it_belongs(make_daemon: MakeDaemon, tmp_path: Path, origin: Origin) -> None:
    state = tmp_path / "state" / "of" / "it"
    proxy = make_daemon(daemonized=True, file="", environment={"STATE_DIRECTORY": str(state)}).start()
    assert fetch(proxy, origin.url("http")).status == 200
    proxy.access_log = state / "access.log"
    assert len(proxy.access_lines(1)) == 1
    # Who asks for what is nobody else's business.
    assert stat.S_IMODE(proxy.access_log.stat().st_mode) & 0o027 == 0


def test_access_log_goes_to_standard_output_in_the_foreground(make_daemon: MakeDaemon, origin: Origin) -> None:
    proxy = make_daemon(file="").start()
    assert fetch(proxy, origin.url("http")).status == 200
    proxy.await_log(r"TCP_MISS/200 \d+ GET http://127\.0\.0\.1")


def test_nothing_of_this_machine_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = (
        *("PYPROXY_LOG_LEVEL", "https_proxy", "XDG_RUNTIME_DIR", "NOTIFY_SOCKET", "CREDENTIALS_DIRECTORY"),
        *("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_USEC", "WATCHDOG_PID"),
    )
    for name in (*foreign, "RUNTIME_DIRECTORY", "ANYTHING_ELSE"):
        monkeypatch.setenv(name, "theirs")
    environment = clean_environment(tmp_path)
    assert [name for name in foreign if name in environment] == []
    assert environment["RUNTIME_DIRECTORY"] == environment["STATE_DIRECTORY"] == str(tmp_path)
    assert environment["ANYTHING_ELSE"] == "theirs"


def test_finds_the_settings_file(make_daemon: MakeDaemon) -> None:
    proxy = make_daemon(listen=())
    settings = proxy.directory / "etc" / "pyproxy.toml"
    settings.parent.mkdir()
    settings.write_text(f'[downstream]\nlisten = ["{ANY_PORT}"]\n[forwarding]\nvia = "found"\n')
    proxy.start()
    answer = fetch(proxy, "http://127.0.0.1:1/")
    assert answer.fields["Proxy-Status"] == "found; error=connection_refused"


def test_set_goes_over_listen_goes_over_the_file(make_daemon: MakeDaemon) -> None:
    proxy = make_daemon(
        listen=(ANY_PORT, r"tcp6:0:interface=\:\:1"),
        file='[downstream]\nlisten = ["tcp:1:interface=127.0.0.1"]\n[forwarding]\nvia = "file"\n',
        settings={"forwarding.via": "command-line"},
    ).start()
    first, second = proxy.addresses
    assert first.startswith("127.0.0.1:")
    assert second.startswith("[::1]:")
    for address in proxy.addresses:
        assert fetch(address, "http://127.0.0.1:1/").fields["Via"] is None
        assert fetch(address, "http://127.0.0.1:1/").fields["Proxy-Status"].startswith("command-line; ")


# ---------------------------------------------------------------- what it says and ends


def test_check_says_what_the_settings_mean(make_daemon: MakeDaemon) -> None:
    checked = make_daemon(listen=(), file="[access]\nconnect_ports = [443, 8443]\n")
    status, said = checked.attempt("--check")
    assert status == 0
    assert said.startswith(f"The settings are valid ({checked.settings_file}).\nIt listens on port 8080 of 127.0.0.1;")
    assert "\nCONNECT may reach ports 443 and 8443 only.\n" in said
    assert not checked.access_log.exists()


def test_printed_settings_load_again(make_daemon: MakeDaemon) -> None:
    status, printed = make_daemon(listen=(), file="", settings={"upstream.connect_timeout": "3s"}).attempt(
        "--print-settings"
    )
    assert status == 0
    assert '\nlisten = ["tcp:8080:interface=127.0.0.1"]  # default\n' in printed
    assert '\nconnect_timeout = "3s"  # --set\n' in printed
    again = make_daemon(listen=(), file=printed)
    status, printed_again = again.attempt("--print-settings")
    assert status == 0
    without_sources = [line.partition("  # ")[0] for line in printed.splitlines()]
    assert [line.partition("  # ")[0] for line in printed_again.splitlines()] == without_sources


@pytest.mark.parametrize("option", ["--check", "--print-settings"])
def test_nobody_reads_what_is_printed(tmp_path: Path, option: str) -> None:
    """As when it is piped into head."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [TWISTD, "pyproxy", option],
            env=clean_environment(tmp_path),
            stdout=writer,
            stderr=subprocess.PIPE,
            timeout=PATIENCE,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_settings_that_mean_nothing_are_refused(make_daemon: MakeDaemon) -> None:
    refused = make_daemon(file='[upstream]\n\nconect_timeout = "3s"\n\n[downstream]\nmax_fields = "many"\n')
    status, said = refused.attempt()
    assert status == 1
    first, second = said.splitlines()
    assert first == f'{refused.settings_file}:3: upstream.conect_timeout: unknown key (did you mean "connect_timeout"?)'
    assert second.startswith(f"{refused.settings_file}:6: downstream.max_fields: expected ")
    assert second.endswith('got "many"')


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"access.client": "all"}, '--set: access.client: unknown key (did you mean "clients"?)'),
        ({"log.format": "apache"}, '--set: log.format: expected one of "squid", "combined", "json", got "apache"'),
    ],
)
def test_options_that_mean_nothing_are_refused(make_daemon: MakeDaemon, settings: dict[str, str], line: str) -> None:
    assert make_daemon(settings=settings).attempt() == (1, f"{line}\n")


def test_settings_file_that_is_not_there_is_refused(make_daemon: MakeDaemon) -> None:
    refused = make_daemon(file="")
    refused.settings_file.unlink()
    status, said = refused.attempt()
    assert status == 1
    assert said.count("\n") == 1
    assert said.startswith(f"{refused.settings_file}: ")


# ---------------------------------------------------------------- what it cannot have


@pytest.mark.parametrize("daemonized", [False, True], ids=["foreground", "daemonized"])
def test_port_that_is_taken(make_daemon: MakeDaemon, daemonized: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        # Beside one that is free.
        refused = make_daemon(listen=(ANY_PORT, endpoint), daemonized=daemonized)
        status, said = refused.attempt()
    assert (status, said) == (1, f"pyproxy: cannot listen on {endpoint}: Address already in use\n")
    assert not refused.pid_file.exists()


@pytest.mark.parametrize("daemonized", [False, True], ids=["foreground", "daemonized"])
def test_access_log_that_cannot_be_opened(make_daemon: MakeDaemon, daemonized: bool) -> None:
    refused = make_daemon(settings={"log.access": "/proc/none/access.log"}, daemonized=daemonized)
    line = "pyproxy: the access log /proc/none/access.log cannot be opened: No such file or directory\n"
    assert refused.attempt() == (1, line)
    assert not refused.pid_file.exists()


def test_daemon_has_no_standard_output_for_a_log(make_daemon: MakeDaemon) -> None:
    status, said = make_daemon(settings={"log.access": "-"}, daemonized=True).attempt()
    assert (status, said) == (1, 'pyproxy: a daemon has no standard output: let log.access name a file, or "off"\n')


# ---------------------------------------------------------------- whom it serves, and where


def test_clients_that_are_not_served(make_daemon: MakeDaemon, origin: Origin) -> None:
    proxy = make_daemon(settings={"access.clients": "10.0.0.0/8"}).start()
    refusal = fetch(proxy, origin.url("http"))
    assert refusal.status == 403
    assert b"add the address, or its network, to access.clients" in refusal.content
    assert proxy.access_lines(1)[0].split()[3] == "TCP_DENIED/403"
    assert proxy.access_lines(1)[0].endswith(" client_denied")


def test_warns_of_an_open_proxy(make_daemon: MakeDaemon) -> None:
    proxy = make_daemon(listen=("tcp:0",), settings={"access.clients": "all"}).start()
    proxy.await_log(r"warn  THIS IS AN OPEN PROXY: it listens on port 0 of every IPv4 address and serves everybody")


def test_warns_of_a_listener_that_serves_nobody(make_daemon: MakeDaemon) -> None:
    proxy = make_daemon(listen=("tcp:0",)).start()
    proxy.await_log(r"warn  .* but serves only clients on this machine")


@pytest.mark.parametrize("daemonized", [False, True], ids=["foreground", "daemonized"])
def test_unix_socket(make_daemon: MakeDaemon, origin: Origin, daemonized: bool) -> None:
    # The path of a Unix socket is short, and that of a test's directory can be long.
    proxy = make_daemon(listen=("unix:proxy.sock",), daemonized=daemonized).start()
    assert proxy.addresses == ["proxy.sock"]
    url = origin.url("http")
    assert curl(proxy.directory, "--unix-socket", "proxy.sock", "--request-target", url, url) == LINE
    assert proxy.access_lines(1)[0].split()[2] == "127.0.0.1"
    # Nobody else takes it for one that was left behind.
    status, said = make_daemon(listen=(f"unix:{proxy.directory / 'proxy.sock'}",)).attempt()
    assert (status, said.count("\n")) == (1, 1)
    proxy.stop()
    assert not (proxy.directory / "proxy.sock").exists()
    assert not (proxy.directory / "proxy.sock.lock").is_symlink()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_tls_listener(make_daemon: MakeDaemon, origin: Origin, authority: Authority, scheme: str) -> None:
    """The way to the proxy can be secured too, for requests and for tunnels."""
    endpoint = f"ssl:0:interface=127.0.0.1:privateKey={authority.leaf}:certKey={authority.leaf}"
    proxy = make_daemon(listen=(endpoint,), settings={"access.connect_ports": "all"}).start()
    trusted = str(authority.file)
    way = ("--proxy", f"https://{proxy.address}", "--proxy-cacert", trusted, "--cacert", trusted)
    assert curl(proxy.directory, *way, origin.url(scheme)) == LINE
    assert len(curl(proxy.directory, *way, origin.url(scheme, "/bytes/3000000"))) == 3_000_000

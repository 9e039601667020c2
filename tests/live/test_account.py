"""``twistd --uid --gid``: a port of root's, and then an account without its powers."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.live.account import NOBODY, Account, account_for
from tests.live.crew import await_gone, children, workers
from tests.live.daemon import ANY_PORT, TWISTD, Daemon, awaited
from tests.live.fetch import fetch
from tests.live.origin import LINE, Authority, Origin

MakeProxy = Callable[..., Daemon]


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that everybody may look into, as those of pytest are not."""
    made = Path(tempfile.mkdtemp(prefix="pyproxy-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def account(directory: Path) -> Account:
    """The account that the proxy changes to."""
    return account_for(directory)


@pytest.fixture
def make_proxy(directory: Path, account: Account) -> Iterator[MakeProxy]:
    """Makes a proxy that changes to the account; it is stopped at the end."""
    made: list[Daemon] = []
    home = directory / "twistedproxy"

    def make(listen: str, text: str) -> Daemon:
        places = {"STATE_DIRECTORY": str(home), "RUNTIME_DIRECTORY": str(home), "PYTHONPATH": account.path}
        proxy = Daemon(
            directory,
            listen=(),
            file=f"[downstream]\nlisten = ['{listen}']\n[log]\naccess = '{home}/access.log'\n{text}",
            environment=places,
            twistd=(f"--uid={account.uid}", f"--gid={account.gid}", f"--logfile={home}/twistd.log"),
            program=account.program,
        )
        proxy.access_log = home / "access.log"
        proxy.operational_log = home / "twistd.log"
        made.append(proxy)
        return proxy

    yield make
    for proxy in made:
        proxy.stop()


def privileged_endpoint() -> str:
    """A port of loopback that is free, and root's alone to open where this process is root."""
    if os.getuid() != 0:
        return ANY_PORT
    for port in range(1023, 512, -1):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.9", port))
            except OSError:
                continue
            return f"tcp:{port}:interface=127.0.0.9"
    raise AssertionError("no port is free")


@pytest.mark.parametrize("count", [1, 2])
def test_changes_its_account(
    make_proxy: MakeProxy, account: Account, directory: Path, origin: Origin, count: int
) -> None:
    """It keeps the port, and everything else that it needs to go on is the account's."""
    messages = directory / "twistedproxy" / "websocket.log"
    # The text goes on in the table of the logs.
    text = f"websocket = '{messages}'\nwebsocket_hosts = ['a.test']\n[service]\nworkers = {count}\n"
    proxy = make_proxy(privileged_endpoint(), text).start()
    proxy.await_log(" ready\n")
    crew = workers(proxy, count) if count > 1 else []
    assert [pid for pid in (proxy.pid, *crew) if not account.runs(pid)] == []
    assert fetch(proxy, origin.url("http")).content == LINE
    assert len(proxy.access_lines(1)) == 1
    control = directory / "twistedproxy" / "control.sock"
    theirs = (proxy.access_log, proxy.operational_log, messages, control)
    assert [path for path in theirs if not account.owns(path)] == []
    assert proxy.control("health").stdout == "ok\n"

    # The files of a rotation can be opened by it.
    for path in (proxy.access_log, proxy.operational_log, messages):
        path.rename(path.with_suffix(".1"))
    proxy.signal(signal.SIGUSR1)
    awaited(lambda: "the logs have been reopened" in proxy.log, "new logs")
    awaited(lambda: proxy.access_log.exists() and messages.exists(), "new logs of traffic")
    assert account.owns(proxy.access_log)
    assert account.owns(proxy.operational_log)

    proxy.reload(proxy.settings_file.read_text() + "[forwarding]\nvia = 'changed'\n")
    assert fetch(proxy, origin.url("http")).fields["Via"] == "1.1 changed"
    assert "not reloaded" not in proxy.log
    assert children(proxy.pid) == crew
    last = proxy.pid
    proxy.stop()
    await_gone(last)
    assert proxy.status == 0
    assert not control.exists()
    lines = (proxy.operational_log.with_suffix(".1").read_text() + proxy.log).splitlines()
    # `stop` asks again where the drain takes long.
    expected = " info  | lost$| warn  stopping now, as asked for a second time$"
    assert [line for line in lines if not re.search(expected, line)] == []


@pytest.mark.parametrize("count", [1, 2])
def test_key_that_it_may_not_read_any_more(
    make_proxy: MakeProxy, account: Account, directory: Path, authority: Authority, count: int
) -> None:
    """It says which listener cannot be had, and why; and goes on with what it has."""
    key = directory / "key.pem"
    shutil.copy(authority.leaf, key)
    key.chmod(0o600)
    unreadable = account.uid != os.getuid()
    if not unreadable:
        # What is one's own can be read; there has to be another reason.
        key.unlink()
    endpoint = f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={key}"
    service = f"[service]\nworkers = {count}\n"
    proxy = make_proxy(ANY_PORT, service).start()
    proxy.await_log(" ready\n")
    proxy.reload(f"[downstream]\nlisten = ['{ANY_PORT}', '{endpoint}']\n{service}")
    why = "Permission denied" if unreadable else "No such file or directory"
    proxy.await_log(f"error cannot listen on {re.escape(endpoint)}: .*{why}")
    proxy.await_log("error the settings were not reloaded: the old ones stay in force")
    assert proxy.control("health").stdout == "ok\n"


def test_account_that_it_may_not_change_to(tmp_path: Path) -> None:
    """One line says so; it does not go on as it is."""
    nobody = pwd.getpwnam(NOBODY)
    # Root may, unless that power has been taken from it.
    powerless = ("setpriv", "--bounding-set=-setuid,-setgid") if os.getuid() == 0 else ()
    refused = Daemon(
        tmp_path,
        program=(*powerless, TWISTD),
        twistd=(f"--uid={nobody.pw_uid}", f"--gid={nobody.pw_gid}"),
    )
    status, said = refused.attempt()
    assert status == 1
    numbers = f"{nobody.pw_uid}/{nobody.pw_gid}"
    line = said.splitlines()[-1]
    assert "Traceback" not in said
    assert re.fullmatch(
        rf"\S+Z info  failed to set uid/gid {numbers}: .*Operation not permitted \(are you root\?\) -- exiting\.", line
    )

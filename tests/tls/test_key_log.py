"""The file of secrets: whose they are, who can read them, and what happens when they cannot be written."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from OpenSSL import SSL

from tests.tls.peers import Server, meet
from tests.tls.zoo import authorities
from twistedproxy.settings.upstream_tls import UpstreamHost, UpstreamTLSSettings
from twistedproxy.tls.client_side import ClientSide
from twistedproxy.tls.key_log import KeyLog, warn_of_key_log
from twistedproxy.tls.trust import Trust


def connected(key_log: KeyLog) -> SSL.Connection:
    localhost = UpstreamHost(names=("localhost",), verify=False)
    side = ClientSide(Trust.of(UpstreamTLSSettings(hosts=(localhost,))), key_log=key_log)
    case = authorities().case()
    connection, _ = meet(side, Server(case))
    return connection


def test_secrets_are_those_of_the_connection(tmp_path: Path) -> None:
    path = tmp_path / "keys.log"
    key_log = KeyLog(str(path))
    first, second = connected(key_log), connected(key_log)
    key_log.close()
    lines = path.read_text().splitlines()
    randoms = {line.split()[1] for line in lines}
    assert randoms == {first.client_random().hex(), second.client_random().hex()}
    assert "SERVER_HANDSHAKE_TRAFFIC_SECRET" in {line.split()[0] for line in lines}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_appends_and_makes_private(tmp_path: Path) -> None:
    path = tmp_path / "keys.log"
    path.write_text("# before\n")
    path.chmod(0o644)
    key_log = KeyLog(str(path))
    connected(key_log)
    key_log.close()
    assert path.read_text().startswith("# before\n")
    assert len(path.read_text().splitlines()) > 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["directory", "fifo", "link", "missing"])
def test_what_cannot_be_written_is_said_once(tmp_path: Path, kind: str, logged_errors: Any) -> None:
    path = tmp_path / "keys.log"
    match kind:
        case "directory":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "link":
            path.symlink_to(tmp_path / "elsewhere")
        case "missing":
            path = tmp_path / "nowhere" / "keys.log"
    key_log = KeyLog(str(path))
    connected(key_log)
    connected(key_log)
    assert repr(key_log) == f"<KeyLog {path} failed>"
    (line,) = logged_errors.flush_messages()
    assert line.startswith(f"the secrets of TLS connections cannot be written to {path}: ")


def test_variable(said: list[str]) -> None:
    assert KeyLog.of({}) is None
    assert KeyLog.of({"SSLKEYLOGFILE": ""}) is None
    found = KeyLog.of({"SSLKEYLOGFILE": "/run/keys.log"})
    assert found is not None
    assert found.path == "/run/keys.log"
    warn_of_key_log({})
    assert said == []
    warn_of_key_log({"SSLKEYLOGFILE": "/run/keys.log"})
    (line,) = said
    assert line.startswith("warn THE SECRETS OF ALL TLS CONNECTIONS ARE WRITTEN TO /run/keys.log")

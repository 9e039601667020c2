"""The lines of a socket unit, from the endpoints that the settings name."""

from __future__ import annotations

import pytest

from twistedproxy import listeners
from twistedproxy.settings.problems import Unfit
from twistedproxy.systemd.listening import BACKLOG, Stream, streams


@pytest.mark.parametrize(
    ("description", "listen", "port"),
    [
        ("tcp:8080", "0.0.0.0:8080", 8080),
        ("tcp:80:interface=127.0.0.1", "127.0.0.1:80", 80),
        ("tcp:8080:interface=LocalHost", "127.0.0.1:8080", 8080),
        ("ssl:8443:privateKey=key.pem", "0.0.0.0:8443", 8443),
        ("haproxy:tcp:8080", "0.0.0.0:8080", 8080),
        ("tcp6:8080", "[::]:8080", 8080),
        (r"tcp6:8080:interface=\:\:1", "[::1]:8080", 8080),
        (r"tcp:8080:interface=fe80\:\:1%eth0", "[fe80::1]:8080%eth0", 8080),
        ("tls:/etc/keys", "[::]:443", 443),
        # Their addresses are known when they are opened.
        ("tcp:0", "", 0),
        ("tcp:80:interface=proxy.example", "", 80),
        ("unix:proxy.sock", "", 0),
        ("systemd:domain=INET:name=proxy", "", 0),
        ("onion:80", "", 0),
    ],
)
def test_addresses(description: str, listen: str, port: int) -> None:
    assert streams([description]) == [Stream(description, listen, port, BACKLOG)]


def test_backlog_and_mode() -> None:
    descriptions = ["tcp:1:backlog=7", "unix:/run/a.sock:mode=660", "unix:/run/b.sock:backlog=9"]
    assert [(one.listen, one.backlog, one.mode) for one in streams(descriptions)] == [
        ("0.0.0.0:1", 7, None),
        ("/run/a.sock", BACKLOG, 0o660),
        ("/run/b.sock", 9, 0o666),
    ]


def test_backlog_is_the_daemons() -> None:
    assert listeners.BACKLOG == BACKLOG


def test_what_is_no_endpoint() -> None:
    with pytest.raises(Unfit):
        streams(["8080"])

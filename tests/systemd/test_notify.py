"""What goes to systemd's socket: which messages, to which address, and that nothing comes of a failure."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.systemd.notify import LONGEST_TEXT, NOTIFY_VARIABLES, Notifier, _status, for_successor, without

PID = 4711


def notifier(environment: dict[str, str], seconds: float = 0.0) -> Notifier:
    return Notifier(environment, pid=PID, monotonic=lambda: seconds)


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[socket.socket]:
    """systemd's side, at the path ``notify`` in the test's directory."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "notify"))
        made.setblocking(False)
        yield made


def address(receiver: socket.socket) -> dict[str, str]:
    return {"NOTIFY_SOCKET": receiver.getsockname()}


@pytest.mark.parametrize(
    ("speak", "expected"),
    [
        (lambda to: to.ready(), b"READY=1"),
        (lambda to: to.ready("serving"), b"READY=1\nSTATUS=serving"),
        (lambda to: to.reloading(), b"RELOADING=1\nMONOTONIC_USEC=12345678"),
        (lambda to: to.reloading("reading"), b"RELOADING=1\nMONOTONIC_USEC=12345678\nSTATUS=reading"),
        (lambda to: to.stopping("draining"), b"STOPPING=1\nSTATUS=draining"),
        (lambda to: to.stopping(), b"STOPPING=1"),
        (lambda to: to.status("3 Clients – läuft"), "STATUS=3 Clients – läuft".encode()),
        (lambda to: to.status(""), b"STATUS="),
        (lambda to: to.watchdog(), b"WATCHDOG=1"),
        (lambda to: to.main_pid(12), b"MAINPID=12"),
        (lambda to: to.status("one\nMAINPID=1\r\0\x1b[2J"), b"STATUS=one MAINPID=1   [2J"),
        (lambda to: to.ready("\n\n"), b"READY=1"),
        (lambda to: to.status("\udcff"), b"STATUS="),
    ],
)
def test_messages(receiver: socket.socket, speak: Callable[[Notifier], None], expected: bytes) -> None:
    to = notifier(address(receiver), 12.345678)
    speak(to)
    assert receiver.recv(4096) == expected
    assert (to.sent, to.failed) == (1, 0)
    assert repr(to) == f"<Notifier to {receiver.getsockname()} sent=1 failed=0 watchdog=None>"


def test_abstract_address(receiver: socket.socket) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as abstract:
        name = f"twistedproxy-test-{os.getpid()}"
        abstract.bind("\0" + name)
        abstract.setblocking(False)
        to = notifier({"NOTIFY_SOCKET": "@" + name})
        to.ready()
        assert abstract.recv(4096) == b"READY=1"
        assert f"to @{name} " in repr(to)


@pytest.mark.parametrize(
    "environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "@"}, {"NOTIFY_SOCKET": "vsock:2:1"}]
)
def test_nobody_listens(environment: dict[str, str]) -> None:
    to = notifier({**environment, "WATCHDOG_USEC": "1000000"})
    to.ready("text")
    to.watchdog()
    assert (to.enabled, to.sent, to.failed) == (False, 0, 0)
    assert to.watchdog_interval is None
    assert repr(to) == "<Notifier to nobody>"


@pytest.mark.parametrize("where", ["/nowhere/at/all", "/" + "long" * 50, "/with\0nul"])
def test_failures_are_counted_and_nothing_else(where: str) -> None:
    to = notifier({"NOTIFY_SOCKET": where})
    assert to.enabled
    to.ready()
    to.watchdog()
    assert (to.sent, to.failed) == (0, 2)


def test_full_receiver_does_not_block(receiver: socket.socket) -> None:
    to = notifier(address(receiver))
    for _ in range(100_000):
        to.watchdog()
        if to.failed:
            break
    assert to.failed == 1
    while to.sent:
        assert receiver.recv(4096) == b"WATCHDOG=1"
        to.sent -= 1
    to.ready()
    assert receiver.recv(4096) == b"READY=1"


@pytest.mark.parametrize(
    ("watchdog", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(PID)}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(PID + 1)}, None),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": ""}, 15.0),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": ""}, None),
        ({"WATCHDOG_USEC": "1", "WATCHDOG_PID": str(PID)}, 0.0000005),
    ],
)
def test_watchdog_interval(watchdog: dict[str, str], interval: float | None) -> None:
    """sd_watchdog_enabled(3): half of the time, and only for the process that it is addressed to."""
    assert notifier({"NOTIFY_SOCKET": "/run/systemd/notify", **watchdog}).watchdog_interval == interval


@given(st.text())
def test_texts_are_one_short_line(text: str) -> None:
    assignment = _status(text)
    assert assignment.isprintable()
    assert len(assignment.encode()) <= LONGEST_TEXT + len("STATUS=")


def test_long_text_is_cut_between_characters() -> None:
    assert _status("x" + "ä" * LONGEST_TEXT) == "STATUS=x" + "ä" * (LONGEST_TEXT // 2 - 1)


def test_environment_of_others() -> None:
    environment = {"PATH": "/bin", **dict.fromkeys(NOTIFY_VARIABLES, "1")}
    before = dict(environment)
    assert without(environment) == {"PATH": "/bin"}
    # The successor's number is not known yet, and the watchdog is its own all the same.
    assert for_successor(environment) == {"PATH": "/bin", "NOTIFY_SOCKET": "1", "WATCHDOG_USEC": "1"}
    assert environment == before


@pytest.mark.parametrize("module", ["notify", "activation"])
def test_needs_no_reactor(module: str) -> None:
    loaded = "[name for name in sys.modules if name.startswith('twisted.')]"
    code = f"import sys, twistedproxy.systemd.{module}; print({loaded})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

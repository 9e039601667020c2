"""The control API from the outside, over a real Unix socket."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.cli.api import API, Silence, answer, problem
from tests.cli.samples import AUTHORITY, CONNECTIONS, EXPLANATION, LEARNED, SETTINGS, STATUS
from tests.control.conftest import LIMITED, LIST
from twistedproxy.cli import client as client_module
from twistedproxy.cli.client import Client, UnixConnection, sockets
from twistedproxy.cli.outcomes import NotReached, Refused, Silent, UnexpectedAnswer
from twistedproxy.control.types import (
    ROUTES,
    Candidate,
    Done,
    Finding,
    Health,
    Inquiry,
    LogLevel,
    Verdict,
    WhatIsBlocked,
)

HOME = {"HOME": "/somewhere/me"}
VERDICT = Verdict(True, [], [], [])
BLOCKED = WhatIsBlocked([LIST])
QUERIES = {
    ("DELETE", "/api/v1/blocklists/entries"): "?host=a.test&allow=true",
    ("GET", "/api/v1/blocklists/test"): "?target=a.test",
    ("GET", "/api/v1/limits"): "?limit=5&name=guests",
}


@pytest.mark.parametrize(
    ("environment", "is_root", "given", "expected"),
    [
        (HOME, False, "/given", ["/given"]),
        ({**HOME, "PYPROXY_CONTROL_SOCKET": "/named"}, False, "", ["/named"]),
        ({**HOME, "PYPROXY_CONTROL_SOCKET": "/named"}, False, "/given", ["/given"]),
        (
            {**HOME, "PYPROXY_CONTROL_SOCKET": "", "XDG_RUNTIME_DIR": "/run/user/7"},
            False,
            "",
            [
                "/run/twistedproxy/control.sock",
                "/run/user/7/twistedproxy/control.sock",
                "/somewhere/me/.local/state/twistedproxy/control.sock",
            ],
        ),
        # The specification: a relative path is to be ignored.
        (
            {**HOME, "XDG_RUNTIME_DIR": "run"},
            True,
            "",
            ["/run/twistedproxy/control.sock", "/var/lib/twistedproxy/control.sock"],
        ),
        # systemd separates several by colons.
        (
            {**HOME, "RUNTIME_DIRECTORY": "/run/pyproxy:/run/b", "STATE_DIRECTORY": "/var/lib/pyproxy"},
            False,
            "",
            ["/run/pyproxy/control.sock", "/run/twistedproxy/control.sock", "/var/lib/pyproxy/control.sock"],
        ),
        (
            {**HOME, "RUNTIME_DIRECTORY": "/run/twistedproxy"},
            True,
            "",
            ["/run/twistedproxy/control.sock", "/var/lib/twistedproxy/control.sock"],
        ),
    ],
)
def test_sockets(environment: dict[str, str], is_root: bool, given: str, expected: list[str]) -> None:
    assert sockets(environment, is_root, given) == tuple(map(Path, expected))


def test_every_route_is_asked_as_the_api_says(api: API) -> None:
    given_out = (
        STATUS,
        CONNECTIONS,
        SETTINGS,
        VERDICT,
        Done("yes"),
        LogLevel("info"),
        AUTHORITY,
        Health("ok"),
        LEARNED,
        EXPLANATION,
        BLOCKED,
        Finding("a.test", False),
        LIMITED,
    )
    samples: dict[type, object] = {type(one): one for one in given_out}
    for method, path, _, given, _ in ROUTES:
        query = QUERIES.get((method, path), "")
        api.answers[method, path.replace("{id}", "0-17") + query] = answer(samples[given])
    client = Client([api.path])
    assert client.status() == STATUS
    assert client.connections() == CONNECTIONS
    assert client.close_connection("0-17") == Done("yes")
    assert client.settings() == SETTINGS
    assert client.validate(Candidate("a = 1")) == VERDICT
    assert client.diff(Candidate()) == VERDICT
    assert client.apply(Candidate("a = 1", True)) == VERDICT
    assert client.reload() == Done("yes")
    assert client.drain(2.5) == Done("yes")
    assert client.upgrade() == Done("yes")
    assert client.log_level() == LogLevel("info")
    assert client.set_log_level("debug") == LogLevel("info")
    assert client.certificate_authority() == AUTHORITY
    assert client.renew_authority() == AUTHORITY
    assert client.learned() == LEARNED
    assert client.forget_learned() == Done("yes")
    assert client.explain(Inquiry("a.test:443", user="ann")) == EXPLANATION
    assert client.blocklists() == BLOCKED
    assert client.refresh_lists("ads", True) == Done("yes")
    assert client.add_entry("a.test", False) == Done("yes")
    assert client.remove_entry("a.test", True) == Done("yes")
    assert client.test_lists("a.test") == Finding("a.test", False)
    assert client.limits(5, "guests") == LIMITED
    assert client.refill("guests", "all") == Done("yes")
    assert client.readiness() == (True, Health("ok"))
    asked = [(method, path.partition("?")[0]) for method, path, _ in api.requests]
    assert asked == [(method, path.replace("{id}", "0-17")) for method, path, *_ in ROUTES if path != "/healthz"]
    bodies = {path: body for _, path, body in api.requests if body}
    assert bodies == {
        "/api/v1/settings/validate": b'{"toml":"a = 1","persist":false}',
        "/api/v1/settings/diff": b'{"toml":null,"persist":false}',
        "/api/v1/settings/apply": b'{"toml":"a = 1","persist":true}',
        "/api/v1/drain": b'{"timeout":2.5}',
        "/api/v1/log-level": b'{"level":"debug"}',
        "/api/v1/explain": b'{"url":"a.test:443","client":"127.0.0.1","user":"ann","groups":[],"method":"GET",'
        b'"at":null,"listener":"","fields":{}}',
        "/api/v1/blocklists/refresh": b'{"name":"ads","force":true}',
        "/api/v1/blocklists/entries": b'{"host":"a.test","allow":false}',
        "/api/v1/limits/reset": b'{"name":"guests","key":"all"}',
    }


def test_certificate(api: API) -> None:
    api.answers["GET", "/api/v1/ca/certificate?format=der"] = answer("bytes", kind="application/pkix-cert")
    assert Client([api.path]).authority_certificate("der") == b"bytes"
    with pytest.raises(Refused):
        Client([api.path]).authority_certificate("p12")


def test_queries_and_ids_are_quoted(api: API) -> None:
    client = Client([api.path])
    with pytest.raises(Refused):
        client.connections("fe80::1%eth0", "idle", 5)
    with pytest.raises(Refused):
        client.close_connection("../x y?\x1b")
    assert [path for _, path, _ in api.requests] == [
        "/api/v1/connections?client=fe80%3A%3A1%25eth0&state=idle&limit=5",
        "/api/v1/connections/..%2Fx%20y%3F%1B",
    ]


def test_problem_details(api: API) -> None:
    api.answers["POST", "/api/v1/reload"] = problem("Conflict", 409, "not now", ["a", "b"])
    with pytest.raises(Refused) as raised:
        Client([api.path]).reload()
    refused = raised.value
    assert (refused.title, refused.status, refused.detail, refused.problems) == ("Conflict", 409, "not now", ["a", "b"])


def test_unknown_members_are_of_a_later_version(api: API) -> None:
    api.answers["POST", "/api/v1/reload"] = answer({"detail": "yes", "more": 1})
    assert Client([api.path]).reload() == Done("yes")


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [(200, "application/json", True), (503, "application/json", False)],
)
def test_readiness(api: API, status: int, kind: str, expected: bool) -> None:
    api.answers["GET", "/readyz"] = answer(Health("draining"), status, kind)
    assert Client([api.path]).readiness() == (expected, Health("draining"))


def test_verdict_may_come_with_an_errors_status(api: API) -> None:
    bad = Verdict(False, ["line 1: no"], [], [])
    api.answers["POST", "/api/v1/settings/apply"] = answer(bad, 422)
    assert Client([api.path]).apply(Candidate("no")) == bad


def test_metrics(api: API) -> None:
    api.answers["GET", "/metrics"] = answer("a 1\n", kind="text/plain")
    assert Client([api.path]).metrics() == "a 1\n"
    api.answers["GET", "/metrics"] = answer("sorry", 503, kind="text/plain")
    with pytest.raises(UnexpectedAnswer, match=r"/metrics \(status 503, text/plain\)"):
        Client([api.path]).metrics()


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "RemoteDisconnected"),
        (b"\x00\x01garbage\r\n\r\n", "BadStatusLine"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "BadStatusLine"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", "IncompleteRead"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", "IncompleteRead"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{", "truncated"),
        (answer("<html>", kind="text/html"), "malformed"),
        (answer({"status": "ok"}), "missing required field"),
        (answer("no", 404, "text/plain"), "status 404, text/plain"),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", "status 302"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n\xff\xfe", ""),
    ],
)
def test_answers_that_make_no_sense(api: API, raw: bytes, why: str) -> None:
    api.answers["GET", "/api/v1/status"] = raw
    with pytest.raises(UnexpectedAnswer) as raised:
        Client([api.path]).status()
    assert why in str(raised.value)
    assert str(raised.value).startswith(f"what listens at {api.path} gave no sensible answer to /api/v1/status (")


def test_refusal_of_a_request_that_was_not_read(tmp_path: Path) -> None:
    """RFC 9112, section 9.6: the answer may come before the request has been sent."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "sock"))
    listening.listen()
    connection = UnixConnection(tmp_path / "sock", 5.0)
    connection.connect()
    accepted, _ = listening.accept()
    accepted.sendall(problem("Content Too Large", 413))
    accepted.shutdown(socket.SHUT_RD)
    try:
        with client_module._response(connection, "POST", "/", b"x" * 10**6, {}) as response:
            assert response.status == 413
    finally:
        for one in (accepted, listening, connection):
            one.close()


def test_no_answer_in_time(api: API) -> None:
    api.answers["GET", "/api/v1/status"] = Silence()
    with pytest.raises(Silent, match=r"gave no answer within 0\.05 s; wait longer with --answer-timeout"):
        Client([api.path], 0.05).status()


def test_queue_that_is_full(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen(0)
    waiting = socket.socket(socket.AF_UNIX)
    waiting.connect(str(path))
    try:
        with pytest.raises(Silent, match="accepts no connection in time"):
            Client([path], 0.05).status()
    finally:
        waiting.close()
        listening.close()


def test_no_socket(tmp_path: Path) -> None:
    with pytest.raises(NotReached) as raised:
        Client([tmp_path / "a"]).status()
    assert str(raised.value) == (
        f"no pyproxy is running here: there is no socket {tmp_path}/a; "
        "name another one with --socket or PYPROXY_CONTROL_SOCKET"
    )
    with pytest.raises(NotReached, match=f"there is no socket {tmp_path}/a, {tmp_path}/b or {tmp_path}/c/d; name"):
        Client([tmp_path / "a", tmp_path / "b", tmp_path / "c" / "d"]).status()


def dead(path: Path) -> Path:
    """A socket that nobody listens at any more."""
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    return path


def test_dead_socket(tmp_path: Path) -> None:
    with pytest.raises(NotReached) as raised:
        Client([dead(tmp_path / "sock")]).status()
    assert str(raised.value) == (
        f"no pyproxy is running here: nobody listens at the socket {tmp_path}/sock, which an earlier one left; "
        "start it, or name another socket with --socket or PYPROXY_CONTROL_SOCKET"
    )


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (PermissionError(13, "Permission denied"), "you may not open /a: run this as root or as the user that pyproxy"),
        (OSError(22, "Invalid argument"), r"/a cannot be connected to \(Invalid argument\); name another socket with"),
        (OSError("AF_UNIX path too long"), r"/a cannot be connected to \(AF_UNIX path too long\)"),
    ],
)
def test_socket_that_cannot_be_opened(error: Exception, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(_: UnixConnection) -> None:
        raise error

    # Root, who often runs the tests, may open everything.
    monkeypatch.setattr(UnixConnection, "connect", connect)
    with pytest.raises(NotReached, match=expected):
        Client([Path("/a")]).status()


def test_real_errors_of_a_path(tmp_path: Path) -> None:
    with pytest.raises(NotReached, match="cannot be connected to"):
        Client([tmp_path / ("x" * 200)]).status()
    (tmp_path / "file").touch()
    with pytest.raises(NotReached, match="there is no socket"):
        Client([tmp_path / "file" / "sock"]).status()


def test_first_that_answers_is_kept(api: API, tmp_path: Path) -> None:
    """A daemon that has gone is not mistaken for another one."""
    api.answers["GET", "/api/v1/status"] = answer(STATUS)
    other = API(tmp_path / "other.sock")
    other.answers["GET", "/api/v1/status"] = answer(STATUS)
    client = Client([tmp_path / "none", dead(tmp_path / "dead"), other.path, api.path])
    assert repr(client) == f"<Client {tmp_path}/none or {tmp_path}/dead or {other.path} or {api.path}>"
    client.status()
    assert client.peer == os.getpid()
    other.close()
    with pytest.raises(NotReached, match=f"nobody listens at the socket {other.path}"):
        client.status()
    assert api.requests == []


def test_peer_is_unknown_where_the_system_does_not_tell(api: API, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "SO_PEERCRED")
    api.answers["GET", "/api/v1/status"] = answer(STATUS)
    client = Client([api.path])
    client.status()
    assert client.peer == 0
    assert repr(UnixConnection(api.path, 1.0)) == f"<UnixConnection {api.path}>"

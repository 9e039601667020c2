"""The control API from the outside: HTTP/1.1 over the daemon's Unix socket, in the types that the API is made of.

Theory of operation. The standard library speaks HTTP; here is only what it does not know: a socket with a path, where
that may be, and what each failure means to the person at the terminal. Of several places the first where a daemon
answers is taken, and kept from then on: what begins with one daemon must not go on with another when that has ended.
A request has a connection of its own, since a command makes one or two of them.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Final, NoReturn, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from twistedproxy.cli.outcomes import NotReached, Refused, Silent, UnexpectedAnswer
from twistedproxy.control.types import (
    Candidate,
    CertificateAuthority,
    CertificateFormat,
    Connections,
    Done,
    Drain,
    Entry,
    Explanation,
    Finding,
    Health,
    Inquiry,
    Level,
    LogLevel,
    Problem,
    Refill,
    Refresh,
    SettingsInForce,
    Status,
    Verdict,
    WhatIsBlocked,
    WhatIsLimited,
    WhatWasLearned,
)
from twistedproxy.places import state_directory

T = TypeVar("T")

SOCKET_NAME: Final = "control.sock"
VARIABLE: Final = "PYPROXY_CONTROL_SOCKET"
"""The environment variable that names the socket."""

QUICK: Final = 10.0
LONG: Final = 120.0
REFRESH: Final = 900.0
"""Seconds to wait for an answer: to a question, to what starts processes or reads files first, and to what fetches."""

_ELSEWHERE: Final = f"name another socket with --socket or {VARIABLE}"
_CREDENTIALS: Final = "3i"
_SAY_WHY: Final = (Health, Verdict)
"""What may come with the status of an error, and is an answer all the same."""


def sockets(environment: Mapping[str, str], is_root: bool, given: str = "") -> tuple[Path, ...]:
    """Where the daemon's socket may be, the likeliest first; only ``given``, or the variable's, where there is one."""
    if named := given or environment.get(VARIABLE, ""):
        return (Path(named),)
    places = [Path("/run/twistedproxy"), state_directory(environment, is_root)]
    if (of_user := environment.get("XDG_RUNTIME_DIR", "")).startswith("/"):
        places.insert(1, Path(of_user, "twistedproxy"))
    if of_service := environment.get("RUNTIME_DIRECTORY", "").partition(":")[0]:
        places.insert(0, Path(of_service))
    return tuple(dict.fromkeys(place / SOCKET_NAME for place in places))


class UnixConnection(HTTPConnection):
    """HTTP over a Unix socket. ``patience`` is for each wait, in seconds."""

    def __init__(self, path: Path, patience: float) -> None:
        super().__init__("localhost", timeout=patience)
        self._path = path
        self._patience = patience

    def __repr__(self) -> str:
        return f"<UnixConnection {self._path}>"

    def connect(self) -> None:
        """Open the connection; OSError when nobody listens there."""
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            opened.settimeout(self._patience)
            opened.connect(str(self._path))
        except BaseException:
            opened.close()
            raise
        self.sock = opened

    @property
    def peer(self) -> int:
        """The process at the other end, as it is numbered here; 0 where the system does not tell."""
        if not hasattr(socket, "SO_PEERCRED"):
            return 0
        told = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize(_CREDENTIALS))
        return int(struct.unpack(_CREDENTIALS, told)[0])


class Client:
    """One daemon's control API. Every method raises `NotReached`, `UnexpectedAnswer` or `Refused`.

    ``paths`` are where its socket may be. ``patience`` is how many seconds to wait for an answer; by default it
    depends on what is asked.
    """

    def __init__(self, paths: Sequence[Path], patience: float | None = None) -> None:
        self._paths = tuple(paths)
        self._patience = patience
        self.peer = 0
        """The process that answered last; 0 when that is not known."""

    def __repr__(self) -> str:
        return f"<Client {' or '.join(map(str, self._paths))}>"

    def status(self) -> Status:
        """What the daemon is doing, and its numbers."""
        return self._ask("GET", "/api/v1/status", Status)

    def connections(self, client: str = "", state: str = "", limit: int | None = None) -> Connections:
        """The client connections, the oldest first: at most ``limit``, of one client or in one state only."""
        asked = {"client": client, "state": state, "limit": "" if limit is None else str(limit)}
        query = urlencode({name: value for name, value in asked.items() if value})
        return self._ask("GET", "/api/v1/connections" + (f"?{query}" if query else ""), Connections)

    def close_connection(self, id: str) -> Done:
        """Close one client connection."""
        return self._ask("DELETE", f"/api/v1/connections/{quote(id, safe='')}", Done)

    def settings(self) -> SettingsInForce:
        """Every setting in force."""
        return self._ask("GET", "/api/v1/settings", SettingsInForce)

    def validate(self, candidate: Candidate) -> Verdict:
        """What is wrong with ``candidate``."""
        return self._ask("POST", "/api/v1/settings/validate", Verdict, candidate)

    def diff(self, candidate: Candidate) -> Verdict:
        """What ``candidate`` would change."""
        return self._ask("POST", "/api/v1/settings/diff", Verdict, candidate)

    def apply(self, candidate: Candidate) -> Verdict:
        """Go by ``candidate`` from now on."""
        return self._ask("POST", "/api/v1/settings/apply", Verdict, candidate, LONG)

    def reload(self) -> Done:
        """Read the settings again and go by them."""
        return self._ask("POST", "/api/v1/reload", Done, patience=LONG)

    def drain(self, timeout: float | None = None) -> Done:
        """Begin to stop; what is under way has ``timeout`` seconds, by default what the settings say."""
        return self._ask("POST", "/api/v1/drain", Done, Drain(timeout))

    def upgrade(self) -> Done:
        """Start the installed version on the same sockets."""
        return self._ask("POST", "/api/v1/upgrade", Done, patience=LONG)

    def log_level(self) -> LogLevel:
        """The level of the operational log."""
        return self._ask("GET", "/api/v1/log-level", LogLevel)

    def set_log_level(self, level: Level) -> LogLevel:
        """Write the operational log from ``level`` on."""
        return self._ask("PUT", "/api/v1/log-level", LogLevel, LogLevel(level))

    def certificate_authority(self) -> CertificateAuthority:
        """The certificate authority; it is made if there is none."""
        return self._ask("GET", "/api/v1/ca", CertificateAuthority)

    def authority_certificate(self, format: CertificateFormat) -> bytes:
        """Its certificate, without the key."""
        return self._content(f"/api/v1/ca/certificate?format={format}")

    def renew_authority(self) -> CertificateAuthority:
        """Make a new authority."""
        return self._ask("POST", "/api/v1/ca/renew", CertificateAuthority)

    def learned(self, host: str = "") -> WhatWasLearned:
        """Who does not take the proxy's certificates, for one host only unless that is empty."""
        return self._ask("GET", _with_host(host), WhatWasLearned)

    def forget_learned(self, host: str = "") -> Done:
        """Forget it."""
        return self._ask("DELETE", _with_host(host), Done)

    def explain(self, inquiry: Inquiry) -> Explanation:
        """What would become of a request, and why."""
        return self._ask("POST", "/api/v1/explain", Explanation, inquiry, LONG)

    def blocklists(self) -> WhatIsBlocked:
        """The lists of what is blocked."""
        return self._ask("GET", "/api/v1/blocklists", WhatIsBlocked)

    def refresh_lists(self, name: str, force: bool) -> Done:
        """Look at one list again, or at all when ``name`` is empty."""
        return self._ask("POST", "/api/v1/blocklists/refresh", Done, Refresh(name, force), REFRESH)

    def add_entry(self, host: str, allow: bool) -> Done:
        """Put a host on the operator's own list."""
        return self._ask("POST", "/api/v1/blocklists/entries", Done, Entry(host, allow))

    def remove_entry(self, host: str, allow: bool) -> Done:
        """Take one from it."""
        query = urlencode({"host": host, "allow": "true" if allow else "false"})
        return self._ask("DELETE", f"/api/v1/blocklists/entries?{query}", Done)

    def test_lists(self, target: str) -> Finding:
        """What the lists have on a host or a URL."""
        return self._ask("GET", f"/api/v1/blocklists/test?{urlencode({'target': target})}", Finding)

    def limits(self, limit: int, name: str) -> WhatIsLimited:
        """The limits, and the ``limit`` who are nearest to them."""
        query = urlencode({"limit": str(limit), "name": name})
        return self._ask("GET", f"/api/v1/limits?{query}", WhatIsLimited)

    def refill(self, name: str, key: str) -> Done:
        """Let somebody, or everybody, begin anew under a limit."""
        return self._ask("POST", "/api/v1/limits/reset", Done, Refill(name, key))

    def readiness(self) -> tuple[bool, Health]:
        """Whether it takes new connections, and what it says about that."""
        path = "/readyz"
        status, kind, body = self._exchange("GET", path, None, QUICK)
        return status < 300, self._understood(path, status, kind, body, Health)

    def metrics(self) -> str:
        """Its numbers, as Prometheus reads them."""
        return self._content("/metrics").decode("utf-8", "backslashreplace")

    def _content(self, path: str) -> bytes:
        """What is there, where that is not JSON."""
        status, kind, body = self._exchange("GET", path, None, QUICK)
        if status >= 300:
            self._refuse(path, status, kind, body)
        return body

    def _ask(
        self, method: str, path: str, answer: type[T], sent: msgspec.Struct | None = None, patience: float = QUICK
    ) -> T:
        status, kind, body = self._exchange(method, path, sent, patience)
        return self._understood(path, status, kind, body, answer)

    def _exchange(self, method: str, path: str, sent: msgspec.Struct | None, patience: float) -> tuple[int, str, bytes]:
        """One request: the status, the media type and the content of its answer."""
        patience = patience if self._patience is None else self._patience
        body = None if sent is None else msgspec.json.encode(sent)
        fields = {"Accept": "*/*", "Connection": "close"}
        if body is not None:
            fields["Content-Type"] = "application/json"
        connection = self._connected(patience)
        try:
            with _response(connection, method, path, body, fields) as response:
                content = response.read()
        except TimeoutError:
            raise Silent(
                f"the pyproxy at {self._where} gave no answer within {patience:g} s; wait longer with --answer-timeout"
            ) from None
        except (HTTPException, OSError, ValueError) as error:
            raise self._unexpected(path, f"{type(error).__name__}: {error}") from None
        finally:
            connection.close()
        return response.status, response.headers.get_content_type(), content

    def _connected(self, patience: float) -> UnixConnection:
        """A connection to the first of the places where somebody listens, and to none but that from now on."""
        failed: NotReached | None = None
        for path in self._paths:
            connection = UnixConnection(path, patience)
            try:
                connection.connect()
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                failed = failed or _not_reached(path, error)
                continue
            self._paths = (path,)
            self.peer = connection.peer
            return connection
        *others, last = map(str, self._paths)
        listed = f"{', '.join(others)} or {last}" if others else last
        raise failed or NotReached(
            f"no pyproxy is running here: there is no socket {listed}; name another one with --socket or {VARIABLE}"
        )

    @property
    def _where(self) -> str:
        return str(self._paths[0])

    def _understood(self, path: str, status: int, kind: str, body: bytes, answer: type[T]) -> T:
        if status >= 300 and (answer not in _SAY_WHY or kind != "application/json"):
            self._refuse(path, status, kind, body)
        try:
            return msgspec.json.decode(body, type=answer)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise self._unexpected(path, f"status {status}, {kind}: {error}") from None

    def _refuse(self, path: str, status: int, kind: str, body: bytes) -> NoReturn:
        try:
            problem = msgspec.json.decode(body, type=Problem)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise self._unexpected(path, f"status {status}, {kind}") from None
        raise Refused(problem.title, status, problem.detail, problem.problems)

    def _unexpected(self, path: str, what: str) -> UnexpectedAnswer:
        return UnexpectedAnswer(
            f"what listens at {self._where} gave no sensible answer to {path} ({what}); "
            "is it a pyproxy of this version?"
        )


def _response(
    connection: UnixConnection, method: str, path: str, body: bytes | None, fields: Mapping[str, str]
) -> HTTPResponse:
    try:
        connection.request(method, path, body, dict(fields))
    except (BrokenPipeError, ConnectionResetError):
        # It may have refused a large request before that was all sent, and the refusal is there to read.
        pass
    return connection.getresponse()


def _not_reached(path: Path, error: OSError) -> NotReached:
    match error:
        case PermissionError():
            return NotReached(f"you may not open {path}: run this as root or as the user that pyproxy runs as")
        case ConnectionRefusedError():
            return NotReached(
                f"no pyproxy is running here: nobody listens at the socket {path}, which an earlier one left; "
                f"start it, or {_ELSEWHERE}"
            )
        case TimeoutError() | BlockingIOError():
            return Silent(f"the pyproxy at {path} accepts no connection in time; is it busy or stopped?")
    return NotReached(f"{path} cannot be connected to ({error.strerror or error}); {_ELSEWHERE}")


def _with_host(host: str) -> str:
    return "/api/v1/intercept/learned" + (f"?{urlencode({'host': host})}" if host else "")

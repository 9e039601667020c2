"""What the API answers: from a request, read whole, to a status and content. Knows no connections.

Theory of operation. A request is led to one of the `ROUTES`, what it brings is decoded strictly as that route's type,
the daemon is asked, and what it says is encoded as the route's other type. Whatever goes wrong on the way becomes
problem details (RFC 9457): 400 for a request that is not what the route takes, 422 for settings that are not valid, 409
for a wish that cannot be granted now, 500 for a fault, which is logged.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, NamedTuple, get_args
from urllib.parse import parse_qsl

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from twistedproxy.control.openapi import document
from twistedproxy.control.steering import CannotBeDone, Steered
from twistedproxy.control.types import (
    CERTIFICATE_TYPES,
    CONNECTION_ID,
    LISTED_CONNECTIONS,
    LISTED_SHARES,
    MOST_CONNECTIONS,
    MOST_SHARES,
    READY,
    ROUTES,
    Candidate,
    CertificateAuthority,
    CertificateFormat,
    Connections,
    ConnectionState,
    Done,
    Drain,
    Entry,
    Explanation,
    Finding,
    Health,
    Inquiry,
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

JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"

OPENAPI_PATH: Final = "/api/v1/openapi.json"
METRICS_PATH: Final = "/metrics"
CERTIFICATE_PATH: Final = "/api/v1/ca/certificate"
LEARNED_PATH: Final = "/api/v1/intercept/learned"
ENTRIES_PATH: Final = "/api/v1/blocklists/entries"
LIMITS_PATH: Final = "/api/v1/limits"
LIST_TEST_PATH: Final = "/api/v1/blocklists/test"

_ARGUMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "/api/v1/connections": ("limit", "client", "state"),
    CERTIFICATE_PATH: ("format",),
    LEARNED_PATH: ("host",),
    ENTRIES_PATH: ("host", "allow"),
    LIST_TEST_PATH: ("target",),
    LIMITS_PATH: ("limit", "name"),
}
"""What a query may have, where it may have anything."""

OPEN_PATHS: Final = frozenset({"/healthz", "/readyz", METRICS_PATH})
"""What is answered at a door that everybody may knock at."""

CONTENT_LIMIT: Final = 1024 * 1024
"""How many bytes of content a request may have."""

PHRASES: Final[Mapping[int, str]] = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
"""Every status that is answered, in words (RFC 9110 section 15)."""


class Asked(NamedTuple):
    """A request that has arrived whole; ``target`` is its path and query."""

    method: str
    target: str
    content_type: str = ""
    accept: str = ""
    content: bytes = b""


class Answer(NamedTuple):
    """What is answered; ``allow`` has the methods that there are, for 405."""

    status: int
    media_type: str
    content: bytes
    allow: str = ""


class Refusal(Exception):
    """The request is answered with a problem."""

    def __init__(self, status: int, detail: str, problems: list[str] | None = None, allow: str = "") -> None:
        super().__init__(detail)
        self.answer = problem(status, detail, problems, allow)


def problem(status: int, detail: str, problems: list[str] | None = None, allow: str = "") -> Answer:
    """An answer that says what went wrong."""
    details = Problem(PHRASES[status], status, detail, problems=problems or [])
    return Answer(status, PROBLEM, msgspec.json.encode(details), allow)


class _Wish(NamedTuple):
    """What a request comes to: the decoded content, the arguments of its query, and the last part of its path."""

    content: Any
    query: dict[str, str]
    id: str


class _Route(NamedTuple):
    """One of the `ROUTES`, ready for use."""

    takes: msgspec.json.Decoder[Any] | None
    act: Callable[[_Wish], Any]


class Api:
    """Answers for ``steered``; with ``only``, at no path but these."""

    _log = Logger()

    def __init__(self, steered: Steered, only: Collection[str] | None = None) -> None:
        self._steered = steered
        actions: dict[tuple[str, str], Callable[[_Wish], Any]] = {
            ("GET", "/api/v1/status"): self._status,
            ("GET", "/api/v1/connections"): self._connections,
            ("DELETE", "/api/v1/connections/{id}"): self._close_connection,
            ("GET", "/api/v1/settings"): self._settings,
            ("POST", "/api/v1/settings/validate"): self._judge,
            ("POST", "/api/v1/settings/diff"): self._judge,
            ("POST", "/api/v1/settings/apply"): self._apply,
            ("POST", "/api/v1/reload"): self._reload,
            ("POST", "/api/v1/drain"): self._drain,
            ("POST", "/api/v1/upgrade"): self._upgrade,
            ("GET", "/api/v1/log-level"): self._log_level,
            ("PUT", "/api/v1/log-level"): self._set_log_level,
            ("GET", "/api/v1/ca"): self._authority,
            ("POST", "/api/v1/ca/renew"): self._renew_authority,
            ("GET", LEARNED_PATH): self._learned,
            ("DELETE", LEARNED_PATH): self._forget_learned,
            ("POST", "/api/v1/explain"): self._explain,
            ("GET", "/api/v1/blocklists"): self._blocklists,
            ("POST", "/api/v1/blocklists/refresh"): self._refresh_lists,
            ("POST", ENTRIES_PATH): self._add_entry,
            ("DELETE", ENTRIES_PATH): self._remove_entry,
            ("GET", LIST_TEST_PATH): self._test_lists,
            ("GET", LIMITS_PATH): self._limits,
            ("POST", "/api/v1/limits/reset"): self._refill,
            ("GET", "/healthz"): self._healthy,
            ("GET", "/readyz"): self._ready,
        }
        self._routes: dict[str, dict[str, _Route]] = {}
        for method, path, takes, _gives, _purpose in ROUTES:
            if only is None or path in only:
                decoder: msgspec.json.Decoder[Any] | None = None if takes is None else msgspec.json.Decoder(takes)
                self._routes.setdefault(path, {})[method] = _Route(decoder, actions[method, path])
        others = {OPENAPI_PATH: self._openapi, METRICS_PATH: self._openapi, CERTIFICATE_PATH: self._certificate}
        for path, act in others.items():
            if only is None or path in only:
                self._routes[path] = {"GET": _Route(None, act)}

    def __repr__(self) -> str:
        return f"<Api {len(self._routes)} paths of {self._steered!r}>"

    async def answer(self, asked: Asked) -> Answer:
        """Do what is asked, and say what came of it. Raises nothing."""
        try:
            path, _, query = _origin_form(asked.target).partition("?")
            if path == METRICS_PATH and asked.method in ("GET", "HEAD"):
                return await self._metrics(asked.accept)
            route, id = self._route(asked.method, path)
            wish = _Wish(_decoded(route.takes, asked), _arguments(path, query), id)
            said = route.act(wish)
            if isinstance(said, Deferred):
                said = await said
            return said if isinstance(said, Answer) else Answer(200, JSON, msgspec.json.encode(said))
        except Refusal as refusal:
            return refusal.answer
        except CannotBeDone as error:
            lines = str(error).splitlines()
            return problem(409, lines[0] if lines else "", lines)
        except Exception:
            self._log.failure("a fault while answering {method} {target}", method=asked.method, target=asked.target)
            return problem(500, "the fault is in the operational log")

    def _route(self, method: str, path: str) -> tuple[_Route, str]:
        methods, id = self._routes.get(path), ""
        if methods is None:
            parent, _, id = path.rpartition("/")
            methods = self._routes.get(f"{parent}/{{id}}")
        if methods is None:
            raise Refusal(404, "there is nothing at this path")
        route = methods.get("GET" if method == "HEAD" else method)
        if route is None:
            allowed = [one for name in methods for one in ((name, "HEAD") if name == "GET" else (name,))]
            raise Refusal(405, f"this path takes {' and '.join(allowed)}", allow=", ".join(allowed))
        return route, id

    # ------------------------------------------------------------ what can be asked

    def _status(self, _wish: _Wish) -> Deferred[Status]:
        return self._steered.status()

    def _connections(self, wish: _Wish) -> Deferred[Connections]:
        query = wish.query
        limit = _number(query.get("limit", str(LISTED_CONNECTIONS)), MOST_CONNECTIONS)
        client = query.get("client", "")
        if client:
            try:
                client = str(ipaddress.ip_address(client))
            except ValueError:
                raise Refusal(400, "client is an IP address") from None
        state = query.get("state", "")
        if state and state not in get_args(ConnectionState):
            raise Refusal(400, f"state is one of {', '.join(get_args(ConnectionState))}")
        return self._steered.connections(limit, client, state)

    async def _closed(self, id: str) -> Done:
        if not re.fullmatch(CONNECTION_ID, id) or not await self._steered.close_connection(id):
            raise Refusal(404, "there is no connection of this id")
        return Done(f"connection {id} is being closed")

    def _close_connection(self, wish: _Wish) -> Deferred[Done]:
        return Deferred.fromCoroutine(self._closed(wish.id))

    def _settings(self, _wish: _Wish) -> SettingsInForce:
        return self._steered.settings()

    def _judge(self, wish: _Wish) -> Verdict:
        candidate: Candidate = wish.content
        return self._steered.judge(candidate)

    def _apply(self, wish: _Wish) -> Deferred[Verdict]:
        return self._steered.apply(wish.content).addCallback(_valid)

    def _reload(self, _wish: _Wish) -> Deferred[Done]:
        return self._steered.reload().addCallback(lambda _: Done("the settings have been reloaded"))

    def _drain(self, wish: _Wish) -> Done:
        drain: Drain = wish.content
        self._steered.drain(drain.timeout)
        return Done("draining")

    def _upgrade(self, _wish: _Wish) -> Deferred[Done]:
        return self._steered.upgrade().addCallback(lambda pid: Done(f"process {pid} goes on"))

    def _log_level(self, _wish: _Wish) -> LogLevel:
        return LogLevel(self._steered.log_level)

    def _set_log_level(self, wish: _Wish) -> Deferred[LogLevel]:
        wanted: LogLevel = wish.content
        return self._steered.set_log_level(wanted.level).addCallback(lambda _: wanted)

    def _authority(self, _wish: _Wish) -> Deferred[CertificateAuthority]:
        return self._steered.certificate_authority()

    def _renew_authority(self, _wish: _Wish) -> Deferred[CertificateAuthority]:
        return self._steered.renew_authority()

    def _certificate(self, wish: _Wish) -> Deferred[Answer]:
        format = wish.query.get("format", "pem")
        if format not in CERTIFICATE_TYPES:
            raise Refusal(400, f"format is one of {', '.join(CERTIFICATE_TYPES)}")
        known: CertificateFormat = format
        given = self._steered.authority_certificate(known)
        return given.addCallback(lambda content: Answer(200, CERTIFICATE_TYPES[known], content))

    def _learned(self, wish: _Wish) -> Deferred[WhatWasLearned]:
        return self._steered.learned(wish.query.get("host", ""), False)

    def _forget_learned(self, wish: _Wish) -> Deferred[Done]:
        host = wish.query.get("host")
        if host == "":
            raise Refusal(400, "host is empty: leave it out for all of them")
        forgotten = self._steered.learned(host or "", True)
        return forgotten.addCallback(lambda were: Done(f"{len(were.learned)} forgotten"))

    def _explain(self, wish: _Wish) -> Deferred[Explanation]:
        inquiry: Inquiry = wish.content
        try:
            inquiry.client = str(ipaddress.ip_address(inquiry.client))
        except ValueError:
            raise Refusal(400, "client is an IP address") from None
        return self._steered.explain(inquiry)

    def _blocklists(self, _wish: _Wish) -> WhatIsBlocked:
        return self._steered.blocklists()

    def _refresh_lists(self, wish: _Wish) -> Deferred[Done]:
        wanted: Refresh = wish.content
        refreshed = self._steered.refresh_lists(wanted.name, wanted.force)
        return refreshed.addCallback(lambda names: Done(f"{', '.join(names) or 'nothing'} changed"))

    def _add_entry(self, wish: _Wish) -> Deferred[Done]:
        entry: Entry = wish.content
        edited = self._steered.edit_list(entry.host, allow=entry.allow, there=True)
        does = "never blocked" if entry.allow else "blocked"
        return edited.addCallback(lambda new: Done(f"{entry.host} is {does} from now on" if new else "it was there"))

    def _remove_entry(self, wish: _Wish) -> Deferred[Done]:
        host, allow = wish.query.get("host", ""), wish.query.get("allow", "false")
        if not host or allow not in ("true", "false"):
            raise Refusal(400, "host is a host, and allow is true or false")
        edited = self._steered.edit_list(host, allow=allow == "true", there=False)
        return edited.addCallback(lambda gone: _removed(host, gone))

    def _test_lists(self, wish: _Wish) -> Finding:
        target = wish.query.get("target", "")
        if not target:
            raise Refusal(400, "target is a host or a URL")
        return self._steered.test_lists(target)

    def _limits(self, wish: _Wish) -> Deferred[WhatIsLimited]:
        limit = _number(wish.query.get("limit", str(LISTED_SHARES)), MOST_SHARES)
        return self._steered.limits(limit, wish.query.get("name", ""))

    def _refill(self, wish: _Wish) -> Deferred[Done]:
        refill: Refill = wish.content
        whose = refill.key or "everybody"
        done = f"{whose} begins anew under the limit {refill.name}"
        return self._steered.refill(refill.name, refill.key).addCallback(lambda _: Done(done))

    def _healthy(self, _wish: _Wish) -> Health:
        return Health("ok")

    def _ready(self, _wish: _Wish) -> Health | Answer:
        state = self._steered.state
        if state in READY:
            return Health("ok")
        return Answer(503, JSON, msgspec.json.encode(Health(state)))

    def _openapi(self, _wish: _Wish) -> Answer:
        return Answer(200, JSON, document())

    async def _metrics(self, accept: str) -> Answer:
        # The library takes 15 ms to load, which a daemon that nobody scrapes need not spend.
        from twistedproxy.control.metrics import exposition_of

        return Answer(200, *exposition_of(await self._steered.status(), accept))


def _number(text: str, most: int) -> int:
    """The value of ``limit``."""
    if not re.fullmatch("[0-9]{1,6}", text) or not 1 <= int(text) <= most:
        raise Refusal(400, f"limit is a number from 1 to {most}")
    return int(text)


def _removed(host: str, gone: bool) -> Done:
    if not gone:
        raise Refusal(404, "it is not on that list")
    return Done(f"{host} is off the list")


def _valid(verdict: Verdict) -> Verdict:
    if not verdict.valid:
        raise Refusal(422, "the settings are not valid, and have not been applied", verdict.problems)
    return verdict


def _origin_form(target: str) -> str:
    """The path and query of a target that may be a whole URL (RFC 9112 section 3.2.2)."""
    if target.startswith("/"):
        return target
    scheme, separator, rest = target.partition("://")
    if separator and scheme.lower() == "http":
        _authority, slash, path = rest.partition("/")
        return slash + path
    return target


def _decoded(takes: msgspec.json.Decoder[Any] | None, asked: Asked) -> Any:
    """The content as what a route takes."""
    if takes is None:
        if asked.content:
            raise Refusal(400, "nothing is taken here, and the request has content")
        return None
    if asked.content and asked.content_type.partition(";")[0].strip().lower() != JSON:
        raise Refusal(415, f"content is taken as {JSON}")
    try:
        # Where every member has a default, no content is as good as an empty object.
        return takes.decode(asked.content or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refusal(400, str(error)) from None


def _arguments(path: str, query: str) -> dict[str, str]:
    """The arguments of a query, each of which is known and there once."""
    if path in OPEN_PATHS:
        # Probes and scrapers have some of their own.
        return {}
    known = _ARGUMENTS.get(path, ())
    arguments: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            raise Refusal(400, f"no argument {name!r} is known here")
        if name in arguments:
            raise Refusal(400, f"{name} is there more than once")
        arguments[name] = value
    return arguments

"""What goes in and out at the API's door. ``docs/openapi.json`` and what `pyproxyctl` reads are made from these."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from twistedproxy.blocklists.state import ListState
from twistedproxy.limits.state import ShareState
from twistedproxy.record.connections import Connection as Connection
from twistedproxy.record.connections import ConnectionState as ConnectionState
from twistedproxy.record.learned import Learned
from twistedproxy.record.statistics import Statistics

Level = Literal["debug", "info", "warn", "error", "critical"]
State = Literal["starting", "ready", "reloading", "draining", "stopping"]

READY: tuple[State, ...] = ("ready", "reloading")
"""The states in which new connections are taken."""

LISTED_CONNECTIONS = 1000
"""How many connections are listed when the client does not say."""

MOST_CONNECTIONS = 10_000
"""How many connections are listed at most."""

CertificateFormat = Literal["pem", "der", "p12"]
"""In which forms the authority's certificate is given out; PKCS #12 comes without a password."""

CERTIFICATE_TYPES: dict[CertificateFormat, str] = {
    "pem": "application/x-pem-file",
    "der": "application/pkix-cert",
    "p12": "application/x-pkcs12",
}
"""The media type of each."""

CONNECTION_ID = "[0-9]{1,10}-[0-9]{1,20}"
"""What the id of a connection looks like."""


class Problem(msgspec.Struct, omit_defaults=True):
    """What went wrong: problem details (RFC 9457).

    ``title`` is the status in words. ``detail`` says what was wrong this time; where there is more to say than one
    line, ``problems`` has all of them.
    """

    title: str
    status: int
    detail: str = ""
    type: str = "about:blank"
    problems: list[str] = []


class Worker(msgspec.Struct):
    """One of the processes that move traffic; with one worker it is the daemon itself.

    ``number`` counts from 0. ``state`` is ``starting``, ``ready``, ``draining``, or ``waiting`` while it is down and
    the back-off runs. ``uptime`` and ``answered`` are in seconds; ``answered`` is how long ago its numbers were read.
    """

    number: int
    pid: int
    state: Literal["starting", "ready", "draining", "waiting"]
    uptime: float
    restarts: int
    last_end: str
    answered: float
    statistics: Statistics


class Status(msgspec.Struct):
    """The daemon at this moment. ``uptime`` is in seconds, ``started`` in seconds since 1970.

    ``generation`` counts the settings that were in force, ``reloads`` the reloads that went well, ``reloads_failed``
    the others. ``statistics`` is what all workers, those of the past included, come to together. ``name_servers`` are
    asked for names; it is empty where the system's own resolver is.
    """

    version: str
    pid: int
    state: State
    started: float
    uptime: float
    generation: int
    settings_file: str
    log_level: Level
    listeners: list[str]
    reloads: int
    reloads_failed: int
    workers: list[Worker]
    statistics: Statistics
    blocklists: list[ListState] = []
    name_servers: list[str] = []


class Connections(msgspec.Struct):
    """The connections, the oldest first. ``total`` counts those also that were left out."""

    total: int
    connections: list[Connection]


LISTED_SHARES = 20
"""How many of those who are limited are listed when the client does not say."""

MOST_SHARES = 10_000
"""How many are listed at most."""

Table = dict[str, bool | int | float | str | list[str | int] | dict[str, list[str]]]
"""The value of a setting that is a table."""


class Setting(msgspec.Struct):
    """One key, its value, and where that comes from: ``default``, a file and line, a variable, or ``--set``."""

    key: str
    value: (
        str
        | int
        | float
        | bool
        | list[str | int | dict[str, bool | int | float | str | list[str | int] | dict[str, list[str]]]]
    )
    source: str


class SettingsInForce(msgspec.Struct):
    """Every setting in force."""

    generation: int
    file: str
    settings: list[Setting]


class Candidate(msgspec.Struct, forbid_unknown_fields=True):
    """A settings file that may come to be used: ``toml`` is its text.

    Without a text it is what is on the disk now. With ``persist`` it is also written to the settings file.
    """

    toml: str | None = None
    persist: bool = False


class Change(msgspec.Struct):
    """One key that would change; values as TOML."""

    key: str
    running: str
    candidate: str
    source: str


class Verdict(msgspec.Struct):
    """What a candidate comes to: all that is wrong with it, what it would change, and what is unwise about it."""

    valid: bool
    problems: list[str]
    changes: list[Change]
    warnings: list[str]


class Done(msgspec.Struct):
    """It has been done; ``detail`` says what."""

    detail: str


class LogLevel(msgspec.Struct, forbid_unknown_fields=True):
    """From which level on the operational log is written; until the next reload."""

    level: Level


class Drain(msgspec.Struct, forbid_unknown_fields=True):
    """A wish to stop: what is under way may go on for ``timeout`` seconds, by default as long as the settings say."""

    timeout: Annotated[float, msgspec.Meta(ge=0, le=86400)] | None = None


class CertificateAuthority(msgspec.Struct):
    """The authority that the proxy's certificates come from.

    ``origin`` is ``own`` where the proxy has made it, ``operator`` where `tls.authority` names it. ``fingerprint`` is
    the SHA-256 of its certificate. ``not_before`` and ``not_after`` are in seconds since 1970, and of several
    certificates in a chain the end is the earliest; ``days_left`` is negative when it has passed. ``files`` are on the
    proxy's machine.
    """

    origin: Literal["own", "operator"]
    subject: str
    fingerprint: str
    not_before: float
    not_after: float
    days_left: int
    files: list[str]


class WhatWasLearned(msgspec.Struct):
    """The clients that do not take the proxy's certificates, and for which hosts, as each worker knows it."""

    learned: list[Learned]


class Inquiry(msgspec.Struct, forbid_unknown_fields=True):
    """What would become of a request for ``url``, or of a tunnel when that is ``host:port``.

    ``client`` is an IP address. ``user`` and ``groups`` are who the client has proved to be; without groups it is those
    that the account is in. ``at`` is in seconds since 1970, by default now, and ``listener`` one of
    `downstream.listen`, by default the first. Of a URL with ``https`` it is told what becomes of the tunnel, and of the
    request in it when that is looked into.
    """

    url: str
    client: str = "127.0.0.1"
    user: str = ""
    groups: list[str] = []
    method: str = "GET"
    at: float | None = None
    listener: str = ""
    fields: dict[str, str] = {}


class Step(msgspec.Struct):
    """What one stage says.

    ``by`` is the key, the rule by its name, or the address that it is about, ``key`` the path of the key and ``source``
    where that was set. ``detail`` says why.
    """

    stage: Literal[
        "name", "client", "account", "port", "rule", "list", "limit", "route", "look-up", "destination", "interception"
    ]
    decision: Literal["allowed", "denied", "asked", "set", "no match", "open", "failed", "looked into", "left alone"]
    by: str
    key: str = ""
    source: str = ""
    detail: str = ""


class ExplainedRequest(msgspec.Struct):
    """What becomes of a request, or a tunnel, and every stage that it has come through.

    ``reason`` is the word in the access log; it is empty when it is ``allowed``, and ``status`` is 200 then, though the
    server has the word. ``rule`` is the one that has decided.
    """

    method: str
    url: str
    allowed: bool
    status: int
    reason: str
    rule: str
    steps: list[Step]


class Explanation(msgspec.Struct):
    """A request; or a tunnel, and what is asked for in it when that is looked into."""

    allowed: bool
    requests: list[ExplainedRequest]


class WhatIsBlocked(msgspec.Struct):
    """The lists of what is blocked, in their order; the operator's own two come last, where there are any."""

    lists: list[ListState]


class Refresh(msgspec.Struct, forbid_unknown_fields=True):
    """A wish to look at the list ``name`` again, or at all of them when that is empty.

    With ``force`` it is fetched whether it has changed or not, and used even if it has shrunk.
    """

    name: str = ""
    force: bool = False


class Entry(msgspec.Struct, forbid_unknown_fields=True):
    """A host for the operator's own list of what is blocked; with ``allow`` for that of what never is."""

    host: str
    allow: bool = False


class Finding(msgspec.Struct):
    """What the lists that are for everybody have on ``target``: the list that decides, and its rule; else empty."""

    target: str
    blocked: bool
    list: str = ""
    category: str = ""
    rule: str = ""


class LimitInForce(msgspec.Struct):
    """One limit. Numbers that are 0 limit nothing; sizes are in bytes.

    It holds for ``everybody``, or for those to whom rules give it. ``refusals`` and ``slowings`` count what it has
    refused or cut, and made wait or rest.
    """

    name: str
    per: str
    everybody: bool
    when_over: str
    requests_per_second: float
    burst: float
    connections: int
    tunnels: int
    download: int
    upload: int
    daily: int
    monthly: int
    refusals: int
    slowings: int


class WhatIsLimited(msgspec.Struct):
    """The limits, and those who have taken up most of what they allow, the nearest to a limit first.

    ``day_ends`` and ``month_ends`` are in seconds since 1970; 0 where there is no limit.
    """

    limits: list[LimitInForce]
    shares: list[ShareState]
    day_ends: float
    month_ends: float


class Refill(msgspec.Struct, forbid_unknown_fields=True):
    """A wish that ``key`` begins anew under the limit ``name``, or everybody when it is empty."""

    name: str
    key: str = ""


class Health(msgspec.Struct):
    """Whether it lives, or is ready: ``status`` is ``ok``, or says why not."""

    status: str


ROUTES: tuple[tuple[str, str, type | None, type, str], ...] = (
    ("GET", "/api/v1/status", None, Status, "What the daemon is doing, and its numbers."),
    ("GET", "/api/v1/connections", None, Connections, "The client connections; ?limit=N, ?client=ADDRESS, ?state=S."),
    ("DELETE", "/api/v1/connections/{id}", None, Done, "Close one client connection, whatever it carries."),
    ("GET", "/api/v1/settings", None, SettingsInForce, "Every setting in force, and where it comes from."),
    ("POST", "/api/v1/settings/validate", Candidate, Verdict, "Judge a candidate; nothing changes."),
    ("POST", "/api/v1/settings/diff", Candidate, Verdict, "What a candidate would change; nothing changes."),
    ("POST", "/api/v1/settings/apply", Candidate, Verdict, "Go by a candidate from now on, as a reload would."),
    ("POST", "/api/v1/reload", None, Done, "Read the settings again and go by them."),
    ("POST", "/api/v1/drain", Drain, Done, "Stop accepting, let what is under way end, then stop."),
    ("POST", "/api/v1/upgrade", None, Done, "Start the installed version on the same sockets, then drain this one."),
    ("GET", "/api/v1/log-level", None, LogLevel, "The level of the operational log."),
    ("PUT", "/api/v1/log-level", LogLevel, LogLevel, "Set the level of the operational log."),
    ("GET", "/api/v1/ca", None, CertificateAuthority, "The certificate authority; it is made if there is none."),
    ("POST", "/api/v1/ca/renew", None, CertificateAuthority, "Make a new authority; files of the old one are kept."),
    ("GET", "/api/v1/intercept/learned", None, WhatWasLearned, "Who refuses our certificates, and where; ?host=HOST."),
    ("DELETE", "/api/v1/intercept/learned", None, Done, "Forget that, for all hosts or for one; ?host=HOST."),
    ("POST", "/api/v1/explain", Inquiry, Explanation, "What would become of a request, and which rule says so."),
    ("GET", "/api/v1/blocklists", None, WhatIsBlocked, "The lists of what is blocked, and how fresh they are."),
    ("POST", "/api/v1/blocklists/refresh", Refresh, Done, "Look at lists again now; answered when that is over."),
    ("POST", "/api/v1/blocklists/entries", Entry, Done, "Put a host on the operator's own list, at once."),
    ("DELETE", "/api/v1/blocklists/entries", None, Done, "Take one from it; ?host=HOST, ?allow=true."),
    ("GET", "/api/v1/blocklists/test", None, Finding, "What the lists have on a host or a URL; ?target=TARGET."),
    ("GET", "/api/v1/limits", None, WhatIsLimited, "The limits, and who is near to them; ?limit=N, ?name=NAME."),
    ("POST", "/api/v1/limits/reset", Refill, Done, "Let somebody, or everybody, begin anew under a limit."),
    ("GET", "/healthz", None, Health, "200 while the daemon lives."),
    ("GET", "/readyz", None, Health, "200 while it takes new connections; 503 before it starts to drain."),
)
"""Every endpoint that speaks JSON: method, path, what it takes, what it gives, and what it is for."""

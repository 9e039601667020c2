"""One request and its response: what is true of every exchange, whatever becomes of it.

An exchange stands between the connection a request came on, the `Downstream`, and whatever answers it. It does not
know which version of HTTP either side speaks. It begins with the request's head and ends exactly once, with one
record in the access log.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from twistedproxy.access.blocklists.lists import Listed
from twistedproxy.access.profile import NO_PROFILE
from twistedproxy.access.question import INTERCEPTED, PLAIN, TUNNEL, Question
from twistedproxy.access.rules import Destinations
from twistedproxy.accounts.account import Account
from twistedproxy.accounts.certificates import VerifiedCertificate
from twistedproxy.accounts.checks import Check
from twistedproxy.data_plane import DataPlane
from twistedproxy.downstream_side import Downstream
from twistedproxy.errors import (
    Blocked,
    CredentialsRefused,
    CredentialsWanted,
    DeniedByRule,
    LimitReached,
    LoopDetected,
    ProxyError,
    Refused,
)
from twistedproxy.http.forwarding import via_names
from twistedproxy.http.message import Fields, RequestHead
from twistedproxy.http.target import Target
from twistedproxy.limits.hold import Hold
from twistedproxy.record.escaping import without_userinfo
from twistedproxy.record.finished import NOT_APPLICABLE
from twistedproxy.routes.route import Route
from twistedproxy.upstream.special_names import known_addresses


class Exchange:
    """The base of every exchange, and the record of it (`twistedproxy.record.finished.FinishedExchange`)."""

    __slots__ = (
        "_check",
        "account",
        "blocklists",
        "bytes_from_client",
        "bytes_from_upstream",
        "bytes_to_client",
        "bytes_to_upstream",
        "client_address",
        "client_port",
        "connect_seconds",
        "destinations",
        "detail",
        "downstream",
        "finished_at",
        "finished_wall",
        "first_byte_seconds",
        "groups",
        "hold",
        "inside",
        "kind",
        "listed",
        "over",
        "plane",
        "profile",
        "reason",
        "request",
        "response",
        "reused",
        "route",
        "rule",
        "snapshot",
        "started_at",
        "status",
        "upstream_address",
        "user",
    )

    _log = Logger()

    def __init__(self, plane: DataPlane, downstream: Downstream, request: RequestHead | None) -> None:
        self.plane = plane
        self.snapshot = plane.snapshot
        self.downstream = downstream
        self.blocklists = self.snapshot.blocklists
        """The lists that this request is held against; None where there are none."""
        self.listed: Listed | None = None
        """What they had on it."""
        self.request = request
        self.response: Fields | None = None
        self.kind = "answer"
        self.client_address = downstream.client_address
        self.client_port = downstream.client_port
        self.user = b""
        self.groups: frozenset[str] = frozenset()
        """The groups of ``user``."""
        self.account: Account | None = None
        """Whose request it is, once that is proven; of one in a tunnel, who opened that."""
        self.inside = False
        """Whether it came through a tunnel that is looked into."""
        self.rule = ""
        """The access rule that has decided, by its name."""
        self.profile = NO_PROFILE
        """What the access rules have given to the client."""
        self.route: Route | None = None
        """By which other proxies it goes on; None where it goes to the server itself."""
        self.destinations: Destinations | None = None
        """What the access rules say of the address that it leads to, where that matters to them."""
        self.hold: Hold | None = None
        """What limits it; None when nothing does."""
        self._check: Check | None = None
        self.status = 0
        self.started_at = plane.deadlines.seconds()
        self.finished_at = self.finished_wall = 0.0
        self.connect_seconds = self.first_byte_seconds = NOT_APPLICABLE
        self.upstream_address = ""
        self.reused = False
        self.reason = self.detail = ""
        self.over = False
        # Until the end the two hold what the connection had counted before.
        self.bytes_from_client = 0
        self.bytes_to_client = downstream.sent
        self.bytes_to_upstream = self.bytes_from_upstream = 0

    def __repr__(self) -> str:
        state = self.reason or "over" if self.over else "under way"
        # It goes to the operational log when something breaks.
        seen = self.snapshot.discretion.view(self)
        url = without_userinfo(seen.url)
        return f"<{type(self).__name__} {seen.client_address} {self.method!r} {url!r} {self.status} {state}>"

    # ------------------------------------------------------------ the record

    @property
    def method(self) -> bytes:
        """The request's method."""
        return self.request.method if self.request is not None else b""

    @property
    def url(self) -> bytes:
        """The request's target, as it was sent."""
        return self.request.target if self.request is not None else b""

    @property
    def version(self) -> bytes:
        """The request's version."""
        return b"HTTP/" + self.request.version if self.request is not None else b""

    def moved_so_far(self) -> tuple[int, int, int, int]:
        """The byte counts of an exchange under way: from and to the client, to and from upstream."""
        return (
            self.downstream.received - self.bytes_from_client,
            self.downstream.sent - self.bytes_to_client,
            self.bytes_to_upstream,
            self.bytes_from_upstream,
        )

    def request_field(self, name: bytes) -> bytes:
        """The value of one of the request's fields; nothing when it is absent."""
        return self.request.fields.first(name) if self.request is not None else b""

    def response_field(self, name: bytes) -> bytes:
        """The value of one of the response's fields; nothing when it is absent."""
        return self.response.first(name) if self.response is not None else b""

    # ------------------------------------------------------------ the request, as it comes

    def request_content(self, content: bytes) -> None:
        """A piece of the request's content. Whoever answers without it lets it pass."""

    def request_ended(self, trailers: Fields) -> None:
        """The request is complete."""

    def request_turn_ended(self) -> None:
        """All that came in this turn of the reactor has been told."""

    def response_room_made(self) -> None:
        """The client reads again."""

    # ------------------------------------------------------------ the stages

    def admit(self) -> RequestHead:
        """The first stage: may this client use the proxy, and is the request new to us?"""
        request = self.request
        assert request is not None
        access = self.snapshot.access
        if not access.client_allowed(self.client_address):
            access.check_client(self.client_address)
        if b"via" in request.fields.index and via_names(request.fields, self.snapshot.via):
            raise LoopDetected("its Via field names this proxy")
        return request

    def inherit(self, account: Account | None) -> None:
        """Be a request in a tunnel that ``account`` has opened, which is not asked for credentials again."""
        self.inside = True
        if account is not None:
            self._belong_to(account)

    def identify(self) -> bool:
        """The second stage: whose request is it? False when that takes a while; `go_on` or `fail` is called then.

        Credentials are checked whether they are needed or not. Raises `CredentialsWanted` and `CredentialsRefused`.
        """
        accounts = self.snapshot.accounts
        if accounts is None or self.inside:
            return True
        request = self.request
        assert request is not None
        fields = request.fields
        value = fields.index.get(b"proxy-authorization")
        if value is None:
            certificate = self.downstream.certificate
            if certificate is not None:
                return self._identify_by(certificate)
            if accounts.needed_from(self.client_address):
                raise CredentialsWanted()
            return True
        if type(value) is not bytes:
            raise CredentialsRefused("it has more than one Proxy-Authorization field")
        authenticator = self.plane.authenticator
        if not fields.credentials_key:
            fields.credentials_key = authenticator.key_of(value)
        answer = authenticator.identify(value, fields.credentials_key, self)
        if isinstance(answer, Check):
            self._check = answer
            return False
        self._belong_to(answer)
        return True

    def _identify_by(self, certificate: VerifiedCertificate) -> bool:
        """As `identify`, by the certificate of its client. One that is nobody's is as good as none."""
        try:
            answer = self.plane.authenticator.identify_certificate(certificate, self)
        except CredentialsRefused:
            self._be_nobodys()
            return True
        if isinstance(answer, Check):
            self._check = answer
            return False
        self._belong_to(answer)
        return True

    def _be_nobodys(self) -> None:
        """It came with a certificate that names no account. Raises `CredentialsWanted` where one is needed."""
        accounts = self.snapshot.accounts
        if accounts is not None and accounts.needed_from(self.client_address):
            raise CredentialsWanted("the certificate of its client names no account")

    def _belong_to(self, account: Account) -> None:
        self.account = account
        self.user = account.name
        self.groups = account.groups

    def identified(self, account: Account) -> None:
        """It is a request of ``account``."""
        self._check = None
        self._belong_to(account)
        self._go_on_or_fail(lambda: None)

    def not_identified(self, error: ProxyError) -> None:
        """It is nobody's, or that cannot be found out."""
        check, self._check = self._check, None
        if check is not None and check.certified and isinstance(error, CredentialsRefused):
            self._go_on_or_fail(self._be_nobodys)
        else:
            self.fail(error)

    def _go_on_or_fail(self, before: Callable[[], None]) -> None:
        try:
            before()
            self.go_on()
        except ProxyError as error:
            self.fail(error)
        except Exception:
            self.fail_unexpectedly()

    def go_on(self) -> None:
        """Take the request through the stages after `identify`."""

    def judge(self, target: Target) -> None:
        """The stage of the access rules, where there are any. Raises `Refused` when they do not allow the request."""
        rules = self.snapshot.rules
        request = self.request
        assert rules is not None
        assert request is not None
        verdict = rules.judge(
            # By position: by name it would take twice as long.
            Question(
                self.client_address,
                self.downstream.listener,
                request.method,
                target.scheme,
                target.host,
                target.port,
                target.path,
                INTERCEPTED if self.inside else PLAIN if target.scheme else TUNNEL,
                request.fields,
                self.plane.wall(),
                self.user.decode("utf-8", "replace") if self.user else "",
                self.groups,
            )
        )
        profile = self.profile = verdict.profile
        if profile.blocklists:
            self.blocklists = self.snapshot.chosen_lists(profile.blocklists)
        destinations = self.destinations = verdict.destinations
        if destinations is None:
            self.rule = verdict.label
        refusal = verdict.refusal(self.inside)
        if refusal is not None:
            raise refusal

    def find_way(self, target: Target) -> Target:
        """The stage of the routes, where there are any. ``target`` in the spelling that was judged.

        Where another proxy looks up the name, the rules cannot ask for its addresses. Raises `Refused` when they do not
        allow the request then, or when the host is an address that it must not lead to.
        """
        routes = self.snapshot.routes
        assert routes is not None
        route = self.route = routes.taken(self.profile.route)
        if route is None:
            return target
        destinations, self.destinations = self.destinations, None
        known = known_addresses(target.host)
        for one in known:
            (destinations or self.snapshot.access).check_destination(one.address, target.port)
        if destinations is not None:
            verdict = destinations.verdict(known[0].address) if known else destinations.otherwise
            self.rule = verdict.label
            refusal = verdict.refusal(self.inside)
            if refusal is not None:
                raise refusal
        return target.at(known[0].address) if len(known) == 1 else target

    def is_let_in(self, tunnel: bool) -> bool:
        """The stage of the limits, where there are any. False when it has to wait; `set_out` or `fail` is called then.

        ``tunnel`` is whether it is to become one. Raises `LimitReached`.
        """
        limits = self.snapshot.limits
        request = self.request
        assert limits is not None
        assert request is not None
        hold = self.plane.restraint.hold(self, limits, tunnel)
        if hold is None:
            return True
        self.hold = hold
        if hold.enter():
            return True
        if request.length:
            # Its client is not late with what nobody takes.
            self.downstream.pause_request()
        return False

    def may_enter(self) -> None:
        """It has waited for its turn."""
        try:
            self.set_out()
        except ProxyError as error:
            self.fail(error)
        except Exception:
            self.fail_unexpectedly()

    def set_out(self) -> None:
        """Take the request through the stages after that of the limits."""

    def exceeded(self, error: LimitReached) -> None:
        """It has used up a quota: cut it short."""
        self.fail(error)

    def connected_to(self, peer: str) -> None:
        """It goes to ``peer``, an address with its port."""
        self.upstream_address = peer
        if self.destinations is not None:
            self.rule = self.destinations.label(peer)

    def check_lists(self, host: str, scheme: str, port: int, path: bytes) -> None:
        """Raise `Blocked` when a list has ``host``, or the URL there, and blocks it; where there are lists."""
        lists = self.blocklists
        listed = lists.judge(host, scheme, port, path) if lists is not None else None
        if listed is not None:
            if self.listed is None:
                self.plane.tally.listed(listed)
            self.listed = listed
            if listed.blocks:
                raise Blocked(listed.sentence)

    def fail(self, error: ProxyError) -> None:
        """End with an error: a page, or a cut when the response has begun."""
        if self.over:
            return
        self.release()
        if isinstance(error, DeniedByRule):
            self.rule = error.rule
        if isinstance(error, Refused):
            # Found out late, by the resolved address: it was never forwarded anywhere.
            self.kind = "answer"
        self.detail = error.detail
        if self.status and not self.downstream.take_back():
            self.downstream.cut()
        else:
            self.status = error.status
            self.response = None
            self.downstream.send_error(error)
        self.finish(error.reason)

    def fail_unexpectedly(self) -> None:
        """End after an exception that no input should be able to cause; it goes to the operational log."""
        self._log.failure("{exchange!r} met a fault of the proxy's own", exchange=self)
        self.fail(ProxyError())

    def client_left(self, reason: str) -> None:
        """The client has gone: nobody wants an answer any more."""
        if not self.over:
            self.release()
            self.finish(reason)

    def stop(self, reason: str) -> None:
        """End now, at the proxy's wish."""
        if not self.over:
            self.release()
            self.downstream.cut()
            self.finish(reason)

    def release(self) -> None:
        """Let go of whatever upstream there is. Called before every end but a good one."""

    def finish(self, reason: str = "") -> None:
        """The end: once, with a record."""
        self.over = True
        if self._check is not None:
            self._check.leave(self)
            self._check = None
        self.reason = reason
        downstream = self.downstream
        plane = self.plane
        self.finished_at = plane.deadlines.seconds()
        self.finished_wall = plane.wall()
        self.bytes_from_client = downstream.received - self.bytes_from_client
        self.bytes_to_client = downstream.sent - self.bytes_to_client
        hold = self.hold
        if hold is not None:
            hold.leave(self.bytes_from_client, self.bytes_to_client)
            # The two know each other: broken here, they need no garbage collector.
            self.hold = None
        plane.tally.finished(self)
        if reason or self.profile.log is not False:
            plane.access_log.finished(self)
        downstream.exchange_over(self)

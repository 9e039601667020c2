"""What would become of a request, and why: every stage of its way asked in turn, and nothing sent anywhere.

Theory of operation. The stages are those that exchanges pass, made anew of the settings in force, so that the answers
are the same. It is done in the daemon's own process, whichever workers move the traffic. The one thing that leaves the
machine is the look-up of the name, by a resolver of its own without a memory.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_network
from typing import Any, Final, NamedTuple

from twisted.internet.address import IPv4Address, IPv6Address

from twistedproxy.access.addresses import AddressSet
from twistedproxy.access.blocklists.lists import Blocklists
from twistedproxy.access.conditions import ALLOW, ASK, SET
from twistedproxy.access.hosts import canonical_host
from twistedproxy.access.interception import Interception
from twistedproxy.access.limits.limits import Limits
from twistedproxy.access.policy import AccessPolicy
from twistedproxy.access.profile import Profile
from twistedproxy.access.question import INTERCEPTED, PLAIN, TUNNEL, Question
from twistedproxy.access.rules import DEFAULT, Rule, Rules, Verdict, key_path
from twistedproxy.accounts.files import AccountsError
from twistedproxy.accounts.roster import Roster
from twistedproxy.control.steering import CannotBeDone
from twistedproxy.control.types import ExplainedRequest, Explanation, Inquiry, Step
from twistedproxy.deadlines import Deadlines
from twistedproxy.errors import Blocked, CredentialsWanted, OwnName, ProxyError
from twistedproxy.http.inner import Inside
from twistedproxy.http.message import Fields
from twistedproxy.http.target import Target, parse_authority, parse_target
from twistedproxy.limits.explained import in_words, refusal
from twistedproxy.limits.state import ShareState
from twistedproxy.portal.names import HOSTS, is_page
from twistedproxy.record.learned import Learned
from twistedproxy.settings.blocklist_tables import OWN
from twistedproxy.settings.load import Loaded
from twistedproxy.settings.name_servers import longest_domain
from twistedproxy.settings.routes import RouteTable
from twistedproxy.tls.names import InvalidName, asked_for
from twistedproxy.tls.trust import Trust
from twistedproxy.upstream.literals import read_literal
from twistedproxy.upstream.own_addresses import OwnAddresses
from twistedproxy.upstream.resolving import resolver_for, told
from twistedproxy.upstream.special_names import known_addresses

_TOKEN: Final = frozenset(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_INTERCEPT: Final = "intercept.mode"


class _Told(NamedTuple):
    """What was found out of one request, and what the rules gave to it."""

    request: ExplainedRequest
    profile: Profile


class Explainer:
    """Explains by the settings of ``loaded``, and ``lists``, on a proxy that listens on ``addresses``.

    `close` it in the end.
    """

    def __init__(self, reactor: Any, loaded: Loaded, addresses: Iterable[Any], lists: Blocklists | None = None) -> None:
        settings = loaded.settings
        own = [(one.host, one.port) for one in addresses if isinstance(one, IPv4Address | IPv6Address)]
        self._loaded = loaded
        self._lists = lists
        self._access = AccessPolicy.of(settings.access, own_ports=own, is_own_address=OwnAddresses(time.monotonic))
        self._rules = Rules.of(settings.access, self._access)
        by_rule = self._rules is not None and self._rules.may_intercept
        self._exempt = AddressSet.of(settings.accounts.exempt_clients, look_inside=False)
        self._interception = Interception.of(settings.intercept, by_rule=by_rule)
        self._limits = Limits.of(settings.limits)
        self._shares: dict[tuple[str, str], ShareState] = {}
        self._resolver = resolver_for(
            reactor,
            settings.resolver,
            Deadlines(reactor),
            lambda: Trust.of(settings.upstream_tls),
            threads=1,
            cache_size=0,
        )

    def __repr__(self) -> str:
        return f"<Explainer {self._rules!r} {self._interception!r}>"

    def close(self) -> None:
        """Let go of what looks names up."""
        self._resolver.close()

    async def explain(
        self, inquiry: Inquiry, learned: Sequence[Learned] = (), shares: Iterable[ShareState] = ()
    ) -> Explanation:
        """What becomes of a request or tunnel; ``learned`` are those whose tunnels are left alone.

        ``shares`` are what has been taken up of limits. Raises `CannotBeDone` when there is no such request.
        """
        self._shares = {(one.limit, one.key): one for one in shares}
        method, target = self._asked(inquiry)
        if target.scheme != "https":
            told = await self._explain_one(inquiry, method, target, TUNNEL if not target.scheme else PLAIN)
            if not target.scheme and told.request.allowed:
                told.request.steps.append(self._look_inside(inquiry, target, told.profile, learned)[0])
            return Explanation(told.request.allowed, [told.request])
        # That is how a client comes to it: through a tunnel.
        authority = Inside.of(b"http", target.host, target.port).authority
        if target.port == 80:
            authority += b":80"
        tunnel = parse_target(b"CONNECT", authority)
        outer = await self._explain_one(inquiry, b"CONNECT", tunnel, TUNNEL)
        if not outer.request.allowed:
            return Explanation(False, [outer.request])
        step, opened = self._look_inside(inquiry, tunnel, outer.profile, learned)
        outer.request.steps.append(step)
        if not opened:
            return Explanation(True, [outer.request])
        inner = await self._explain_one(inquiry, method, target, INTERCEPTED)
        return Explanation(inner.request.allowed, [outer.request, inner.request])

    def _asked(self, inquiry: Inquiry) -> tuple[bytes, Target]:
        """Method and target of what is asked about."""
        listeners = self._loaded.settings.downstream.listen
        if inquiry.listener and inquiry.listener not in listeners:
            raise CannotBeDone(f"there is no such listener; there are {', '.join(listeners)}")
        try:
            method, url = inquiry.method.encode("ascii"), inquiry.url.encode("ascii")
        except UnicodeEncodeError:
            raise CannotBeDone("method and URL are sent in ASCII") from None
        if not method or not _TOKEN.issuperset(method):
            raise CannotBeDone("the method is none")
        if b"://" not in url and parse_authority(url) is not None:
            method = b"CONNECT"
        try:
            return method, parse_target(method, url)
        except ProxyError as error:
            raise CannotBeDone(error.detail or error.sentence) from None

    async def _explain_one(self, inquiry: Inquiry, method: bytes, target: Target, way: str) -> _Told:
        steps: list[Step] = []
        told = ExplainedRequest(method.decode("ascii"), _written(target), False, 403, "", "", steps)
        profile = Profile()
        try:
            self._check_client(inquiry, steps)
            if way != INTERCEPTED:
                self._check_account(inquiry, steps)
            if target.host in HOSTS:
                return _Told(self._own_name(told, target, way), profile)
            if way == TUNNEL:
                self._check_port(target, steps)
            verdict = self._ask_rules(inquiry, method, target, way, steps)
            if verdict is not None:
                profile = verdict.profile
                told.rule = verdict.label if verdict.destinations is None else ""
                refusal = verdict.refusal(way == INTERCEPTED)
                if refusal is not None:
                    raise refusal
            self._ask_lists(target, profile, steps)
            self._ask_limits(inquiry, profile, way == TUNNEL, steps)
            told.rule = await self._follow(target, verdict, way, steps) or told.rule
        except ProxyError as error:
            told.status, told.reason = error.status, error.reason
            told.rule = getattr(error, "rule", told.rule) or told.rule
        else:
            told.allowed, told.status = True, 200
        return _Told(told, profile)

    # ------------------------------------------------------------ the stages

    def _step(self, steps: list[Step], stage: Any, decision: Any, by: str, key: str, detail: str = "") -> None:
        steps.append(Step(stage, decision, by, key, self._source(key), detail))

    def _source(self, key: str) -> str:
        """Where a key was set, or the table of a rule."""
        path, bracket, number = key.partition("[")
        if bracket:
            return self._loaded.entries[path][int(number.rstrip("]"))]
        return self._loaded.sources.get(path, "")

    def _check_client(self, inquiry: Inquiry, steps: list[Step]) -> None:
        key = "access.clients"
        entries = self._access.clients.entries_with(inquiry.client)
        decision, detail = ("allowed", f"{inquiry.client} is in {', '.join(entries)}") if entries else ("denied", "")
        self._step(steps, "client", decision, key, key, detail or f"{inquiry.client} is in none of its entries")
        self._access.check_client(inquiry.client)

    def _check_account(self, inquiry: Inquiry, steps: list[Step]) -> None:
        """Whether somebody has to say who they are; whether a name is an account's is not looked at."""
        accounts = self._loaded.settings.accounts
        if not accounts.required:
            return
        key = "accounts.required"
        if inquiry.user:
            self._step(steps, "account", "allowed", key, key, f"it is {inquiry.user}'s")
        elif inquiry.client in self._exempt:
            key = "accounts.exempt_clients"
            self._step(steps, "account", "allowed", key, key, f"{inquiry.client} needs none")
        else:
            self._step(steps, "account", "denied", key, key, "nobody has said whose it is")
            raise CredentialsWanted()

    def _groups_of(self, user: str) -> frozenset[str]:
        """The groups of an account, in the files as they are now."""
        if not user:
            return frozenset()
        try:
            roster = Roster.of(self._loaded.settings.accounts)
        except AccountsError as error:
            raise CannotBeDone(str(error)) from error
        return roster.account(user.encode()).groups if roster is not None else frozenset()

    def _own_name(self, told: ExplainedRequest, target: Target, way: str) -> ExplainedRequest:
        """The proxy itself, which the rules do not concern."""
        key = "intercept.portal"
        told.allowed = way == PLAIN and is_page(target.scheme, target.port) and self._loaded.settings.intercept.portal
        told.status, told.reason = (200, "") if told.allowed else (OwnName.status, OwnName.reason)
        decision = "allowed" if told.allowed else "denied"
        self._step(told.steps, "name", decision, target.host, key, "it stands for the proxy itself")
        return told

    def _check_port(self, target: Target, steps: list[Step]) -> None:
        key = "access.connect_ports"
        allowed = self._access.connect_port_allowed(target.port)
        self._step(steps, "port", "allowed" if allowed else "denied", key, key, f"port {target.port}")
        self._access.check_connect_port(target.port)

    def _ask_rules(
        self, inquiry: Inquiry, method: bytes, target: Target, way: str, steps: list[Step]
    ) -> Verdict | None:
        rules = self._rules
        if rules is None:
            return None
        question = Question(
            client=inquiry.client,
            listener=inquiry.listener or self._loaded.settings.downstream.listen[0],
            method=method,
            scheme=target.scheme,
            host=target.host,
            port=target.port,
            target=target.path,
            way=way,
            fields=Fields([(name.encode(), value.encode()) for name, value in inquiry.fields.items()]),
            when=time.time() if inquiry.at is None else inquiry.at,
            user=inquiry.user,
            groups=frozenset(inquiry.groups) or self._groups_of(inquiry.user),
        )
        decided = False
        for step in rules.steps(question):
            rule = step.rule
            key = key_path(rule.number)
            if step.misfit:
                self._step(steps, "rule", "no match", rule.label, key, step.misfit)
            elif step.waits:
                self._step(steps, "rule", "open", rule.label, key, "it depends on the address")
            else:
                self._step(steps, "rule", _decision(rule), rule.label, key, _given(rule.profile))
                decided = rule.action != SET
        if not decided:
            decision = "allowed" if rules.default.action == ALLOW else "denied"
            self._step(steps, "rule", decision, DEFAULT, DEFAULT, "no rule decides")
        return rules.judge(question)

    def _ask_lists(self, target: Target, profile: Profile, steps: list[Step]) -> None:
        if self._lists is None:
            return
        names = profile.blocklists
        lists = self._lists.named((*names, *OWN)) if names else self._lists.everybodys()
        if lists is None:
            return
        key = "blocklists.lists"
        listed = lists.judge(target.host, target.scheme or "https", target.port, target.path or b"/")
        if listed is None:
            self._step(steps, "list", "no match", key, key)
        else:
            decision = "denied" if listed.blocks else "allowed"
            self._step(steps, "list", decision, listed.list, key, listed.sentence)
            if listed.blocks:
                raise Blocked(listed.sentence)

    def _ask_limits(self, inquiry: Inquiry, profile: Profile, tunnel: bool, steps: list[Step]) -> None:
        """What each limit that holds would say now."""
        limits = self._limits
        if limits is None:
            return
        groups = frozenset(inquiry.groups) or self._groups_of(inquiry.user)
        network = limits.network(inquiry.client)
        numbers = {name: number for number, name in enumerate(limits.all)}
        refused: ProxyError | None = None
        for limit, rule in limits.holding(profile.limits):
            for key in limit.keys(network, inquiry.user, groups, rule):
                state = self._shares.get((limit.name, key)) or ShareState(limit.name, key)
                why = refusal(limit, state, tunnel)
                refused = refused or (why() if why is not None else None)
                place = f"limits.tables[{numbers[limit.name]}]"
                detail = f"{key}: {in_words(limit, state)}"
                self._step(steps, "limit", "denied" if why is not None else "allowed", limit.name, place, detail)
        if refused is not None:
            raise refused

    async def _follow(self, target: Target, verdict: Verdict | None, way: str, steps: list[Step]) -> str:
        """Look up the host, and judge its addresses. The rule that has decided, where it is one of those."""
        route = self._find_way(verdict, steps)
        if route is not None and not known_addresses(target.host):
            return self._judge_unknown(verdict, way, steps)
        try:
            addresses = await self._resolver.resolve(target.host)
        except ProxyError as error:
            self._look_up_step(target.host, "failed", error.detail, steps)
            raise
        if read_literal(target.host) is None:
            self._look_up_step(target.host, "asked", told(self._loaded.settings.resolver, target.host.lower()), steps)
        destinations = verdict.destinations if verdict is not None else None
        refusal: ProxyError | None = None
        allowed = False
        rule = ""
        for address in (one.address for one in addresses):
            try:
                (destinations or self._access).check_destination(address, target.port)
            except ProxyError as error:
                refusal = refusal or error
                label = getattr(error, "rule", "")
                key = self._key_of(label) if label else "access.refuse_destinations"
                self._step(steps, "destination", "denied", address, key, error.detail)
            else:
                label = destinations.verdict(address).label if destinations is not None else ""
                rule = rule or label
                allowed = True
                detail = f"by {label}" if label else ""
                self._step(steps, "destination", "allowed", address, self._key_of(label) if label else "", detail)
        if refusal is not None and not allowed:
            raise refusal
        return rule

    def _find_way(self, verdict: Verdict | None, steps: list[Step]) -> RouteTable | None:
        """The route that it goes by; None where it goes to the server itself."""
        routes = self._loaded.settings.routes
        if not routes.tables:
            return None
        given = verdict.profile.route if verdict is not None else ""
        name = given or routes.default
        tables = {table.name: table for table in routes.tables}
        found = tables.get(name)
        key = self._given_by(steps) if given else "routes.default"
        detail = " or else ".join(found.parents) if found is not None else "to the server itself"
        self._step(steps, "route", "set", name, key, detail)
        return found

    def _given_by(self, steps: list[Step]) -> str:
        """The path of the rule that has given the route: of several the last."""
        assert self._rules is not None
        giving = {key_path(rule.number) for rule in self._rules.rules if rule.profile.route}
        return next(step.key for step in reversed(steps) if step.key in giving and step.decision in ("allowed", "set"))

    def _judge_unknown(self, verdict: Verdict | None, way: str, steps: list[Step]) -> str:
        """What the rules say of a name that a parent looks up. The rule that has decided, where there is one."""
        steps.append(Step("look-up", "left alone", "", "", "", "the parent looks it up"))
        if verdict is None or verdict.destinations is None:
            return ""
        otherwise = verdict.destinations.otherwise
        refusal = otherwise.refusal(way == INTERCEPTED)
        key = self._key_of(otherwise.label)
        decision = "allowed" if refusal is None else "denied"
        self._step(steps, "destination", decision, otherwise.label, key, "no rule fits an address that is not known")
        if refusal is not None:
            raise refusal
        return otherwise.label

    def _look_up_step(self, host: str, decision: Any, detail: str, steps: list[Step]) -> None:
        wanted = self._loaded.settings.resolver
        domains = {name.lower() for domain in wanted.domains for name in domain.names}
        if longest_domain(host.lower(), domains):
            key = "resolver.domains"
        else:
            key = "resolver.servers" if wanted.servers else ""
        steps.append(Step("look-up", decision, host, key, self._source(key), detail))

    def _key_of(self, label: str) -> str:
        """The path of a rule by its name."""
        assert self._rules is not None
        return next((key_path(rule.number) for rule in self._rules.rules if rule.label == label), DEFAULT)

    def _look_inside(
        self, inquiry: Inquiry, target: Target, profile: Profile, learned: Sequence[Learned]
    ) -> tuple[Step, bool]:
        """Whether a tunnel is looked into."""

        def step(decision: Any, key: str, detail: str) -> tuple[Step, bool]:
            return Step("interception", decision, key, key, self._source(key), detail), decision == "looked into"

        host, client, interception = target.host, inquiry.client, self._interception
        wanted = profile.intercept
        key = _INTERCEPT if wanted is None else "access.rules"
        if not interception.opens(host, target.port, client, wanted):
            if host in interception.leave_alone:
                return step("left alone", "intercept.leave_alone", "the host is among its entries")
            if target.port not in interception.ports:
                return step("left alone", "intercept.ports", f"port {target.port}")
            return step("left alone", key, "")
        if any(one.left_alone and one.host == canonical_host(host) and _is_of(client, one.client) for one in learned):
            return step("left alone", "intercept.learn_after", "this client has refused our certificate for the host")
        try:
            asked_for(host)
        except InvalidName:
            return step("left alone", key, "no certificate can be made for the host")
        return step("looked into", key, "if TLS or HTTP is spoken in it")


def _written(target: Target) -> str:
    authority = target.authority.decode("ascii")
    return f"{target.scheme}://{authority}{target.path.decode('latin-1')}" if target.scheme else authority


def _decision(rule: Rule) -> str:
    return {ALLOW: "allowed", ASK: "asked", SET: "set"}.get(rule.action, "denied")


def _given(profile: Profile) -> str:
    """What a rule gives, as it stands in the settings."""
    given = [
        f"{name} = {str(value).lower()}"
        for name, value in (("intercept", profile.intercept), ("log", profile.log), ("route", profile.route))
        if value not in (None, "")
    ]
    names = (("blocklists", profile.blocklists), ("limits", [limit.name for limit in profile.limits]))
    given += [f"{name} = {', '.join(value)}" for name, value in names if value]
    return "; ".join(given)


def _is_of(client: str, network: str) -> bool:
    try:
        return ip_address(client) in ip_network(network, strict=False)
    except ValueError:
        return client == network

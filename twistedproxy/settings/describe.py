"""What the settings mean, in sentences, for ``--check``; and what is unwise about them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from twistedproxy.settings.access import AccessSettings
from twistedproxy.settings.accounts import AccountsSettings, has_accounts, has_certificates, has_passwords
from twistedproxy.settings.endpoints import REQUIRED, Endpoint, parse_endpoint
from twistedproxy.settings.hosts import DEFAULTS
from twistedproxy.settings.interception import InterceptSettings
from twistedproxy.settings.keys import suggested_variable
from twistedproxy.settings.limits import LimitTable
from twistedproxy.settings.log import NOWHERE, LogSettings
from twistedproxy.settings.networks import CLIENT_SETS, only_loopback, reaches_everybody
from twistedproxy.settings.operation import ControlSettings, ServiceSettings
from twistedproxy.settings.parents import DIRECT, is_exposed, read_parent
from twistedproxy.settings.ports import ALL_PORTS
from twistedproxy.settings.privacy_profiles import choices
from twistedproxy.settings.quantities import duration_text, size_text
from twistedproxy.settings.resolver import ResolverSettings
from twistedproxy.settings.routes import RoutesSettings
from twistedproxy.settings.spelling import printable
from twistedproxy.settings.types import Settings
from twistedproxy.settings.upstream_tls import UpstreamTLSSettings

WARNING = "warning: "
EVERY_HOST = "*"


def describe(settings: Settings, ignored: Iterable[str] = ()) -> list[str]:
    """One sentence for each thing that an operator would want to make sure of; the `warnings` last."""
    return [*_meaning(settings), *(WARNING + warning for warning in warnings(settings, ignored))]


def warnings(settings: Settings, ignored: Iterable[str] = ()) -> Iterator[str]:
    """What these settings allow or prevent that was probably not meant; and the variables that were ``ignored``."""
    access = settings.access
    endpoints = [parse_endpoint(description) for description in settings.downstream.listen]
    beyond = [endpoint for endpoint in endpoints if endpoint.loopback_only is False]
    unknown = [endpoint for endpoint in endpoints if endpoint.loopback_only is None]
    if not access.clients:
        yield "access.clients is empty: every request will be refused."
    elif only_loopback(access.clients):
        if beyond:
            yield (
                f"it listens on {_sentences(beyond)}, but serves only clients on this machine: "
                "clients elsewhere will be refused: set access.clients."
            )
    elif reaches_everybody(access.clients) and not _guarded(settings.accounts):
        # Where clients have to show a certificate, no stranger comes in.
        open_to_all = [endpoint for endpoint in beyond if endpoint.client_certificates != REQUIRED]
        if open_to_all:
            yield (
                f"THIS IS AN OPEN PROXY: it listens on {_sentences(open_to_all)} and serves everybody who can "
                "reach that. Strangers will use it in this machine's name: name the networks of your "
                "clients in access.clients, or listen on an address that only they can reach."
            )
        elif unknown:
            yield (
                f"it serves everybody who can reach {_sentences(unknown)}: if other machines can, this is an "
                "open proxy. Name the networks of your clients in access.clients."
            )
    elif not beyond and not unknown:
        yield (
            f"it serves {_clients(access.clients)}, but listens only where this machine can reach it: "
            "set downstream.listen."
        )
    if ALL_PORTS in access.connect_ports and not only_loopback(access.clients):
        yield (
            "tunnels may go to every port, those of mail servers and databases too: "
            "name the ports that your clients need in access.connect_ports."
        )
    for word in ("link-local", "metadata"):
        if word not in access.refuse_destinations:
            yield (
                f'access.refuse_destinations does not have "{word}": clients can reach those addresses '
                "with the rights of this machine."
            )
    yield from _about_rules(access, settings.accounts)
    yield from _about_accounts(settings.accounts, endpoints, access)
    yield from _about_intercept(settings.intercept)
    yield from _about_messages(settings.log)
    yield from _about_upstream_tls(settings.upstream_tls)
    yield from _about_resolver(settings.resolver)
    yield from _about_routes(settings)
    yield from _about_lists(settings)
    yield from _about_limits(settings)
    exposed = [
        endpoint for endpoint in map(parse_endpoint, settings.control.metrics) if endpoint.loopback_only is False
    ]
    if exposed:
        yield (
            f"control.metrics listens on {_sentences(exposed)}: whoever can reach that can read the proxy's numbers, "
            "whatever access.clients says."
        )
    for name in ignored:
        hint = suggested_variable(name)
        yield f"the variable {printable(name)} is ignored: no key has that name{f' ({hint})' if hint else ''}."


def _about_rules(access: AccessSettings, accounts: AccountsSettings) -> Iterator[str]:
    if access.default == "deny" and not any(rule.action == "allow" for rule in access.rules):
        yield 'access.default is "deny", and no rule allows anything: every request will be refused.'
    who = [
        str(number) for number, rule in enumerate(access.rules) if rule.action != "ask" and (rule.users or rule.groups)
    ]
    if who and not has_accounts(accounts):
        yield f"access.rules ({_joined(who)}) name users or groups, but there is no account: nobody is one of them."


def _rules(access: AccessSettings) -> Iterator[str]:
    count = len(access.rules)
    otherwise = {"allow": "allowed", "deny": "denied"}[access.default]
    if count:
        what = "The one access rule is" if count == 1 else f"The {count} access rules are"
        yield f"{what} asked in order; a request on which none decides is {otherwise}."
    elif access.default == "deny":
        yield "There is no access rule, and every request is denied."


def _guarded(accounts: AccountsSettings) -> bool:
    """Whether strangers need an account."""
    return accounts.required and not reaches_everybody(accounts.exempt_clients)


def _about_accounts(accounts: AccountsSettings, endpoints: Sequence[Endpoint], access: AccessSettings) -> Iterator[str]:
    asking = [str(number) for number, rule in enumerate(access.rules) if rule.action == "ask"]
    if asking and not has_accounts(accounts):
        which = f"access.rules ({_joined(asking)})"
        yield f"{which} asks for credentials, but there is no account: nobody will get past it."
    if accounts.exempt_clients and not accounts.required:
        yield "accounts.exempt_clients means nothing unless accounts.required is true."
    elif accounts.required and reaches_everybody(accounts.exempt_clients):
        yield "accounts.required means nothing: accounts.exempt_clients are everybody."
    if has_certificates(accounts) and not any(one.client_certificates for one in endpoints):
        yield "accounts has certificates of clients, but no listener asks for one: give it clientCA=."
    for directory in accounts.ldap:
        if not directory.secured and not directory.loopback_only:
            yield f"passwords can be read on the way to {directory.url}: it is asked without TLS (plain = true)."
    readable = [one for one in endpoints if one.loopback_only is False and one.kind not in ("ssl", "tls")]
    if readable and "basic" in accounts.schemes and has_passwords(accounts):
        yield (
            f"names and passwords can be read on the way to {_sentences(readable)}: listen with TLS (ssl:), or let "
            'accounts.schemes be ["digest"].'
        )


def _accounts(accounts: AccountsSettings, by_certificate: bool) -> Iterator[str]:
    if not (accounts.required or has_accounts(accounts)):
        return
    sources = [one for one in (accounts.htpasswd_file, accounts.digest_file) if one]
    if accounts.static:
        sources.append(f"the settings ({_joined(one.name for one in accounts.static)})")
    if accounts.certificates:
        sources.append(f"certificates ({_joined(one.name for one in accounts.certificates)})")
    if accounts.certificate_accounts == "all":
        sources.append("everybody whose certificate a listener takes")
    sources += [one.url for one in accounts.ldap]
    sources += accounts.checkers
    exempt = f", but for those of {_clients(accounts.exempt_clients)}" if accounts.exempt_clients else ""
    need = f"Every request needs an account{exempt}" if accounts.required else "No request needs an account"
    whose = _joined(sources) or "nobody"
    proven = [*(accounts.schemes if has_passwords(accounts) else ()), *(["certificate"] if by_certificate else ())]
    yield f"{need}. Accounts are those of {whose}; they are proven by {_joined(proven or accounts.schemes)}."
    if not has_passwords(accounts):
        return
    slow = f"waits for up to {duration_text(accounts.slow_down)}" if accounts.slow_down else "does not wait"
    kept = f"for {duration_text(accounts.cache_ttl)}" if accounts.cache_ttl else "not at all"
    yield f"A right password is remembered {kept}; an address that brought a wrong one {slow} with the next."


def _about_intercept(intercept: InterceptSettings) -> Iterator[str]:
    if intercept.mode == "off":
        return
    if not intercept.ports or not intercept.clients:
        empty = "clients" if intercept.ports else "ports"
        yield f"intercept.{empty} is empty: no tunnel will be looked into."
    elif intercept.mode == "all-but":
        yield (
            "it looks into every tunnel that is not left alone: all who use it must know that and have agreed to it. "
            "Clients that pin certificates will break until that is noticed: name the hosts that you mean in "
            'intercept.hosts, with the mode "listed".'
        )
    elif not intercept.hosts:
        yield 'intercept.mode is "listed", but intercept.hosts is empty: no tunnel will be looked into.'
    if DEFAULTS not in intercept.leave_alone and (intercept.mode == "all-but" or "*" in intercept.hosts):
        yield (
            f'intercept.leave_alone does not have "{DEFAULTS}": banks, health and updates of operating systems are '
            "looked into too."
        )


def _about_messages(log: LogSettings) -> Iterator[str]:
    if log.websocket in NOWHERE:
        return
    if not log.websocket_hosts:
        yield "log.websocket_hosts is empty: no message of a WebSocket will be written down."
    elif EVERY_HOST in log.websocket_hosts and log.websocket_max_content:
        yield (
            "it writes down what is said in every WebSocket that it can see, passwords and all: name the hosts that "
            "you mean in log.websocket_hosts."
        )


def _about_upstream_tls(tls: UpstreamTLSSettings) -> Iterator[str]:
    unverified = [host.names for host in tls.hosts if not host.verify and not host.pins]
    if unverified:
        yield (
            f"THE CERTIFICATES OF {_joined(name for names in unverified for name in names)} ARE NOT VERIFIED: anybody "
            "on the way there can read and change what is sent. Name their authority in anchors, or their keys in pins."
        )
    if not tls.system_anchors and not tls.anchors and not any(host.anchors or not host.verify for host in tls.hosts):
        yield "upstream_tls trusts no authority at all: every connection to a server with TLS will be refused."


def _about_resolver(resolver: ResolverSettings) -> Iterator[str]:
    if (len(resolver.servers) > 1 or resolver.domains) and resolver.timeout <= resolver.attempt_timeout:
        yield (
            f"resolver.timeout ({duration_text(resolver.timeout)}) is over before resolver.attempt_timeout "
            f"({duration_text(resolver.attempt_timeout)}) lets a second name server be asked."
        )


def _about_routes(settings: Settings) -> Iterator[str]:
    rules = settings.access.rules
    given = {settings.routes.default, *(rule.route for rule in rules)}
    for route in settings.routes.tables:
        if route.name not in given:
            yield f"the route {route.name} is taken by nobody: it is not routes.default, and no access rule gives it."
        exposed = [parent for parent in route.parents if is_exposed(read_parent(parent))]
        if route.user and exposed:
            yield f"the password of the route {route.name} can be read on the way to {_joined(exposed)}."
    late = [str(number) for number, rule in enumerate(rules) if rule.destinations or rule.not_destinations]
    if late and given - {"", DIRECT}:
        yield (
            f"access.rules ({_joined(late)}) ask for the destination, which is not known of names that a parent looks "
            "up: on such a route they fit no name."
        )


def _routes(routes: RoutesSettings) -> Iterator[str]:
    if not routes.tables:
        return
    default = "to the servers themselves" if routes.default == DIRECT else f"on by the route {routes.default}"
    yield f"Where no rule says otherwise, requests go {default}."
    for route in routes.tables:
        whose = f" as {route.user}" if route.user else ""
        yield f"The route {route.name} leads by {' or else '.join(route.parents)}{whose}."


def _resolver(resolver: ResolverSettings) -> Iterator[str]:
    for domain in resolver.domains:
        yield f"Names in {_joined(domain.names)} are looked up at {_joined(domain.servers)}."
    if resolver.servers:
        others = "Other names" if resolver.domains else "Names"
        yield f"{others} are looked up at {_joined(resolver.servers)}."


def _upstream_tls(tls: UpstreamTLSSettings) -> Iterator[str]:
    trusted = [*(["the authorities that the system trusts"] if tls.system_anchors else []), *tls.anchors]
    yield f"Servers are verified by {_joined(trusted) if trusted else 'no authority but those named for hosts'}."
    for host in tls.hosts:
        names = _joined(host.names)
        if not host.verify:
            yield f"The servers {names} are {'verified by their pinned keys only' if host.pins else 'NOT VERIFIED'}."
        elif host.pins:
            yield f"The servers {names} must also have one of {len(host.pins)} pinned keys in their chains."
        if host.anchors:
            yield f"For the servers {names} these are trusted too: {_joined(host.anchors)}."
        if host.certificate:
            yield f"The servers {names} are shown the certificate in {host.certificate} when they ask for one."


def _meaning(settings: Settings) -> Iterator[str]:
    for description in settings.downstream.listen:
        endpoint = parse_endpoint(description)
        reach = {
            True: "; only this machine can reach it",
            False: "",
            None: "; who can reach it is not known here",
        }
        yield f"It listens on {endpoint.sentence}{reach[endpoint.loopback_only]}."
    access = settings.access
    yield f"It serves {_clients(access.clients)}; other clients are refused."
    yield _tunnels(access)
    yield from _rules(access)
    by_certificate = any(parse_endpoint(one).client_certificates for one in settings.downstream.listen)
    yield from _accounts(settings.accounts, by_certificate)
    refused = _joined(access.refuse_destinations)
    yield f"It never connects to its own listeners{f', nor to these: {refused}' if refused else ''}."
    yield from _privacy(settings)
    path = settings.tls.authority
    which = f"the one in {path}" if path else "its own, which is made when it is first asked for"
    yield f"Its certificate authority is {which}."
    yield from _resolver(settings.resolver)
    yield from _routes(settings.routes)
    yield from _upstream_tls(settings.upstream_tls)
    yield from _intercept(settings.intercept)
    yield from map(_limit, settings.limits.tables)
    yield _access_log(settings.log)
    yield from _messages(settings.log)
    yield f"The operational log has everything from the level {settings.log.level} on."
    yield from _control(settings.control)
    yield _workers(settings.service)
    yield _stop(settings.service)


def _privacy(settings: Settings) -> Iterator[str]:
    chosen = choices(settings.privacy)
    via = settings.forwarding.via or "by a random name, new at each start"
    yield ("It does not name itself in Via." if chosen.via == "none" else f"In Via it calls itself {via}.")
    told = {
        "on": "the client's address",
        "off": "that there is a client",
        "truncate": "the client's network",
    }
    if chosen.forwarded_for in told:
        yield f"It tells servers {told[chosen.forwarded_for]} (privacy.forwarded_for)."
    if settings.privacy.profile != "off":
        yield f"What messages give away is limited by the profile {settings.privacy.profile} (docs/privacy.md)."


def _clients(clients: Sequence[str]) -> str:
    return _joined([CLIENT_SETS.get(entry, entry) for entry in clients]) or "nobody"


def _tunnels(access: AccessSettings) -> str:
    if ALL_PORTS in access.connect_ports:
        return "CONNECT may reach every port."
    if not access.connect_ports:
        return "CONNECT is refused: there are no tunnels."
    return f"CONNECT may reach {_ports(access.connect_ports)} only."


def _ports(ports: Sequence[int | str]) -> str:
    if ALL_PORTS in ports:
        return "every port"
    several = len(ports) > 1 or any(isinstance(port, str) for port in ports)
    return f"{'ports' if several else 'port'} {_joined(map(str, ports))}" if ports else ""


def _intercept(intercept: InterceptSettings) -> Iterator[str]:
    match intercept.mode:
        case "off":
            yield "It looks into no tunnel."
            return
        case "listed":
            what = f"tunnels to {_joined(intercept.hosts) or 'no host'}"
        case _:
            what = "every tunnel"
    ports = _ports(intercept.ports) or "no port"
    alone = _joined("those that come with the proxy" if host == DEFAULTS else host for host in intercept.leave_alone)
    whose = "" if reaches_everybody(intercept.clients) else f" of {_clients(intercept.clients)}"
    yield (f"It looks into {what}{whose}, at {ports}{f', but not into tunnels to {alone}' if alone else ''}.")
    then = "closed" if intercept.unreadable == "refuse" else "relayed unseen"
    yield f"A tunnel in which neither TLS nor HTTP is spoken within {duration_text(intercept.peek_timeout)} is {then}."


def _access_log(log: LogSettings) -> str:
    match log.access:
        case "off":
            return "There is no access log."
        case "":
            where = "standard output in the foreground, and to access.log in the state directory as a daemon"
        case "-":
            where = "standard output"
        case path:
            where = path
    return f"The access log goes to {where}, in the {log.format} format."


def _messages(log: LogSettings) -> Iterator[str]:
    if log.websocket in NOWHERE or not log.websocket_hosts:
        return
    whose = "all hosts" if EVERY_HOST in log.websocket_hosts else _joined(log.websocket_hosts)
    what = f"up to {size_text(log.websocket_max_content)} of each" if log.websocket_max_content else "without content"
    where = "standard output" if log.websocket == "-" else log.websocket
    yield f"The messages of WebSockets with {whose} go to {where}, {what}."


def _control(control: ControlSettings) -> Iterator[str]:
    match control.socket:
        case "off":
            yield "There is no control API."
        case "":
            yield "The control API is at control.sock in the runtime directory, for the proxy's own user only."
        case path:
            yield f"The control API is at {path}, for the proxy's own user only."
    if control.metrics:
        where = _sentences(map(parse_endpoint, control.metrics))
        yield f"Health and metrics can also be read on {where}."


def _workers(service: ServiceSettings) -> str:
    if service.workers == 1:
        return "Everything is done in one process."
    how_many = "one worker for each CPU core" if service.workers == "auto" else f"{service.workers} workers"
    limit = duration_text(service.lag_limit)
    return f"The traffic is shared by {how_many}; one that does not answer for {limit} is replaced."


def _stop(service: ServiceSettings) -> str:
    drain = service.drain_timeout
    end = (
        f"it lets exchanges and tunnels finish for {duration_text(drain)} at most"
        if drain
        else "it cuts exchanges and tunnels at once"
    )
    if not service.drain_delay:
        return f"When it is stopped, {end}."
    delay = duration_text(service.drain_delay)
    return f"When it is stopped, it says so at /readyz and takes new connections for {delay} more; then {end}."


def _sentences(endpoints: Iterable[Endpoint]) -> str:
    return _joined(endpoint.sentence for endpoint in endpoints)


def _joined(words: Iterable[str]) -> str:
    *most, last = list(words) or [""]
    return f"{', '.join(most)} and {last}" if most else last


_WHO = {
    "client": "each client",
    "account": "each account",
    "group": "each group",
    "rule": "all to whom the same rule gives it",
    "all": "all together",
}
"""Who shares what a limit allows."""


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _limit(limit: LimitTable) -> str:
    allowed = [
        f"{limit.requests_per_second:g} requests a second" * bool(limit.requests_per_second),
        _counted(limit.connections, "connection") * bool(limit.connections),
        _counted(limit.tunnels, "tunnel") * bool(limit.tunnels),
        f"{limit.download} a second down" * bool(limit.download),
        f"{limit.upload} a second up" * bool(limit.upload),
        f"{limit.daily} a day" * bool(limit.daily),
        f"{limit.monthly} a month" * bool(limit.monthly),
    ]
    whom = "" if limit.everybody and limit.per != "rule" else ", where a rule gives it"
    return f"The limit {limit.name} allows {_WHO[limit.per]} {_joined(filter(None, allowed))}{whom}."


def _about_limits(settings: Settings) -> Iterator[str]:
    given = {name for rule in settings.access.rules for name in rule.limits}
    for limit in settings.limits.tables:
        if not (limit.everybody and limit.per != "rule") and limit.name not in given:
            yield f"the limit {limit.name} holds for nobody: no rule in access.rules gives it."
        if limit.per in ("account", "group") and not has_accounts(settings.accounts):
            yield (
                f"the limit {limit.name} is per {limit.per}, but there is no account: everybody is counted by their "
                "address."
            )


def _about_lists(settings: Settings) -> Iterator[str]:
    lists = settings.blocklists.lists
    known = {one.name for one in lists}
    for number, rule in enumerate(settings.access.rules):
        for name in rule.blocklists:
            if name not in known:
                yield f"access.rules ({number}) names the list {printable(name)}, of which blocklists.lists has none."
    for one in lists:
        if one.source.startswith("http://"):
            yield (
                f"the list {one.name} is fetched without TLS: whoever is on the way decides what it "
                f"{'allows' if one.allow else 'blocks'}."
            )

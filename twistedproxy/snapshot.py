"""What the settings come to: one frozen set of decisions, compiled once for all the exchanges that read it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from secrets import token_hex

from twistedproxy.access.blocklists.lists import Blocklists
from twistedproxy.access.hosts import HostSet
from twistedproxy.access.http2 import HTTP2Use
from twistedproxy.access.interception import Interception
from twistedproxy.access.limits.limits import Limits
from twistedproxy.access.policy import AccessPolicy
from twistedproxy.access.rules import Rules
from twistedproxy.accounts.roster import Roster
from twistedproxy.http.head import HeadLimits
from twistedproxy.privacy.by_host import PrivacyByHost
from twistedproxy.record.discreet import Discretion
from twistedproxy.routes.route import Routes
from twistedproxy.settings.blocklist_tables import OWN
from twistedproxy.settings.privacy_profiles import choices
from twistedproxy.settings.types import Settings
from twistedproxy.tls.trust import Trust


def random_pseudonym() -> str:
    """A name for Via that no other proxy has, and that tells nothing about this machine."""
    return f"pyproxy-{token_hex(4)}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The decisions that one exchange goes by from its start to its end.

    ``generation`` counts the reloads, ``pseudonym`` is our name in Proxy-Status, and ``via`` that in Via, empty where
    we are not to be named there. ``rules`` are None when there are none, ``accounts`` where nobody has one and nobody
    needs one, and ``privacy`` where messages stay as they are; ``discretion`` is for the logs. ``logged_hosts`` are
    those whose WebSockets' messages are written down. ``lists`` are all the lists of what is blocked, for profiles to
    choose from, and ``blocklists`` those that are for everybody; None where there are none, and so are ``limits`` and
    ``routes``.
    """

    generation: int
    settings: Settings
    access: AccessPolicy
    rules: Rules | None
    accounts: Roster | None
    interception: Interception
    http2: HTTP2Use
    trust: Trust
    head_limits: HeadLimits
    pseudonym: str
    via: bytes
    privacy: PrivacyByHost | None
    discretion: Discretion
    logged_hosts: HostSet
    lists: Blocklists | None = None
    blocklists: Blocklists | None = None
    limits: Limits | None = None
    routes: Routes | None = None

    @classmethod
    def of(
        cls,
        settings: Settings,
        *,
        generation: int,
        pseudonym: str,
        own_ports: Iterable[tuple[str, int]],
        is_own_address: Callable[[str], bool],
        trust: Trust | None = None,
        accounts: Roster | None = None,
        routes: Routes | None = None,
        lists: Blocklists | None = None,
    ) -> Snapshot:
        """Compile ``settings``. ``pseudonym`` is used where they name none.

        ``trust``, ``accounts`` and ``routes`` are used where the files have been read that these come from. Raises
        `TrustError`, `AccountsError` and `RoutesError`.
        """
        name = settings.forwarding.via or pseudonym
        downstream = settings.downstream
        access = AccessPolicy.of(settings.access, own_ports=own_ports, is_own_address=is_own_address)
        rules = Rules.of(settings.access, access)
        chosen = choices(settings.privacy)
        return cls(
            generation=generation,
            settings=settings,
            access=access,
            rules=rules,
            accounts=accounts or Roster.of(settings.accounts),
            interception=Interception.of(settings.intercept, by_rule=rules is not None and rules.may_intercept),
            http2=HTTP2Use.of(settings.http2),
            trust=trust or Trust.of(settings.upstream_tls),
            head_limits=HeadLimits(downstream.max_head_size, downstream.max_fields, downstream.max_target_size),
            pseudonym=name,
            via=name.encode("ascii") if chosen.via == "pseudonym" else b"",
            privacy=PrivacyByHost.of(settings.privacy),
            discretion=Discretion(chosen.log_addresses == "truncate", chosen.log_queries == "drop"),
            logged_hosts=HostSet(settings.log.websocket_hosts),
            lists=lists,
            blocklists=lists.everybodys() if lists else None,
            limits=Limits.of(settings.limits),
            routes=routes or Routes.of(settings.routes),
        )

    def with_lists(self, lists: Blocklists | None) -> Snapshot:
        """The same, but for the lists of what is blocked."""
        return replace(self, lists=lists, blocklists=lists.everybodys() if lists else None)

    def chosen_lists(self, names: tuple[str, ...]) -> Blocklists | None:
        """The lists that a profile names, and the operator's own."""
        return self.lists.named((*names, *OWN)) if self.lists is not None else None

    def logs_messages_of(self, host: str) -> bool:
        """Whether the messages of WebSockets with ``host`` are written down, where any are."""
        return host in self.logged_hosts

    @property
    def logged_content(self) -> int:
        """How many bytes of a message's content are written down."""
        return self.settings.log.websocket_max_content

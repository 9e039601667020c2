"""What ``--check`` says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.settings.blocklists import Blocklist, BlocklistsSettings
from twistedproxy.settings.describe import describe, warnings
from twistedproxy.settings.load import load
from twistedproxy.settings.resolver import ResolverDomain, ResolverSettings
from twistedproxy.settings.types import Settings
from twistedproxy.settings.upstream_tls import UpstreamHost, UpstreamTLSSettings


def settings(text: str) -> Settings:
    return load(text, "a.toml").settings


def test_the_defaults_in_words() -> None:
    assert describe(Settings()) == [
        "It listens on port 8080 of 127.0.0.1; only this machine can reach it.",
        "It serves this machine; other clients are refused.",
        "CONNECT may reach port 443 only.",
        (
            "It never connects to its own listeners, nor to these: link-local, metadata, unspecified, "
            "multicast and reserved."
        ),
        "In Via it calls itself by a random name, new at each start.",
        "Its certificate authority is its own, which is made when it is first asked for.",
        "Servers are verified by the authorities that the system trusts.",
        "It looks into no tunnel.",
        (
            "The access log goes to standard output in the foreground, and to access.log in the state "
            "directory as a daemon, in the squid format."
        ),
        "The operational log has everything from the level info on.",
        "The control API is at control.sock in the runtime directory, for the proxy's own user only.",
        "Everything is done in one process.",
        "When it is stopped, it lets exchanges and tunnels finish for 30s at most.",
    ]


def test_other_settings_in_words() -> None:
    text = """\
service.workers = 4
service.lag_limit = 20
service.drain_timeout = 0
service.drain_delay = 5
control.socket = "/run/control.sock"
control.metrics = ["tcp:9180:interface=127.0.0.1", "unix:/run/metrics.sock"]
downstream.listen = ["tcp:8080:interface=10.0.0.1", "unix:/run/proxy.sock", "systemd:domain=INET:name=proxy"]
access.clients = ["loopback", "private", "2001:db8::/32"]
access.connect_ports = [443, 563, "8000-8999"]
access.refuse_destinations = ["link-local", "metadata"]
forwarding.via = "proxy-1"
privacy.profile = "standard"
privacy.forwarded_for = "on"
tls.authority = "/etc/ca.pem"
intercept.mode = "listed"
intercept.hosts = ["a.test", ".b.test"]
intercept.clients = ["private"]
intercept.ports = [443, "8000-8999"]
intercept.leave_alone = ["defaults", "c.b.test"]
intercept.unreadable = "refuse"
intercept.peek_timeout = 1
log.access = "/var/log/proxy.log"
log.format = "json"
log.level = "warn"
"""
    assert describe(settings(text)) == [
        "It listens on port 8080 of 10.0.0.1.",
        "It listens on the Unix socket /run/proxy.sock; only this machine can reach it.",
        "It listens on the INET socket proxy that systemd passes on; who can reach it is not known here.",
        "It serves this machine, the private networks and 2001:db8::/32; other clients are refused.",
        "CONNECT may reach ports 443, 563 and 8000-8999 only.",
        "It never connects to its own listeners, nor to these: link-local and metadata.",
        "In Via it calls itself proxy-1.",
        "It tells servers the client's address (privacy.forwarded_for).",
        "What messages give away is limited by the profile standard (docs/privacy.md).",
        "Its certificate authority is the one in /etc/ca.pem.",
        "Servers are verified by the authorities that the system trusts.",
        (
            "It looks into tunnels to a.test and .b.test of the private networks, at ports 443 and 8000-8999, but not "
            "into tunnels to those that come with the proxy and c.b.test."
        ),
        "A tunnel in which neither TLS nor HTTP is spoken within 1s is closed.",
        "The access log goes to /var/log/proxy.log, in the json format.",
        "The operational log has everything from the level warn on.",
        "The control API is at /run/control.sock, for the proxy's own user only.",
        "Health and metrics can also be read on port 9180 of 127.0.0.1 and the Unix socket /run/metrics.sock.",
        "The traffic is shared by 4 workers; one that does not answer for 20s is replaced.",
        (
            "When it is stopped, it says so at /readyz and takes new connections for 5s more; then it cuts "
            "exchanges and tunnels at once."
        ),
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('log.access = "off"', "There is no access log."),
        ('log.access = "-"', "The access log goes to standard output, in the squid format."),
        ("access.connect_ports = []", "CONNECT is refused: there are no tunnels."),
        ('access.connect_ports = ["all", 443]', "CONNECT may reach every port."),
        ('access.connect_ports = ["1-1023"]', "CONNECT may reach ports 1-1023 only."),
        ("access.refuse_destinations = []", "It never connects to its own listeners."),
        ("access.clients = []", "It serves nobody; other clients are refused."),
        ('access.clients = ["all"]', "It serves everybody; other clients are refused."),
        (
            'log = {websocket = "/var/log/ws.log"}',
            "The messages of WebSockets with all hosts go to /var/log/ws.log, up to 16KiB of each.",
        ),
        (
            'log = {websocket = "-", websocket_hosts = ["a", ".b"], websocket_max_content = 0}',
            "The messages of WebSockets with a and .b go to standard output, without content.",
        ),
        ('control.socket = "off"', "There is no control API."),
        ('intercept = {mode = "all-but", leave_alone = []}', "It looks into every tunnel, at port 443."),
        (
            'intercept = {mode = "listed", ports = [], leave_alone = ["a"]}',
            "It looks into tunnels to no host, at no port, but not into tunnels to a.",
        ),
        (
            'intercept.mode = "all-but"',
            "A tunnel in which neither TLS nor HTTP is spoken within 3s is relayed unseen.",
        ),
        (
            'service.workers = "auto"',
            "The traffic is shared by one worker for each CPU core; one that does not answer for 10s is replaced.",
        ),
        ("service.drain_timeout = 0", "When it is stopped, it cuts exchanges and tunnels at once."),
        (
            "service.drain_delay = 5",
            (
                "When it is stopped, it says so at /readyz and takes new connections for 5s more; then it lets "
                "exchanges and tunnels finish for 30s at most."
            ),
        ),
    ],
)
def test_single_sentences(text: str, sentence: str) -> None:
    assert sentence in describe(settings(text))


NO_CLIENTS = "access.clients is empty: every request will be refused."
REFUSED = (
    "it listens on port 8080 of every IPv4 address, but serves only clients on this machine: "
    "clients elsewhere will be refused: set access.clients."
)
OPEN = (
    "THIS IS AN OPEN PROXY: it listens on port 8080 of every IPv4 address and serves everybody who can "
    "reach that. Strangers will use it in this machine's name: name the networks of your clients in "
    "access.clients, or listen on an address that only they can reach."
)
PERHAPS_OPEN = (
    "it serves everybody who can reach the INET socket x that systemd passes on: if other machines can, "
    "this is an open proxy. Name the networks of your clients in access.clients."
)
UNREACHABLE = "it serves the private networks, but listens only where this machine can reach it: set downstream.listen."
EVERY_PORT = (
    "tunnels may go to every port, those of mail servers and databases too: "
    "name the ports that your clients need in access.connect_ports."
)


EXPOSED = (
    "control.metrics listens on port 9180 of every IPv4 address: whoever can reach that can read the proxy's "
    "numbers, whatever access.clients says."
)


EVERY_TUNNEL = (
    "it looks into every tunnel that is not left alone: all who use it must know that and have agreed to it. Clients "
    "that pin certificates will break until that is noticed: name the hosts that you mean in intercept.hosts, with the "
    'mode "listed".'
)
NOT_LEFT_ALONE = (
    'intercept.leave_alone does not have "defaults": banks, health and updates of operating systems are looked into '
    "too."
)
EVERY_MESSAGE = (
    "it writes down what is said in every WebSocket that it can see, passwords and all: name the hosts that you mean "
    "in log.websocket_hosts."
)
NO_MESSAGE = "log.websocket_hosts is empty: no message of a WebSocket will be written down."
NO_HOSTS = 'intercept.mode is "listed", but intercept.hosts is empty: no tunnel will be looked into.'


def not_refused(word: str) -> str:
    return (
        f'access.refuse_destinations does not have "{word}": clients can reach those addresses with the rights of this '
        "machine."
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("access.clients = []", [NO_CLIENTS]),
        ('downstream.listen = ["tcp:8080"]', [REFUSED]),
        ('downstream.listen = ["tcp:8080"]\naccess.clients = ["127.0.0.1"]', [REFUSED]),
        ('downstream.listen = ["tcp:8080"]\naccess.clients = ["all"]', [OPEN]),
        ('downstream.listen = ["tcp:8080"]\naccess.clients = ["0.0.0.0/1", "128.0.0.0/1"]', [OPEN]),
        ('downstream.listen = ["tcp:8080", "systemd:INET:name=x"]\naccess.clients = ["all"]', [OPEN]),
        ('downstream.listen = ["systemd:INET:name=x"]\naccess.clients = ["all"]', [PERHAPS_OPEN]),
        ('downstream.listen = ["systemd:INET:name=x"]', []),
        ('downstream.listen = ["tcp:8080"]\naccess.clients = ["private"]', []),
        ('access.clients = ["all"]', []),
        ('access.clients = ["private"]', [UNREACHABLE]),
        ('access.connect_ports = ["all"]', []),
        (
            'downstream.listen = ["tcp:8080"]\naccess.clients = ["private"]\naccess.connect_ports = ["all"]',
            [EVERY_PORT],
        ),
        ("access.refuse_destinations = []", [not_refused("link-local"), not_refused("metadata")]),
        ('access.refuse_destinations = ["link-local"]', [not_refused("metadata")]),
        ('control.metrics = ["tcp:9180"]', [EXPOSED]),
        ('control.metrics = ["unix:/run/m.sock", "tcp:9180"]', [EXPOSED]),
        ('control.metrics = ["unix:/run/m.sock", "tcp:9180:interface=127.0.0.1", "systemd:INET:name=x"]', []),
        ('log.websocket = "/var/log/ws.log"', [EVERY_MESSAGE]),
        ('log.websocket = "-"\nlog.websocket_max_content = 0', []),
        ('log.websocket = "-"\nlog.websocket_hosts = ["a.test"]', []),
        ('log.websocket = "-"\nlog.websocket_hosts = []', [NO_MESSAGE]),
        ("log.websocket_hosts = []", []),
        ('log.websocket = ""', []),
        ('intercept.mode = "listed"', [NO_HOSTS]),
        ('intercept.mode = "listed"\nintercept.hosts = ["a.test"]\nintercept.leave_alone = []', []),
        ('intercept.mode = "listed"\nintercept.hosts = ["*"]\nintercept.leave_alone = []', [NOT_LEFT_ALONE]),
        ('intercept.mode = "all-but"', [EVERY_TUNNEL]),
        ('intercept.mode = "all-but"\nintercept.leave_alone = ["a.test"]', [EVERY_TUNNEL, NOT_LEFT_ALONE]),
        (
            'intercept.mode = "all-but"\nintercept.ports = []',
            ["intercept.ports is empty: no tunnel will be looked into."],
        ),
        (
            'intercept.mode = "all-but"\nintercept.clients = []',
            ["intercept.clients is empty: no tunnel will be looked into."],
        ),
    ],
)
def test_what_is_unwise_is_warned_of(text: str, expected: list[str]) -> None:
    loaded = settings(text)
    assert list(warnings(loaded)) == expected
    told = describe(loaded)
    assert [line for line in told if line.startswith("warning: ")] == [f"warning: {line}" for line in expected]
    assert told[len(told) - len(expected) :] == [f"warning: {line}" for line in expected]


def test_variables_that_are_no_keys_are_warned_of() -> None:
    ignored = ("PYPROXY_PORT", "PYPROXY_LOG_LEVLE", "PYPROXY_A\nB")
    expected = [
        "the variable PYPROXY_PORT is ignored: no key has that name.",
        'the variable PYPROXY_LOG_LEVLE is ignored: no key has that name (did you mean "PYPROXY_LOG_LEVEL"?).',
        r"the variable PYPROXY_A\nB is ignored: no key has that name.",
    ]
    assert list(warnings(Settings(), ignored)) == expected
    assert describe(Settings(), ignored)[-3:] == [f"warning: {line}" for line in expected]


@given(st.data())
def test_all_settings_can_be_described(any_settings: st.SearchStrategy[Settings], data: Any) -> None:
    for line in describe(data.draw(any_settings)):
        assert line.isprintable()
        assert line.endswith(".")


def test_servers_that_are_treated_in_their_own_way() -> None:
    tls = UpstreamTLSSettings(
        system_anchors=False,
        anchors=("/etc/a.pem",),
        hosts=(
            UpstreamHost(names=("printer.test",), verify=False),
            UpstreamHost(names=("192.0.2.1",), verify=False, pins=("sha256/x",)),
            UpstreamHost(names=("b.test", ".c.test"), pins=("sha256/x", "sha256/y"), anchors=("/etc/b.pem",)),
            UpstreamHost(names=("d.test",), certificate="/etc/client.pem"),
        ),
    )
    told = describe(Settings(upstream_tls=tls))
    assert [line for line in told if "ervers" in line] == [
        "Servers are verified by /etc/a.pem.",
        "The servers printer.test are NOT VERIFIED.",
        "The servers 192.0.2.1 are verified by their pinned keys only.",
        "The servers b.test and .c.test must also have one of 2 pinned keys in their chains.",
        "For the servers b.test and .c.test these are trusted too: /etc/b.pem.",
        "The servers d.test are shown the certificate in /etc/client.pem when they ask for one.",
    ]
    (warning,) = [line for line in told if line.startswith("warning")]
    assert warning.startswith("warning: THE CERTIFICATES OF printer.test ARE NOT VERIFIED: ")


def test_nobody_is_trusted() -> None:
    tls = UpstreamTLSSettings(system_anchors=False)
    assert "upstream_tls trusts no authority at all: every connection to a server with TLS will be refused." in set(
        warnings(Settings(upstream_tls=tls))
    )


def test_accounts_in_words() -> None:
    text = """\
[accounts]
required = true
exempt_clients = ["loopback"]
htpasswd_file = "/etc/accounts"
checkers = ["site.Checker"]
schemes = ["digest", "basic"]
digest_file = "/etc/digests"
slow_down = 0
[[accounts.static]]
name = "ci"
hash = "$2b$12$abc"
"""
    assert [line for line in describe(settings(text)) if "ccount" in line or "password" in line] == [
        (
            "Every request needs an account, but for those of this machine. Accounts are those of /etc/accounts, "
            "/etc/digests, the settings (ci) and site.Checker; they are proven by digest and basic."
        ),
        "A right password is remembered for 5m; an address that brought a wrong one does not wait with the next.",
    ]
    text = 'accounts.htpasswd_file = "/etc/accounts"\naccounts.cache_ttl = 0'
    assert [line for line in describe(settings(text)) if "ccount" in line or "password" in line] == [
        "No request needs an account. Accounts are those of /etc/accounts; they are proven by basic.",
        (
            "A right password is remembered not at all; an address that brought a wrong one waits for up to 8s with "
            "the next."
        ),
    ]


def test_accounts_of_certificates() -> None:
    text = (
        'downstream.listen = ["ssl:8443:clientCA=/ca:interface=127.0.0.1"]\naccounts.required = true\n'
        'accounts.certificates = [{name = "build", dns = "a"}]\naccounts.certificate_accounts = "all"'
    )
    assert [line for line in describe(settings(text)) if "ccount" in line or "password" in line] == [
        (
            "Every request needs an account. Accounts are those of certificates (build) and everybody whose "
            "certificate a listener takes; they are proven by certificate."
        )
    ]


PUBLIC = 'downstream.listen = ["tcp:8080"]\naccess.clients = ["all"]\n'
IN_CLEAR = (
    "names and passwords can be read on the way to port 8080 of every IPv4 address: listen with TLS (ssl:), or let "
    'accounts.schemes be ["digest"].'
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PUBLIC + 'accounts.required = true\naccounts.htpasswd_file = "/x"', [IN_CLEAR]),
        (
            PUBLIC + 'accounts.required = true\naccounts.digest_file = "/x"\naccounts.schemes = ["digest"]',
            [],
        ),
        (
            (
                'downstream.listen = ["ssl:8080:privateKey=/k"]\naccess.clients = ["all"]\n'
                'accounts.required = true\naccounts.htpasswd_file = "/x"'
            ),
            [],
        ),
        (
            'accounts.ldap = [{url = "ldap://ldap.example", plain = true, dn = "uid={name}"}]',
            ["passwords can be read on the way to ldap://ldap.example: it is asked without TLS (plain = true)."],
        ),
        ('accounts.ldap = [{url = "ldap://127.0.0.1", plain = true, dn = "uid={name}"}]', []),
        ('accounts.ldap = [{url = "ldap://ldap.example", dn = "uid={name}"}]', []),
        (
            'accounts.certificate_accounts = "all"',
            ["accounts has certificates of clients, but no listener asks for one: give it clientCA=."],
        ),
        (
            'downstream.listen = ["ssl:8080:clientCA=/ca"]\naccess.clients = ["all"]',
            [],
        ),
        (
            'downstream.listen = ["ssl:8080:clientCA=/ca:clientCertificate=optional"]\naccess.clients = ["all"]',
            [
                (
                    "THIS IS AN OPEN PROXY: it listens on port 8080 of every IPv4 address with TLS and optional "
                    "certificates of clients and serves everybody who can reach that. Strangers will use it in this "
                    "machine's name: name the networks of your clients in access.clients, or listen on an address that "
                    "only they can reach."
                )
            ],
        ),
        (
            'accounts.exempt_clients = ["loopback"]\naccounts.htpasswd_file = "/x"',
            ["accounts.exempt_clients means nothing unless accounts.required is true."],
        ),
        (
            'accounts.required = true\naccounts.exempt_clients = ["all"]\naccounts.htpasswd_file = "/x"',
            ["accounts.required means nothing: accounts.exempt_clients are everybody."],
        ),
    ],
)
def test_what_is_unwise_about_accounts(text: str, expected: list[str]) -> None:
    assert list(warnings(settings(text))) == expected


def test_a_proxy_for_everybody_is_open_unless_all_need_an_account() -> None:
    for more in ('accounts.htpasswd_file = "/x"', 'accounts.required = true\naccounts.exempt_clients = ["all"]'):
        assert any("OPEN PROXY" in warning for warning in warnings(settings(PUBLIC + more)))


def test_a_rule_that_asks_needs_accounts() -> None:
    text = '[[access.rules]]\nhosts = ["a.test"]\naction = "ask"\n'
    asks = "access.rules (0) asks for credentials, but there is no account: nobody will get past it."
    assert list(warnings(settings(text))) == [asks]
    assert list(warnings(settings(text + '[accounts]\nhtpasswd_file = "/x"\n'))) == []


def test_lists_that_anybody_could_change() -> None:
    lists = (
        Blocklist(name="ads", source="http://lists.test/ads"),
        Blocklist(name="good", source="http://lists.test/good", allow=True),
        Blocklist(name="safe", source="https://lists.test/safe"),
    )
    told = set(warnings(Settings(blocklists=BlocklistsSettings(lists=lists))))
    assert "the list ads is fetched without TLS: whoever is on the way decides what it blocks." in told
    assert "the list good is fetched without TLS: whoever is on the way decides what it allows." in told
    assert not [one for one in told if "safe" in one]
    rule = '[[access.rules]]\naction = "set"\nblocklists = ["adds"]\n'
    asks = "access.rules (0) names the list adds, of which blocklists.lists has none."
    assert asks in set(warnings(settings(rule)))
    assert asks not in set(warnings(settings(rule + '[[blocklists.lists]]\nname = "adds"\nsource = "/x"\n')))


def test_who_is_asked_for_names() -> None:
    domain = ResolverDomain(names=("corp.example", "lab.example"), servers=("10.0.0.53",))
    some = Settings(resolver=ResolverSettings(domains=(domain,)))
    assert "Names in corp.example and lab.example are looked up at 10.0.0.53." in describe(some)
    both = describe(Settings(resolver=ResolverSettings(servers=("192.0.2.53", "192.0.2.54"), domains=(domain,))))
    assert "Other names are looked up at 192.0.2.53 and 192.0.2.54." in both
    alone = ResolverSettings(servers=("192.0.2.53",), timeout=2.0)
    assert "Names are looked up at 192.0.2.53." in describe(Settings(resolver=alone))
    assert not any("look-up" in warning or "resolver" in warning for warning in warnings(Settings(resolver=alone)))


def test_a_second_name_server_that_is_never_asked() -> None:
    wanted = ResolverSettings(servers=("192.0.2.53", "192.0.2.54"), timeout=2.0)
    assert (
        "resolver.timeout (2s) is over before resolver.attempt_timeout (2s) lets a second name server be asked."
        in set(warnings(Settings(resolver=wanted)))
    )

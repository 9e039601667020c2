"""Settings of every shape that the file allows."""

from __future__ import annotations

import ipaddress
from base64 import b64encode
from typing import Any

import msgspec
import pytest
from hypothesis import strategies as st

from twistedproxy.settings.access import AccessRule
from twistedproxy.settings.account_entries import CERTIFICATE_FIELDS
from twistedproxy.settings.accounts import AccountGroup, CertificateAccount, StaticAccount
from twistedproxy.settings.blocklist_tables import ACTIONS, FORMATS
from twistedproxy.settings.blocklists import Blocklist
from twistedproxy.settings.directories import Directory
from twistedproxy.settings.keys import Key, tables
from twistedproxy.settings.kinds import MOST_WORKERS, choices
from twistedproxy.settings.limits import LimitTable
from twistedproxy.settings.networks import CLIENT_SETS, DESTINATION_SETS
from twistedproxy.settings.resolver import ResolverDomain
from twistedproxy.settings.routes import RouteTable
from twistedproxy.settings.types import DownstreamSettings, Settings
from twistedproxy.settings.upstream_tls import UpstreamHost

PRINTABLE = st.characters(exclude_categories=("C", "Z"))

ENDPOINTS = st.one_of(
    st.builds("tcp:{}".format, st.integers(0, 65535)),
    st.builds("tcp:port={}:interface=10.0.0.1".format, st.integers(0, 65535)),
    st.builds(r"tcp6:{}:interface=\:\:1".format, st.integers(0, 65535)),
    st.builds("unix:/run/{}.sock".format, st.text(st.sampled_from("abc é'\"☃\\\\"), max_size=6).map(str.strip)),
    st.builds("systemd:domain=INET:name={}".format, st.text("abc", min_size=1, max_size=4)),
).filter(lambda text: text.count("\\") % 2 == 0)

ADDRESSES = st.ip_addresses().map(str)
NETWORKS = st.builds(
    lambda address, length: str(ipaddress.ip_network((address, length), strict=False)),
    st.ip_addresses(),
    st.integers(0, 32),
)
HOSTS = st.from_regex(r"\A\.?[a-z*?]{1,5}(\.[a-z0-9-]{1,5}){0,2}\Z")
PINS = st.binary(min_size=32, max_size=32).map(lambda digest: f"sha256/{b64encode(digest).decode()}")
UPSTREAM_HOSTS = st.one_of(
    st.builds(
        UpstreamHost,
        names=st.lists(st.one_of(ADDRESSES, HOSTS), min_size=1, max_size=3).map(tuple),
        pins=st.lists(PINS, max_size=2).map(tuple),
        anchors=st.lists(st.just("/etc/a.pem"), max_size=1).map(tuple),
        certificate=st.just("$CREDENTIALS_DIRECTORY/client.pem"),
        key=st.sampled_from(("", "/etc/key.pem")),
    ),
    st.builds(UpstreamHost, names=ADDRESSES.map(lambda address: (address,)), verify=st.just(False)),
)
ACCESS_RULES = st.one_of(
    st.builds(
        AccessRule,
        name=st.sampled_from(("", "games", 'a "b"')),
        clients=st.lists(NETWORKS, max_size=2).map(tuple),
        not_hosts=st.lists(st.one_of(HOSTS, st.just(r"~^a\d+\.")), max_size=2).map(tuple),
        ports=st.lists(st.one_of(st.integers(1, 65535), st.just("8000-8999")), max_size=2).map(tuple),
        fields=st.dictionaries(st.sampled_from(("User-Agent", "x.y")), st.just(("curl*",)), max_size=2),
        hours=st.sampled_from(((), ("08:00-17:00", "22:00-06:00"))),
        action=st.just("deny"),
        status=st.sampled_from((403, 451)),
    ),
    st.builds(
        AccessRule,
        users=st.sampled_from(((), ("*",), ("ann",))),
        action=st.sampled_from(("allow", "set")),
        intercept=st.booleans(),
    ),
)
NAMES = st.text(PRINTABLE.filter(lambda character: character != ":"), min_size=1, max_size=9)
STATIC_ACCOUNTS = st.one_of(
    st.builds(StaticAccount, name=NAMES, hash=st.just("$2b$12$abc"), groups=st.lists(NAMES, max_size=2).map(tuple)),
    st.builds(StaticAccount, name=NAMES, password_file=st.just("$CREDENTIALS_DIRECTORY/ci")),
)
ACCOUNT_GROUPS = st.builds(AccountGroup, name=NAMES, members=st.lists(NAMES, max_size=2).map(tuple))
DIRECTORIES = st.one_of(
    st.builds(
        Directory, url=st.just("ldaps://ldap.example:636"), dn=st.just("uid={name},o=x"), timeout=st.integers(1, 10)
    ),
    st.builds(
        Directory,
        url=st.just("ldap://[::1]"),
        plain=st.booleans(),
        base=NAMES,
        filter=st.just("(|(uid={name})(mail={name}))"),
        service_dn=NAMES,
        service_password_file=st.just("$CREDENTIALS_DIRECTORY/ldap"),
        group_base=NAMES,
    ),
)
CERTIFICATES = st.one_of(
    st.builds(CertificateAccount, name=NAMES, subject=NAMES, groups=st.just(("staff",))),
    st.builds(CertificateAccount, name=NAMES, email=NAMES),
    st.builds(CertificateAccount, name=NAMES, sha256=st.just("0a:" * 31 + "ff")),
)
BLOCKLISTS = st.builds(
    Blocklist,
    name=st.from_regex(r"\A[a-z0-9][a-z0-9_-]{0,9}\Z").filter(lambda name: not name.startswith("local")),
    source=st.sampled_from(("/etc/ads.txt", "https://lists.example/ads?x=1")),
    format=st.sampled_from(FORMATS),
    category=st.text(PRINTABLE, max_size=5),
    action=st.sampled_from(ACTIONS),
    exceptions=st.lists(st.one_of(ADDRESSES, HOSTS), max_size=2).map(tuple),
    refresh=st.sampled_from(("", "6h")),
)
NAME_SERVERS = st.sampled_from(
    ("192.0.2.53", "192.0.2.53:5353", "2001:db8::53", "[2001:db8::53]:1", "tls://192.0.2.53#a.example")
)
RESOLVER_DOMAINS = st.builds(
    ResolverDomain,
    names=st.lists(st.sampled_from(("corp.example", "local", "a-b.c_d.example")), min_size=1, max_size=2).map(tuple),
    servers=st.lists(NAME_SERVERS, min_size=1, max_size=2).map(tuple),
)
LIMITS = st.builds(
    LimitTable,
    name=st.from_regex(r"\A[a-zA-Z0-9][a-z0-9._-]{0,9}\Z"),
    per=st.sampled_from(("client", "account", "group", "all")),
    everybody=st.booleans(),
    requests_per_second=st.one_of(st.integers(1, 1000), st.floats(0.01, 1000)),
    burst=st.integers(1, 1000),
    connections=st.integers(0, 5).map(lambda count: count or 1),
    download=st.sampled_from(("2MiB", "1.5MiB", "100kB")),
    daily=st.just("5GiB"),
    when_over=st.sampled_from(("refuse", "slow")),
)
PARENTS = st.one_of(
    st.lists(st.sampled_from(("http://a.example:3128", "https://[2001:db8::1]:443")), min_size=1, unique=True),
    st.just(["socks5://192.0.2.1:1080"]),
)
ROUTES = st.one_of(
    st.builds(RouteTable, name=st.from_regex(r"\A[a-z0-9][a-z0-9._-]{0,5}\Z"), parents=PARENTS.map(tuple)),
    st.builds(
        RouteTable,
        name=st.just("secret"),
        parents=PARENTS.map(tuple),
        user=NAMES,
        password_file=st.just("$CREDENTIALS_DIRECTORY/password"),
    ),
)
RANGES = st.tuples(st.integers(1, 65535), st.integers(1, 65535)).map(
    lambda ends: f"{min(ends)}-{max(ends)}",
)


def _values(key: Key) -> st.SearchStrategy[Any]:
    least, most = key.meta.ge, key.meta.le
    match key.kind.name:
        case "duration":
            tidy = st.integers(1, 10**8).map(lambda thousandths: thousandths / 1000)
            seconds = st.one_of(st.floats(least, most), tidy.filter(lambda value: least <= value <= most))
            return seconds.map(lambda value: value + 0.0)
        case "size" | "count":
            return st.one_of(st.integers(least, most), st.sampled_from((least, most)))
        case "flag":
            return st.booleans()
        case "choice":
            return st.sampled_from(choices(key.meta))
        case "pseudonym":
            return st.one_of(st.just(""), st.from_regex(r"\A[a-z0-9.!~-]{1,20}(:443)?\Z"), st.just("[::1]:80"))
        case "log path":
            return st.text(PRINTABLE, max_size=20)
        case "socket path":
            return st.one_of(
                st.sampled_from(("", "off")),
                st.text(PRINTABLE, min_size=1, max_size=20).map(lambda name: f"/run/{name}".rstrip("/")),
            )
        case "file path":
            absolute = st.text(PRINTABLE, min_size=1, max_size=20).map(lambda name: f"/etc/x{name}".rstrip("/"))
            return st.one_of(st.just(""), absolute)
        case "file paths":
            return st.lists(st.from_regex(r"\A(/etc|\$CREDENTIALS_DIRECTORY)/[a-z]{1,9}\Z"), max_size=3).map(tuple)
        case "upstream hosts":
            return st.lists(UPSTREAM_HOSTS, max_size=3).map(tuple)
        case "name servers":
            return st.lists(NAME_SERVERS, max_size=3).map(tuple)
        case "resolver domains":
            return st.lists(RESOLVER_DOMAINS, max_size=2).map(tuple)
        case "access rules":
            return st.lists(ACCESS_RULES, max_size=3).map(tuple)
        case "credential path":
            return st.sampled_from(("", "/etc/accounts", "$CREDENTIALS_DIRECTORY/accounts"))
        case "static accounts":
            return st.lists(STATIC_ACCOUNTS, max_size=2).map(tuple)
        case "account groups":
            return st.lists(ACCOUNT_GROUPS, max_size=2).map(tuple)
        case "directories":
            return st.lists(DIRECTORIES, max_size=2).map(tuple)
        case "certificate accounts":
            return st.lists(CERTIFICATES, max_size=3).map(tuple)
        case "certificate fields":
            return st.permutations(CERTIFICATE_FIELDS).flatmap(
                lambda fields: st.integers(1, len(fields)).map(lambda count: tuple(fields[:count]))
            )
        case "dotted names":
            return st.lists(st.from_regex(r"\A[a-z]{1,5}(\.[a-z_]{1,5}){1,3}\Z"), max_size=2).map(tuple)
        case "schemes":
            return st.sampled_from((("basic",), ("digest",), ("digest", "basic")))
        case "realm":
            return st.from_regex(r"\A[A-Za-z']([ !#-Z^-~]{0,20}[a-z])?\Z")
        case "limits":
            return st.lists(LIMITS, max_size=3, unique_by=lambda one: one.name).map(tuple)
        case "route":
            return st.just("direct")
        case "routes":
            return st.lists(ROUTES, max_size=3, unique_by=lambda one: one.name).map(tuple)
        case "time zone":
            return st.sampled_from(("UTC", "Europe/Berlin"))
        case "blocklists":
            return st.lists(BLOCKLISTS, max_size=3, unique_by=lambda one: one.name).map(tuple)
        case "workers":
            return st.one_of(st.integers(1, MOST_WORKERS), st.just("auto"))
        case "endpoints or none":
            return st.lists(ENDPOINTS, max_size=4, unique=True).map(tuple)
        case "endpoints":
            return st.lists(ENDPOINTS, min_size=1, max_size=12, unique=True).map(tuple)
        case "ports":
            return st.lists(st.one_of(st.integers(1, 65535), RANGES, st.just("all")), max_size=12).map(tuple)
        case "hosts":
            return st.lists(st.one_of(ADDRESSES, HOSTS, st.just("defaults")), max_size=6).map(tuple)
        case "source addresses":
            return st.sampled_from([(), ("192.0.2.1",), ("192.0.2.1", "2001:db8::1"), ("::1",)])
        case "excepted hosts":
            parts = st.sampled_from(["", " referer", " user_agent,fields"])
            return st.lists(st.builds(str.__add__, st.one_of(ADDRESSES, HOSTS), parts), max_size=4).map(tuple)
        case "field names":
            return st.lists(st.from_regex(r"\AX-[a-zA-Z*?-]{1,9}\Z"), max_size=4).map(tuple)
        case "field lines":
            return st.lists(st.from_regex(r"\AX-[a-zA-Z-]{1,9}: [!-~]{1,9}\Z"), max_size=4).map(tuple)
        case "clients":
            return st.lists(st.one_of(ADDRESSES, NETWORKS, st.sampled_from([*CLIENT_SETS]))).map(tuple)
        case "destinations":
            return st.lists(st.one_of(ADDRESSES, NETWORKS, st.sampled_from([*DESTINATION_SETS]))).map(tuple)
    raise AssertionError(f"no values for {key.path}")


def _settings() -> st.SearchStrategy[Settings]:
    rooms = {
        table: st.fixed_dictionaries({}, optional={key.name: _values(key) for key in keys})
        for table, keys in tables().items()
    }
    return (
        st.fixed_dictionaries(rooms)
        .map(_with_its_own_listeners)
        .map(lambda values: msgspec.convert(values, Settings))
        .filter(lambda made: made.downstream.max_target_size <= made.downstream.max_head_size)
    )


def _with_its_own_listeners(values: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The same, with as many exceptions for listeners as before, but such as there are."""
    http2 = values["http2"]
    if "except_listeners" not in http2:
        return values
    listeners = values["downstream"].get("listen", DownstreamSettings().listen)
    return {**values, "http2": {**http2, "except_listeners": listeners[: len(http2["except_listeners"])]}}


@pytest.fixture(scope="session")
def any_settings() -> st.SearchStrategy[Settings]:
    """A strategy for settings that `load` accepts."""
    return _settings()

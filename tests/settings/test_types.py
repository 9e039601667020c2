"""The types are the documentation: nothing in them may go without a word."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from twistedproxy.settings.keys import Key, about, keys, tables
from twistedproxy.settings.load import load
from twistedproxy.settings.types import Settings

KEYS = [pytest.param(key, id=path) for path, key in keys().items()]

DEFAULTS: dict[str, dict[str, Any]] = {
    "service": {"workers": 1, "drain_timeout": 30.0, "drain_delay": 0.0, "lag_limit": 10.0},
    "downstream": {
        "listen": ("tcp:8080:interface=127.0.0.1",),
        "max_connections": 0,
        "max_connections_per_client": 2048,
        "max_head_size": 65536,
        "max_fields": 128,
        "max_target_size": 16384,
        "head_timeout": 15.0,
        "body_timeout": 60.0,
        "idle_timeout": 60.0,
        "half_closed_timeout": 1.0,
        "write_timeout": 60.0,
    },
    "upstream": {
        "max_connections": 1024,
        "max_connections_per_origin": 256,
        "max_idle": 256,
        "idle_timeout": 30.0,
        "wait_timeout": 10.0,
        "connect_timeout": 10.0,
        "attempt_delay": 0.25,
        "source_address": (),
        "tls_timeout": 10.0,
        "first_byte_timeout": 300.0,
        "body_timeout": 300.0,
        "max_head_size": 65536,
        "max_fields": 256,
    },
    "upstream_tls": {
        "system_anchors": True,
        "anchors": (),
        "strict": True,
        "max_intermediates": 8,
        "min_version": "1.2",
        "max_version": "1.3",
        "session_cache": 1000,
        "hosts": (),
    },
    "resolver": {
        "servers": (),
        "domains": (),
        "hosts_file": True,
        "cache_size": 10000,
        "ttl": 60.0,
        "min_ttl": 0.0,
        "max_ttl": 3600.0,
        "negative_ttl": 5.0,
        "timeout": 10.0,
        "attempt_timeout": 2.0,
        "attempts": 2,
        "threads": 32,
    },
    "tunnel": {"splice": True, "idle_timeout": 3600.0},
    "access": {
        "clients": ("loopback",),
        "connect_ports": (443,),
        "refuse_destinations": ("link-local", "metadata", "unspecified", "multicast", "reserved"),
        "default": "allow",
        "rules": (),
    },
    "accounts": {
        "required": False,
        "exempt_clients": (),
        "htpasswd_file": "",
        "digest_file": "",
        "group_file": "",
        "static": (),
        "groups": (),
        "certificates": (),
        "ldap": (),
        "userhash": False,
        "certificate_names": ("cn", "email", "dns", "uri"),
        "certificate_accounts": "listed",
        "checkers": (),
        "schemes": ("basic",),
        "realm": "proxy",
        "cache_ttl": 300.0,
        "cache_size": 10_000,
        "slow_down": 8.0,
        "threads": 2,
    },
    "blocklists": {
        "lists": (),
        "refresh": 86400.0,
        "timeout": 120.0,
        "max_size": 268435456,
        "max_shrink": 50,
    },
    "limits": {
        "tables": (),
        "ipv6_prefix": 64,
        "zone": "UTC",
        "max_wait": 10.0,
        "max_waiting": 100,
        "max_keys": 10_000,
    },
    "forwarding": {"via": ""},
    "privacy": {
        "profile": "off",
        "via": "profile",
        "forwarded_for": "profile",
        "forwarded_form": "x-forwarded-for",
        "remove_request_fields": (),
        "replace_request_fields": (),
        "allow_request_fields": (),
        "remove_response_fields": (),
        "replace_response_fields": (),
        "allow_response_fields": (),
        "referer": "profile",
        "third_party_cookies": "profile",
        "third_party_validators": "profile",
        "tracking_parameters": "profile",
        "user_agent": "profile",
        "client_hints": "profile",
        "accept_language": "profile",
        "except_hosts": (),
        "log_addresses": "profile",
        "log_queries": "profile",
    },
    "tls": {"authority": "", "leaf_lifetime": 3888000.0, "leaf_cache": 1000},
    "intercept": {
        "mode": "off",
        "hosts": (),
        "leave_alone": ("defaults",),
        "ports": (443,),
        "clients": ("all",),
        "peek_timeout": 3.0,
        "unreadable": "tunnel",
        "learn_after": 2,
        "learn_for": 86400.0,
        "portal": True,
    },
    "routes": {"default": "direct", "tables": (), "timeout": 30.0, "retry_after": 30.0},
    "http2": {
        "with_clients": True,
        "with_servers": "mirror",
        "except_hosts": (),
        "except_listeners": (),
        "max_streams": 100,
        "stream_window": 262144,
    },
    "control": {"socket": "", "metrics": ()},
    "log": {
        "access": "",
        "format": "squid",
        "level": "info",
        "websocket": "off",
        "websocket_hosts": ("*",),
        "websocket_max_content": 16384,
    },
}


BESIDE = {"routes.default": '[[routes.tables]]\nname = "office"\nparents = ["http://proxy.example:3128"]\n'}
"""What has to be there too for a key's example."""


def test_the_keys_and_their_defaults() -> None:
    settings = Settings()
    read = {
        table: {key.name: getattr(getattr(settings, table), key.name) for key in group}
        for table, group in tables().items()
    }
    assert read == DEFAULTS
    for table, values in DEFAULTS.items():
        for name, value in values.items():
            assert type(read[table][name]) is type(value)


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_described(key: Key) -> None:
    description = key.meta.description or ""
    assert len(description) > 40
    assert description[0].isupper()
    assert description.endswith(".")
    assert "  " not in description


@pytest.mark.parametrize("key", KEYS)
def test_the_default_is_one_that_the_file_may_have(key: Key) -> None:
    loaded = load(f"[{key.table}]\n{key.name} = {key.kind.spell(key.default)}\n", "a.toml")
    assert loaded.settings == Settings()
    assert loaded.sources[key.path] == "a.toml:2"


@pytest.mark.parametrize("key", KEYS)
def test_there_is_an_example_that_the_file_may_have(key: Key) -> None:
    assert key.meta.examples
    for example in key.meta.examples:
        value = key.kind.read(example)
        assert value != key.default
        text = f"[{key.table}]\n{key.name} = {key.kind.spell(value)}\n{BESIDE.get(key.path, '')}"
        loaded = load(text, "a.toml")
        assert getattr(getattr(loaded.settings, key.table), key.name) == msgspec.convert(value, key.annotation)


def test_every_table_says_what_it_is_for() -> None:
    for table in tables():
        assert about(table).endswith(".")
        assert "\n" not in about(table)


def test_settings_do_not_change() -> None:
    with pytest.raises(AttributeError):
        Settings().log.level = "debug"  # type: ignore[misc]  # frozen, as is to be shown
    assert hash(Settings()) == hash(Settings())


def test_an_unknown_key_is_refused_by_the_types_too() -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert({"log": {"levle": "info"}}, Settings)

"""The nearest key to one that is not there."""

from __future__ import annotations

import pytest

from twistedproxy.settings.keys import about, keys, suggested_table, suggested_variable, suggestion, tables, variables


def test_every_key_is_found_by_its_path() -> None:
    assert len(keys()) == sum(map(len, tables().values())) == 137
    for path, key in keys().items():
        assert path == key.path == f"{key.table}.{key.name}"
        assert key in tables()[key.table]


def test_a_table_says_what_it_is_for() -> None:
    assert about("access") == "Who may use the proxy, and what it connects to on their behalf."


@pytest.mark.parametrize(
    ("table", "name", "hint"),
    [
        ("upstream", "conect_timeout", 'did you mean "connect_timeout"?'),
        ("downstream", "max_feilds", 'did you mean "max_fields"?'),
        # In the wrong table.
        ("downstream", "connect_timeout", 'did you mean "upstream.connect_timeout"?'),
        ("tunnel", "splise", 'did you mean "splice"?'),
        ("service", "splice", 'did you mean "tunnel.splice"?'),
        ("log", "clients", 'did you mean "access.clients" or "intercept.clients"?'),
        ("access", "conect_timeout", 'did you mean "upstream.connect_timeout"?'),
        # In a table that does not exist either; the most similar one comes first.
        ("upsteam", "max_fields", 'did you mean "upstream.max_fields" or "downstream.max_fields"?'),
        ("upsteam", "max_idel", 'did you mean "upstream.max_idle"?'),
        # Without a table.
        ("", "max_fields", 'did you mean "downstream.max_fields" or "upstream.max_fields"?'),
        ("", "drain_timeout", 'did you mean "service.drain_timeout"?'),
        ("", "drain_timout", 'did you mean "service.drain_timeout"?'),
        # Nothing like any.
        ("upstream", "colour", ""),
        ("", "x", ""),
        ("", "", ""),
        ("upstream", "connect_timeout" * 10_000, ""),
    ],
)
def test_the_nearest_key(table: str, name: str, hint: str) -> None:
    assert suggestion(table, name) == hint


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("upsteam", 'did you mean "upstream"?'),
        ("logs", 'did you mean "log"?'),
        ("tunnels", 'did you mean "tunnel"?'),
        ("colours", ""),
        ("upstream" * 10_000, ""),
    ],
)
def test_the_nearest_table(name: str, hint: str) -> None:
    assert suggested_table(name) == hint


def test_every_key_has_a_variable_of_its_own() -> None:
    assert len(variables()) == len(keys())
    assert variables()["PYPROXY_UPSTREAM_CONNECT_TIMEOUT"] is keys()["upstream.connect_timeout"]
    for name, key in variables().items():
        assert name == key.variable == name.upper()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("PYPROXY_UPSTREAM_CONECT_TIMEOUT", 'did you mean "PYPROXY_UPSTREAM_CONNECT_TIMEOUT"?'),
        ("PYPROXY_UPSTEAM_CONNECT_TIMEOUT", 'did you mean "PYPROXY_UPSTREAM_CONNECT_TIMEOUT"?'),
        ("PYPROXY_UPSTREAM_CONNECTTIMEOUT", 'did you mean "PYPROXY_UPSTREAM_CONNECT_TIMEOUT"?'),
        ("PYPROXY_log_level", 'did you mean "PYPROXY_LOG_LEVEL"?'),
        ("PYPROXY_LOGLEVEL", 'did you mean "PYPROXY_LOG_LEVEL"?'),
        # Without a table.
        ("PYPROXY_LISTEN", 'did you mean "PYPROXY_DOWNSTREAM_LISTEN"?'),
        ("PYPROXY_MAX_FIELDS", 'did you mean "PYPROXY_DOWNSTREAM_MAX_FIELDS" or "PYPROXY_UPSTREAM_MAX_FIELDS"?'),
        # What Kubernetes sets for a service that is called pyproxy; nobody meant anything by it.
        ("PYPROXY_SERVICE_HOST", ""),
        ("PYPROXY_SERVICE_PORT", ""),
        ("PYPROXY_SERVICE_PORT_HTTP", ""),
        ("PYPROXY_PORT", ""),
        ("PYPROXY_PORT_8080_TCP", ""),
        ("PYPROXY_PORT_8080_TCP_ADDR", ""),
        ("PYPROXY_PORT_8080_TCP_PORT", ""),
        ("PYPROXY_PORT_8080_TCP_PROTO", ""),
        ("PYPROXY_", ""),
        ("PYPROXY_LOG", ""),
        ("PYPROXY_" + "LOG_LEVEL" * 10_000, ""),
    ],
)
def test_the_nearest_variable(name: str, hint: str) -> None:
    assert suggested_variable(name) == hint

"""How the daemon runs and is steered: what these keys take, and what they do not."""

from __future__ import annotations

import pytest

from twistedproxy.settings.load import load
from twistedproxy.settings.operation import ControlSettings, ServiceSettings, TLSSettings
from twistedproxy.settings.problems import SettingsError


def test_a_service_of_several_workers() -> None:
    text = """\
[service]
workers = "auto"
drain_delay = "5s"
lag_limit = 1
[control]
socket = "/run/pyproxy/control.sock"
metrics = ["tcp:9180:interface=127.0.0.1", "unix:/run/pyproxy/metrics.sock"]
"""
    settings = load(text, "a.toml").settings
    assert settings.service == ServiceSettings(workers="auto", drain_delay=5.0, lag_limit=1.0)
    assert settings.control == ControlSettings(
        socket="/run/pyproxy/control.sock",
        metrics=("tcp:9180:interface=127.0.0.1", "unix:/run/pyproxy/metrics.sock"),
    )


@pytest.mark.parametrize(
    ("override", "value"),
    [(("service.workers", "auto"), "auto"), (("service.workers", "4"), 4), (("service.workers", '"auto"'), "auto")],
)
def test_workers_on_the_command_line(override: tuple[str, str], value: int | str) -> None:
    assert load("", "a.toml", [override]).settings.service.workers == value


def test_an_operators_authority() -> None:
    assert load('tls.authority = "/etc/ca.pem"', "a.toml").settings.tls == TLSSettings(authority="/etc/ca.pem")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('tls.authority = "ca.pem"', 'tls.authority: expected an absolute path, or nothing, got "ca.pem"'),
        ("tls.authority = 1", "tls.authority: expected a string, got 1"),
        ("service.workers = 65", 'service.workers: expected an integer from 1 to 64, or "auto", got 65'),
        (
            'service.workers = "2"',
            (
                'service.workers: expected an integer from 1 to 64, or "auto", got "2" '
                "(a number is written without quotes)"
            ),
        ),
        (
            'service.drain_delay = "-1s"',
            (
                'service.drain_delay: expected a duration such as 10 (seconds), "250ms" or "5m", from 0s to 365d, '
                'got "-1s"'
            ),
        ),
        (
            'service.lag_limit = "999ms"',
            (
                'service.lag_limit: expected a duration such as 10 (seconds), "250ms" or "5m", from 1s to 365d, '
                'got "999ms"'
            ),
        ),
        (
            'control.socket = "control.sock"',
            'control.socket: expected an absolute path, "off", or nothing, got "control.sock"',
        ),
        (
            'control.metrics = "tcp:9180"',
            ('control.metrics: expected a list of endpoints such as ["tcp:9180:interface=127.0.0.1"], got "tcp:9180"'),
        ),
        (
            'control.metrics = ["tcp:9180", "9181"]',
            (
                'control.metrics[1]: expected an endpoint such as "tcp:8080" or "unix:/run/proxy.sock", got "9181" '
                '(did you mean "tcp:9181"?)'
            ),
        ),
        (
            'control.metrics = ["tcp:9180", "tcp:9180"]',
            'control.metrics[1]: expected each endpoint only once, got "tcp:9180"',
        ),
    ],
)
def test_what_is_refused(line: str, problem: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(line, "a.toml")
    assert str(refused.value) == f"a.toml:1: {problem}"

"""The settings of accounts, as they are written and written again."""

from __future__ import annotations

import pytest

from twistedproxy.settings.accounts import AccountGroup, AccountsSettings, StaticAccount
from twistedproxy.settings.annotate import annotated_toml
from twistedproxy.settings.load import load
from twistedproxy.settings.problems import SettingsError

TEXT = """\
[accounts]
required = true
exempt_clients = ["loopback"]
htpasswd_file = "/etc/twistedproxy/accounts"
digest_file = "$CREDENTIALS_DIRECTORY/digests"
group_file = "/etc/twistedproxy/groups"
checkers = ["example_site.Checker"]
schemes = ["digest", "basic"]
realm = "example.com proxy"
cache_ttl = "1m"
cache_size = 100
slow_down = "30s"
threads = 4

[[accounts.static]]
name = "ci"
password_file = "$CREDENTIALS_DIRECTORY/ci"
groups = ["robots"]

[[accounts.static]]
name = "ann"
hash = "$2b$12$abc"

[[accounts.groups]]
name = "staff"
members = ["ann", "Jörg M."]
"""


def test_nobody_needs_an_account_unless_it_is_said() -> None:
    assert not AccountsSettings().required


def test_read_and_written_again() -> None:
    loaded = load(TEXT, "a.toml")
    assert loaded.settings.accounts == AccountsSettings(
        required=True,
        exempt_clients=("loopback",),
        htpasswd_file="/etc/twistedproxy/accounts",
        digest_file="$CREDENTIALS_DIRECTORY/digests",
        group_file="/etc/twistedproxy/groups",
        static=(
            StaticAccount(name="ci", password_file="$CREDENTIALS_DIRECTORY/ci", groups=("robots",)),
            StaticAccount(name="ann", hash="$2b$12$abc"),
        ),
        groups=(AccountGroup(name="staff", members=("ann", "Jörg M.")),),
        checkers=("example_site.Checker",),
        schemes=("digest", "basic"),
        realm="example.com proxy",
        cache_ttl=60.0,
        cache_size=100,
        slow_down=30.0,
        threads=4,
    )
    written = annotated_toml(loaded.settings, loaded.sources)
    assert load(written, "b.toml").settings == loaded.settings


def test_a_password_is_not_repeated() -> None:
    text = (
        '[[accounts.static]]\nname = "a"\nhash = "opensesame"\n[[accounts.static]]\nname = "b"\npassword = "sesame"\n'
    )
    with pytest.raises(SettingsError) as raised:
        load(text, "a.toml")
    assert str(raised.value).splitlines() == [
        (
            'a.toml:3: accounts.static[0].hash: expected the hash of a password, such as "$2b$12$...": '
            "pyproxyctl passwd makes one"
        ),
        "a.toml:6: accounts.static[1].password: a password must not stand in the settings: use hash or password_file",
    ]

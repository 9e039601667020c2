"""The settings of accounts, as they are written and written again."""

from __future__ import annotations

import pytest

from twistedproxy.settings.accounts import (
    AccountGroup,
    AccountsSettings,
    CertificateAccount,
    StaticAccount,
    has_accounts,
)
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
certificate_names = ["email", "cn"]
certificate_accounts = "all"
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

[[accounts.certificates]]
name = "build"
subject = "CN=build,OU=ci"
groups = ["robots"]
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
        certificates=(CertificateAccount(name="build", subject="CN=build,OU=ci", groups=("robots",)),),
        certificate_names=("email", "cn"),
        certificate_accounts="all",
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


@pytest.mark.parametrize("text", ['["cn", "cn"]', "[]", '["CN"]', '"cn"'])
def test_fields_that_cannot_be_looked_at(text: str) -> None:
    with pytest.raises(SettingsError, match=r"accounts\.certificate_names"):
        load(f"accounts.certificate_names = {text}", "a.toml")


def test_certificates_are_accounts() -> None:
    assert not has_accounts(AccountsSettings())
    assert has_accounts(AccountsSettings(certificate_accounts="all"))
    assert has_accounts(AccountsSettings(certificates=(CertificateAccount(name="a", dns="b"),)))


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

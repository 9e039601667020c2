"""What may stand in the lists of ``accounts``, and what is said of anything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from twistedproxy.settings.account_entries import (
    check_account_group,
    check_certificate_account,
    check_certificate_field,
    check_dotted,
    check_group,
    check_name,
    check_realm,
    check_scheme,
    check_static_account,
)
from twistedproxy.settings.problems import Unfit

HASH = "$2b$12$abc"


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (check_name, "Jörg M."),
        (check_name, "n" * 255),
        (check_group, "staff"),
        (check_realm, "example.com proxy"),
        (check_scheme, "digest"),
        (check_dotted, "example_site.directory.Checker"),
        (check_static_account, {"name": "ann", "hash": HASH, "groups": ["a", "b"]}),
        (check_static_account, {"name": "ann", "password_file": "/etc/ann"}),
        (check_account_group, {"name": "staff", "members": []}),
        (check_certificate_account, {"name": "build", "subject": "CN=build,OU=ci", "groups": ["ci"]}),
        (check_certificate_account, {"name": "build", "uri": "spiffe://example.org/build"}),
        (check_certificate_account, {"name": "build", "sha256": "0a" * 32}),
        (check_certificate_account, {"name": "build", "sha256": ":".join(["0A"] * 32)}),
        (check_certificate_field, "uri"),
    ],
)
def test_what_may_stand_there(check: Callable[[object], None], value: object) -> None:
    check(value)


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (check_name, ""),
        (check_name, "a:b"),
        (check_name, "a\nb"),
        (check_name, " a"),
        (check_name, "ü" * 128),
        (check_name, 3),
        (check_group, "two words"),
        (check_realm, ""),
        (check_realm, 'a"b'),
        (check_realm, "a\\b"),
        (check_realm, "é"),
        (check_realm, "x" * 65),
        (check_realm, None),
        (check_scheme, "Basic"),
        (check_scheme, 1),
        (check_dotted, "nodots"),
        (check_dotted, "a..b"),
        (check_dotted, "a.b c"),
        (check_static_account, "ann"),
        (check_account_group, ["staff"]),
        (check_certificate_account, "CN=build"),
        (check_certificate_field, "CN"),
        (check_certificate_field, 1),
    ],
)
def test_what_may_not(check: Callable[[object], None], value: object) -> None:
    with pytest.raises(Unfit):
        check(value)


@pytest.mark.parametrize(
    ("check", "table", "within", "said"),
    [
        (check_static_account, {"hash": HASH}, "", "the key name"),
        (check_static_account, {"name": "a"}, "", "either the key hash or the key password_file"),
        (
            check_static_account,
            {"name": "a", "hash": HASH, "password_file": "/x"},
            "",
            "either the key hash or the key password_file",
        ),
        (check_static_account, {"name": "a", "hsh": HASH}, "hsh", 'unknown key (did you mean "hash"?)'),
        (check_static_account, {"name": "a:", "hash": HASH}, "name", "a name of printable"),
        (check_static_account, {"name": "a", "password_file": "x"}, "password_file", "an absolute path"),
        (check_static_account, {"name": "a", "hash": HASH, "groups": ["x", "y z"]}, "groups[1]", "the name of a group"),
        (check_static_account, {"name": "a", "hash": HASH, "groups": "x"}, "groups", "a list"),
        (check_account_group, {"name": "a"}, "", "the key members"),
        (check_certificate_account, {"name": "a"}, "", "one of the keys subject, email, dns, uri, sha256"),
        (check_certificate_account, {"name": "a", "dns": "x", "uri": "y"}, "", "one of the keys subject, email"),
        (check_certificate_account, {"name": "a", "subject": ""}, "subject", "what stands in the certificate"),
        (check_certificate_account, {"name": "a", "email": "a\nb"}, "email", "what stands in the certificate"),
        (check_certificate_account, {"name": "a", "sha256": "0a" * 31}, "sha256", "the SHA-256 of a certificate"),
        (check_account_group, {"name": "a", "members": [7]}, "members[0]", 'a name such as "ann"'),
    ],
)
def test_mistakes_are_told_with_their_key(
    check: Callable[[object], None], table: dict[str, Any], within: str, said: str
) -> None:
    with pytest.raises(Unfit) as raised:
        check(table)
    assert raised.value.within == within
    assert (raised.value.message or raised.value.expected).startswith(said)

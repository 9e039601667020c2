"""Tables of ``accounts.ldap``: what may stand there, and what is said of anything else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from twistedproxy.settings.directories import Directory, check_directory
from twistedproxy.settings.load import load
from twistedproxy.settings.problems import Unfit

BY_NAME = {"url": "ldaps://ldap.example", "dn": "uid={name},ou=people,dc=example"}
BY_SEARCH = {"url": "ldap://ldap.example:389", "base": "dc=example"}
SERVICE = {"service_dn": "cn=service", "service_password_file": "$CREDENTIALS_DIRECTORY/ldap"}


@pytest.mark.parametrize(
    "table",
    [
        BY_NAME,
        BY_SEARCH,
        BY_SEARCH | SERVICE | {"filter": "(&(objectClass=person)(|(uid={name})(mail={name})))", "plain": True},
        BY_NAME | SERVICE | {"group_base": "ou=groups", "group_filter": "(member={dn})"},
        BY_NAME | {"url": "ldaps://[2001:db8::1]:6360", "anchors": "/etc/ca.pem", "timeout": 10},
        BY_NAME | {"name_attribute": "sAMAccountName", "group_attribute": "memberOf"},
    ],
)
def test_what_may_stand_there(table: dict[str, Any]) -> None:
    check_directory(table)


@pytest.mark.parametrize(
    ("table", "within", "said"),
    [
        ({"dn": "uid={name}"}, "", "the key url"),
        ({"url": "ldaps://x"}, "", "either the key dn or the key base"),
        (BY_NAME | {"base": "dc=x"}, "", "either the key dn or the key base"),
        (BY_NAME | {"url": "https://x"}, "url", "a URL such as"),
        (BY_NAME | {"url": "ldaps://"}, "url", "a URL such as"),
        (BY_NAME | {"url": "ldaps://ann:x@h"}, "url", "a URL such as"),
        (BY_NAME | {"url": "ldaps://h/dc=x"}, "url", "a URL such as"),
        (BY_NAME | {"url": "ldaps://h:99999"}, "url", "a URL such as"),
        (BY_NAME | {"url": "ldaps://[::1"}, "url", "a URL such as"),
        (BY_NAME | {"url": 3}, "url", "a URL such as"),
        (BY_NAME | {"dn": "uid=name"}, "dn", "a template with {name} in it"),
        (BY_NAME | {"dn": "uid={user}"}, "dn", "a template with {name} in it"),
        (BY_NAME | {"dn": "uid={name},{dn}"}, "dn", "a template with {name} in it"),
        (BY_NAME | {"plain": "yes"}, "plain", "true or false"),
        (BY_NAME | {"timeout": 11}, "timeout", "a number of seconds from 1 to 10"),
        (BY_NAME | {"timeout": True}, "timeout", "a number of seconds from 1 to 10"),
        (BY_NAME | {"anchors": "ca.pem"}, "anchors", "an absolute path"),
        (BY_NAME | {"name_attribute": "a b"}, "name_attribute", "the name of an attribute"),
        (BY_NAME | {"filter": "(uid={name})"}, "", "no filter and no service_dn with dn"),
        (BY_NAME | SERVICE, "", "no filter and no service_dn with dn"),
        (BY_NAME | {"group_filter": "(member={dn})"}, "", "the key group_base"),
        (BY_SEARCH | {"service_dn": "cn=x"}, "", "both keys service_dn and service_password_file"),
        (BY_SEARCH | {"filter": "uid={name}"}, "filter", "a filter in parentheses"),
        (BY_SEARCH | {"filter": "(uid=ann)"}, "filter", "a template with {name} in it"),
        (BY_SEARCH | {"fliter": "(uid={name})"}, "fliter", 'unknown key (did you mean "filter"?)'),
        (BY_SEARCH | {"password": "x"}, "password", "a password must not stand in the settings"),
    ],
)
def test_mistakes_are_told_with_their_key(table: dict[str, Any], within: str, said: str) -> None:
    with pytest.raises(Unfit) as raised:
        check_directory(table)
    assert raised.value.within == within
    assert (raised.value.message or raised.value.expected).startswith(said)


@pytest.mark.parametrize(
    ("url", "plain", "secured", "loopback"),
    [
        ("ldaps://h", False, True, False),
        ("ldaps://h", True, True, False),
        ("ldap://localhost", False, True, True),
        ("ldap://[::1]:389", True, False, True),
        ("ldap://127.0.0.2", True, False, True),
        ("ldap://192.0.2.1", True, False, False),
    ],
)
def test_whether_it_can_be_read_on_the_way(url: str, plain: bool, secured: bool, loopback: bool) -> None:
    directory = Directory(url=url, plain=plain, dn="uid={name}")
    assert (directory.secured, directory.loopback_only) == (secured, loopback)


def test_the_recipe() -> None:
    page = (Path(__file__).parents[2] / "docs" / "accounts.md").read_text(encoding="utf-8")
    [text] = re.findall(r"^```toml\n([^`]*accounts\.ldap[^`]*)^```", page, re.MULTILINE)
    first, second = load(text, "a.toml").settings.accounts.ldap
    assert (first.base, second.dn) == ("", "")
    assert second.service_password_file == "$CREDENTIALS_DIRECTORY/ldap"

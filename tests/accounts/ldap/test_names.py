"""Distinguished names: values put into them, and taken out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.accounts.ldap.names import escaped, first_value


@pytest.mark.parametrize(
    ("text", "expected"), [("ann", "ann"), ("a,b+c", "a\\2cb\\2bc"), (" ü\0#", "\\20\\c3\\bc\\00\\23"), ("", "")]
)
def test_nothing_has_a_meaning(text: str, expected: str) -> None:
    assert escaped(text) == expected


@given(st.text(max_size=50).filter(lambda text: max(text, default="") < "\ud800" or min(text) > "\udfff"))
def test_what_is_put_in_comes_out(text: str) -> None:
    assert first_value(f"uid={escaped(text)},ou=people") == text


@pytest.mark.parametrize(
    ("dn", "expected"),
    [
        ("cn=staff,ou=groups,dc=example,dc=org", "staff"),
        ("CN=Domain Users,CN=Users", "Domain Users"),
        ("cn = staff , ou=groups", "staff"),
        ("2.5.4.3=a+uid=b,c=d", "a"),
        ("cn=a\\,b,ou=x", "a,b"),
        ("cn=a\\2cb\\c3\\bc", "a,bü"),
        ("cn=a\\ ,ou=x", "a "),
        ("cn=a\\  ,ou=x", "a "),
        ("cn=\\ ", " "),
        ("cn=a\\\\,ou=x", "a\\"),
        ("cn=a\\\\ ,ou=x", "a\\"),
        ("cn=a\\\\\\ ,ou=x", "a\\ "),
        ("cn=", ""),
        ("cn=#0403616263", ""),
        ("staff", ""),
        ("", ""),
    ],
)
def test_the_first_value(dn: str, expected: str) -> None:
    assert first_value(dn) == expected

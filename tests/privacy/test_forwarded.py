"""What is told of the client's address (RFC 7239)."""

from __future__ import annotations

import re

import pytest

from twistedproxy.http.message import NO_OPTIONS, FieldLine, Fields
from twistedproxy.privacy.forwarded import forwarded, forwarded_change, network_of, obfuscated, x_forwarded_for

CAME = [(b"X-Forwarded-For", b"10.0.0.1"), (b"X", b"y"), (b"forwarded", b"for=10.0.0.1"), (b"x-forwarded-for", b"")]


def changed(
    mode: str,
    form: str = "both",
    lines: list[FieldLine] = CAME,
    client: str = "192.0.2.9",
    options: frozenset[bytes] = NO_OPTIONS,
) -> dict[bytes, bytes | None]:
    changes: dict[bytes, bytes | None] = {}
    change = forwarded_change(mode, form)
    assert change is not None
    change(changes, Fields(lines), options, client)
    return changes


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.129", "192.0.2.0"),
        ("2001:db8:1:2::3", "2001:db8:1::"),
        ("::ffff:192.0.2.129", "192.0.2.0"),
        ("fe80::1%eth0", "fe80::"),
        ("127.0.0.1", "127.0.0.0"),
        ("", ""),
        ("nonsense", "nonsense"),
    ],
)
def test_network(address: str, network: str) -> None:
    assert network_of(address) == network


@pytest.mark.parametrize(
    ("address", "element", "in_the_other"),
    [
        ("192.0.2.9", b"for=192.0.2.9", b"192.0.2.9"),
        ("2001:db8::1", b'for="[2001:db8::1]"', b"2001:db8::1"),
        ("", b"for=unknown", b"unknown"),
    ],
)
def test_element(address: str, element: bytes, in_the_other: bytes) -> None:
    """RFC 7239 section 6: an IPv6 address stands in brackets, and so between quotation marks."""
    assert forwarded(address) == element
    assert x_forwarded_for(address) == in_the_other


def test_obfuscated_identifier() -> None:
    """RFC 7239 section 6.3: with an underscore before it, and new each time."""
    assert re.fullmatch(rb"for=_[0-9a-f]{16}", obfuscated())
    assert obfuscated() != obfuscated()


def test_on_appends() -> None:
    assert changed("on") == {b"x-forwarded-for": b"10.0.0.1, 192.0.2.9", b"forwarded": b"for=10.0.0.1, for=192.0.2.9"}
    assert changed("on", "x-forwarded-for") == {b"x-forwarded-for": b"10.0.0.1, 192.0.2.9"}
    assert changed("on", "forwarded", client="::1") == {b"forwarded": b'for=10.0.0.1, for="[::1]"'}
    assert changed("on", "both", []) == {b"x-forwarded-for": b"192.0.2.9", b"forwarded": b"for=192.0.2.9"}


def test_what_the_client_keeps_for_itself_is_not_appended_to() -> None:
    options = frozenset((b"x-forwarded-for",))
    assert changed("on", "x-forwarded-for", options=options) == {b"x-forwarded-for": b"192.0.2.9"}


def test_off_appends_that_there_is_somebody() -> None:
    changes = changed("off")
    assert changes[b"x-forwarded-for"] == b"10.0.0.1, unknown"
    assert re.fullmatch(rb"for=10\.0\.0\.1, for=_[0-9a-f]{16}", changes[b"forwarded"] or b"")


def test_truncate_puts_the_network_in_the_place_of_all() -> None:
    assert changed("truncate") == {b"x-forwarded-for": b"192.0.2.0", b"forwarded": b"for=192.0.2.0"}
    assert changed("truncate", "forwarded", client="2001:db8:1:2::3") == {
        b"x-forwarded-for": None,
        b"forwarded": b'for="[2001:db8:1::]"',
    }


def test_delete_takes_out_all() -> None:
    assert changed("delete") == {b"x-forwarded-for": None, b"forwarded": None}
    assert changed("delete", lines=[(b"X", b"y")]) == {}


def test_transparent_changes_nothing() -> None:
    assert forwarded_change("transparent", "both") is None

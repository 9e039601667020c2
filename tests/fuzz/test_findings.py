"""What is wrong on purpose in what reads directories, name servers, credentials and lists is found."""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random

import pytest
from twisted.names import dns

from tests.fuzz.engine import TARGETS, failure
from tests.fuzz.name_servers import reply
from tests.fuzz.test_engine import first_finding
from twistedproxy.access.blocklists import reading as list_reading
from twistedproxy.access.blocklists import rules
from twistedproxy.accounts.ldap import ber, connection, filters, messages, names
from twistedproxy.errors import CredentialsRefused, ProxyError
from twistedproxy.http import credentials as http_credentials
from twistedproxy.http import digest
from twistedproxy.routes import http_connect, socks5
from twistedproxy.upstream.dns import messages as dns_messages
from twistedproxy.upstream.dns import stream


def test_an_answer_to_another_question_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Careless(connection.LDAPConnection):
        """Takes whatever comes for the answer."""

        def _take(self, content: bytes) -> None:
            if self._waiting is not None:
                self._number = messages.parse_message(content)[0]
            super()._take(content)

    monkeypatch.setattr("tests.fuzz.directories.LDAPConnection", Careless)
    assert "AssertionError" in first_finding("ldap", 300).report


def test_a_length_that_is_read_wrongly_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    elements = ber.elements

    def wrongly(content: bytes) -> Iterator[tuple[int, bytes]]:
        return ((tag, one.rstrip(b"\xff")) for tag, one in elements(content))

    monkeypatch.setattr(ber, "elements", wrongly)
    assert b"\xff" in first_finding("ldap", 1000).data


def test_a_client_that_goes_on_without_tls_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    take = connection.LDAPConnection._take

    def take_and_forget(self: connection.LDAPConnection, content: bytes) -> None:
        self._buffer.clear()
        take(self, content)

    monkeypatch.setattr(connection.LDAPConnection, "_take", take_and_forget)
    assert first_finding("ldap", 300).data


def test_a_value_that_becomes_a_part_of_the_filter_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Pasting(filters.Filter):
        """Puts the values in before the filter is taken apart."""

        def encoded(self, values: filters.Values) -> bytes:
            text = self._text
            for place, value in values.items():
                text = text.replace(place, value.decode("latin-1"))
            return filters.Filter(text).encoded(values)

    monkeypatch.setattr("tests.fuzz.filters.Filter", Pasting)
    assert b"{" in first_finding("ldap-filters", 300).data


def test_a_character_that_is_not_escaped_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "_SAFE", names._SAFE | {ord("+")})
    assert first_finding("ldap-names", 300).data == b"+"


def test_a_space_too_many_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it once was."""
    monkeypatch.setattr(names, "_FIRST", re.compile(r"[A-Za-z0-9.-]+ *= *((?:[^\\,+;]|\\.)*)", re.DOTALL))
    assert b" " in first_finding("ldap-names", 300).data


def test_a_reply_with_another_id_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_reply(data: bytes, id: int, question: bytes) -> bool:
        return len(data) > 2 and dns_messages.is_reply(data, int.from_bytes(data[:2], "big"), question)

    monkeypatch.setattr("tests.fuzz.name_servers.is_reply", is_reply)
    assert "taken == _is_reply" in first_finding("dns-replies", 300).report


def test_records_of_other_names_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    follow = dns_messages._follow

    def follow_wrongly(message: dns.Message, code: int, name: str, type: int) -> dns_messages.Reply:
        for header in message.answers:
            if header.name.name == b"bank.example":
                header.name.name = name.encode("ascii")
        return follow(message, code, name, type)

    monkeypatch.setattr(dns_messages, "_follow", follow_wrongly)
    assert b"bank" in first_finding("dns-replies", 1000).data


def test_too_much_work_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_messages, "_MOST_READS", 1 << 30)
    random = Random(1)
    # To make such a finding small takes long.
    assert any("calls.count" in failure(TARGETS["dns-replies"], reply(random)) for _ in range(300))


def test_a_reply_to_somebody_else_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "is_reply", lambda data, id, question: len(data) > 12)
    assert "is_reply(one.data" in first_finding("dns-stream", 100).report


def test_an_error_that_tells_the_password_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    basic = http_credentials._basic

    def tell(token: bytes) -> None:
        raise CredentialsRefused(f"not {basic(token).password!r}")

    monkeypatch.setattr(http_credentials, "_basic", tell)
    assert "SECRET" in first_finding("credentials", 300).report


def test_a_quoted_string_that_is_read_wrongly_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "_QUOTED_PAIR", re.compile(rb"\\([^\\])"))
    assert b'"' in first_finding("credentials", 1000).data


def test_a_list_that_depends_on_its_pieces_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it once was."""
    monkeypatch.setattr(list_reading, "has_zone_line", lambda block: False)
    assert b"\n" in first_finding("blocklists", 300).data


def test_a_name_that_nobody_asks_for_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "listed_name", lambda text: text.removesuffix(b".") or None)
    assert first_finding("blocklists", 300).data


def test_a_tunnel_that_begins_too_late_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Greedy(http_connect.HTTPConnect):
        """Takes whatever came with the answer."""

        def take(self, data: bytes) -> tuple[int, bytes]:
            return len(data), super().take(data)[1]

    monkeypatch.setattr("tests.fuzz.parents.HTTPConnect", Greedy)
    assert b"\r\n\r\n" in first_finding("connect-answers", 300).data


def test_a_reply_that_is_measured_wrongly_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socks5, "_IPV6", 3)
    monkeypatch.setattr(socks5, "_NAME", 4)
    assert first_finding("socks", 1000).data


def test_a_password_in_the_text_of_an_error_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Telling(socks5.SOCKS5):
        """Says what it has said."""

        def take(self, data: bytes) -> tuple[int, bytes]:
            try:
                return super().take(data)
            except ProxyError as error:
                error.detail += self._password.decode()
                raise

    monkeypatch.setattr("tests.fuzz.parents.SOCKS5", Telling)
    assert "SECRET" in first_finding("socks", 300).report

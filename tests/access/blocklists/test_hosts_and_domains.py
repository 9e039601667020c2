"""Lines of plain domains, hosts files and dnsmasq's configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from twistedproxy.access.blocklists.hosts_and_domains import (
    dnsmasq_rules,
    domain_rules,
    hosts_rules,
    is_hosts_line,
)
from twistedproxy.access.blocklists.report import Bad, Skipped
from twistedproxy.access.blocklists.rules import ALL, NameRule
from twistedproxy.access.blocklists.table import PASS_BELOW, PASS_SELF, SELF


def domains(text: bytes) -> Iterator[NameRule]:
    return domain_rules(text, True)


def hosts(text: bytes) -> Iterator[NameRule]:
    return hosts_rules(text, False)


@pytest.mark.parametrize(
    ("read", "text", "rules"),
    [
        (domains, b"a.example # why", [(b"a.example", ALL)]),
        (hosts, b"0.0.0.0 A.example\tb.example # x", [(b"a.example", SELF), (b"b.example", SELF)]),
        (hosts, b"::1 localhost ip6-localhost a.example", [(b"a.example", SELF)]),
        (hosts, b"192.0.2.7 a.example", [(b"a.example", SELF)]),
        (dnsmasq_rules, b"address=/a.example/0.0.0.0", [(b"a.example", ALL)]),
        (dnsmasq_rules, b"address=/a.example/b.example/::", [(b"a.example", ALL), (b"b.example", ALL)]),
        (dnsmasq_rules, b"address=/.a.example/#", [(b"a.example", ALL)]),
        (dnsmasq_rules, b"server=/a.example/", [(b"a.example", ALL)]),
        (dnsmasq_rules, b"local=/a.example/ # x", [(b"a.example", ALL)]),
        (dnsmasq_rules, b"local=/zip/", [(b"zip", ALL)]),
        (dnsmasq_rules, b"server=/a.example/#", [(b"a.example", PASS_SELF | PASS_BELOW)]),
    ],
)
def test_lines(read: Callable[[bytes], Iterator[NameRule]], text: bytes, rules: list[tuple[bytes, int]]) -> None:
    assert list(read(text)) == rules


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (domains, b"a.example b.example"),
        (domains, b"<html>"),
        (hosts, b"a.example b.example"),
        (hosts, b"0.0.0.0"),
        (hosts, b"0.0.0.0 " + b"a.example " * 65),
        (hosts, b"0.0.0.0 single"),
        (dnsmasq_rules, b"address=/"),
        (dnsmasq_rules, b"address=//1.2.3.4"),
        (dnsmasq_rules, b"address=/a.example/nonsense"),
        (dnsmasq_rules, b"address=/1.2.3.4/0.0.0.0"),
        (dnsmasq_rules, b"address=" + b"/a.example" * 65 + b"/"),
    ],
)
def test_bad_lines(read: Callable[[bytes], Iterator[NameRule]], text: bytes) -> None:
    with pytest.raises(Bad):
        list(read(text))


def test_what_only_sends_questions_elsewhere_is_skipped() -> None:
    with pytest.raises(Skipped):
        list(dnsmasq_rules(b"server=/a.example/192.0.2.53#5353"))


def test_lines_of_hosts_files_are_recognised() -> None:
    assert [is_hosts_line(one) for one in (b"0.0.0.0 a.b", b"::1 a", b"1.2.3.4", b"1.2.3.4 # x", b"a b", b"a.b")] == [
        *(True, True, False, False, False, False)
    ]

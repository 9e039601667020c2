"""Which privacy is for which host."""

from __future__ import annotations

from twistedproxy.http.message import Fields, RequestHead
from twistedproxy.http.target import parse_target
from twistedproxy.privacy.by_host import PrivacyByHost
from twistedproxy.settings.privacy import PrivacySettings


def left(privacy: PrivacyByHost, host: str) -> set[bytes]:
    """The names of what is left of a request's fields."""
    url = b"http://" + host.encode() + b"/"
    lines = [
        (b"X-Real-IP", b"10.0.0.1"),
        (b"X-Forwarded-For", b"10.0.0.1"),
        (b"Cookie", b"a=b"),
        (b"Referer", b"http://other.example/x"),
        (b"Via", b"1.1 inside"),
    ]
    head = RequestHead(b"GET", url, 1, Fields(lines))
    towards = privacy.towards(host)
    if towards is not None:
        head = towards.request(head, parse_target(b"GET", url), "192.0.2.1").head
    return {name for name, value in head.fields.lines if not (name == b"Referer" and value == b"http://other.example/")}


def test_none_where_there_is_nothing_to_do() -> None:
    assert PrivacyByHost.of(PrivacySettings(except_hosts=("a.test",))) is None


def test_hosts() -> None:
    hosts = (".bank.test", "sso.test third_party_cookies,referer", "*.sso.test fields", "sso.test forwarded_for")
    privacy = PrivacyByHost.of(PrivacySettings(profile="standard", except_hosts=hosts))
    assert privacy is not None
    assert left(privacy, "a.test") == {b"Via"}
    everything = {b"X-Real-IP", b"X-Forwarded-For", b"Cookie", b"Referer", b"Via"}
    assert privacy.towards("bank.test") is None
    assert left(privacy, "www.bank.test") == everything
    assert left(privacy, "sso.test") == {b"Cookie", b"Referer", b"X-Forwarded-For", b"Via"}
    assert left(privacy, "x.sso.test") == {b"X-Real-IP", b"Via"}


def test_via_knows_no_exception() -> None:
    privacy = PrivacyByHost.of(PrivacySettings(profile="strict", except_hosts=("bank.test",)))
    assert privacy is not None
    assert left(privacy, "bank.test") == {b"X-Real-IP", b"X-Forwarded-For", b"Cookie", b"Referer"}


def test_own_lists_are_fields_too() -> None:
    settings = PrivacySettings(remove_request_fields=("X-Real-IP",), except_hosts=("a.test fields",))
    privacy = PrivacyByHost.of(settings)
    assert privacy is not None
    assert b"X-Real-IP" in left(privacy, "a.test")
    assert b"X-Real-IP" not in left(privacy, "b.test")


def test_what_is_remembered_is_bounded() -> None:
    privacy = PrivacyByHost(PrivacySettings(profile="standard", except_hosts=("a.test",)))
    for number in range(5000):
        privacy.towards(f"{number}.test")
    assert len(privacy._memo) <= 2048
    assert privacy.towards("1.test") is privacy.towards("2.test")

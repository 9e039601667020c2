"""Name servers and their domains: what may stand there, what it means, and where a mistake is said to be."""

from __future__ import annotations

from typing import Any

import pytest

from twistedproxy.settings.load import SettingsError, load
from twistedproxy.settings.name_servers import NameServerAddress, check_resolver_domain, read_name_server
from twistedproxy.settings.problems import Unfit


@pytest.mark.parametrize(
    ("text", "server", "spelled"),
    [
        ("192.0.2.53", NameServerAddress("192.0.2.53", 53), "192.0.2.53"),
        ("192.0.2.54:5353", NameServerAddress("192.0.2.54", 5353), "192.0.2.54:5353"),
        ("2001:DB8::53", NameServerAddress("2001:db8::53", 53), "2001:db8::53"),
        ("[2001:db8:0::53]:53", NameServerAddress("2001:db8::53", 53), "2001:db8::53"),
        ("[2001:db8::53]", NameServerAddress("2001:db8::53", 53), "2001:db8::53"),
        ("[::1]:65535", NameServerAddress("::1", 65535), "[::1]:65535"),
        (
            "tls://192.0.2.9#DNS.example",
            NameServerAddress("192.0.2.9", 853, "dns.example"),
            "tls://192.0.2.9#dns.example",
        ),
        (
            "tls://[2001:db8::9]:8853#dns.example",
            NameServerAddress("2001:db8::9", 8853, "dns.example"),
            "tls://[2001:db8::9]:8853#dns.example",
        ),
        ("tls://2001:db8::9#d", NameServerAddress("2001:db8::9", 853, "d"), "tls://[2001:db8::9]#d"),
    ],
)
def test_servers(text: str, server: NameServerAddress, spelled: str) -> None:
    assert read_name_server(text) == server
    assert str(server) == spelled
    assert read_name_server(spelled) == server


@pytest.mark.parametrize(
    "wrong",
    [
        53,
        "",
        "dns.example",
        "192.0.2.53:",
        "192.0.2.53:0",
        "192.0.2.53:65536",
        "192.0.2.256",
        "192.0.2.53/32",
        "[192.0.2.53]:53",
        "2001:db8::53:5353x",
        "[2001:db8::53]x",
        "fe80::1%eth0",
        "0.0.0.0",
        "::",
        "224.0.0.251",
        "ff02::fb",
        "::ffff:192.0.2.53",
        "udp://192.0.2.53",
        "tls://192.0.2.53",
        "tls://192.0.2.53#",
        "tls://192.0.2.53#192.0.2.53",
        "tls://192.0.2.53#a b",
        "tls://dns.example#dns.example",
        "192.0.2.53#dns.example",
    ],
)
def test_what_is_no_server(wrong: object) -> None:
    with pytest.raises(Unfit):
        read_name_server(wrong)


@pytest.mark.parametrize(
    "entry",
    [
        {"names": ["corp.example", "local"], "servers": ["10.0.0.53"]},
        {"names": ["_x.a-b.example"], "servers": ["10.0.0.53", "tls://[::1]:1#a"]},
    ],
)
def test_domains(entry: dict[str, Any]) -> None:
    check_resolver_domain(entry)


@pytest.mark.parametrize(
    ("entry", "within"),
    [
        ([], ""),
        ({}, ""),
        ({"names": ["a.example"]}, ""),
        ({"servers": ["10.0.0.53"]}, ""),
        ({"names": [], "servers": ["10.0.0.53"]}, "names"),
        ({"names": "a.example", "servers": ["10.0.0.53"]}, "names"),
        ({"names": ["a.example", ".b.example"], "servers": ["10.0.0.53"]}, "names[1]"),
        ({"names": ["10.0.0.1"], "servers": ["10.0.0.53"]}, "names[0]"),
        ({"names": ["bücher.example"], "servers": ["10.0.0.53"]}, "names[0]"),
        ({"names": [3], "servers": ["10.0.0.53"]}, "names[0]"),
        ({"names": ["-a.example"], "servers": ["10.0.0.53"]}, "names[0]"),
        ({"names": ["a.example"], "servers": []}, "servers"),
        ({"names": ["a.example"], "servers": ["10.0.0.53", "dns"]}, "servers[1]"),
        ({"names": ["a.example"], "servers": ["10.0.0.53"], "server": "x"}, "server"),
    ],
)
def test_mistakes_in_domains(entry: Any, within: str) -> None:
    with pytest.raises(Unfit) as unfit:
        check_resolver_domain(entry)
    assert unfit.value.within == within


def test_places() -> None:
    text = """\
[resolver]
servers = [
  "192.0.2.53",
  "dns.example",
]

[[resolver.domains]]
names = ["*.corp.example"]
servers = ["10.0.0.53"]
"""
    with pytest.raises(SettingsError) as error:
        load(text, "a.toml")
    assert str(error.value).splitlines() == [
        (
            'a.toml:4: resolver.servers[1]: expected an address of a name server such as "192.0.2.53", '
            '"192.0.2.53:5353" or "[2001:db8::53]:53", got "dns.example"'
        ),
        (
            'a.toml:8: resolver.domains[0].names[0]: expected a domain such as "corp.example", which stands for all '
            'below it too, got "*.corp.example" (did you mean "corp.example"?)'
        ),
    ]

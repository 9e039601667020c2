"""The tables of servers that are treated in their own way: what may stand there, and where a mistake is said to be."""

from __future__ import annotations

from typing import Any

import pytest

from twistedproxy.settings.load import SettingsError, load
from twistedproxy.settings.problems import Unfit
from twistedproxy.settings.upstream_hosts import check_upstream_host, pin_bytes

PIN = "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


@pytest.mark.parametrize(
    "entry",
    [
        {"names": ["a.example"], "verify": False},
        {"names": ["192.0.2.1", "::1", "*.a.example"], "verify": True},
        {"names": ["::1"], "verify": False, "pins": [PIN]},
        {"names": [".a.example", "*.b.example"], "pins": [PIN], "anchors": ["/etc/a.pem"]},
        {"names": ["a.example"], "certificate": "/a", "key": "$CREDENTIALS_DIRECTORY/key.pem"},
    ],
)
def test_entries(entry: dict[str, Any]) -> None:
    check_upstream_host(entry)


@pytest.mark.parametrize(
    ("entry", "within"),
    [
        ([], ""),
        ({}, ""),
        ({"verify": False}, ""),
        ({"names": []}, "names"),
        ({"names": "a.example"}, "names"),
        ({"names": ["a.example", "b c"]}, "names[1]"),
        ({"names": ["defaults"]}, "names[0]"),
        ({"names": ["a.example"], "verify": "no"}, "verify"),
        ({"names": ["a.example"], "verify": 0}, "verify"),
        ({"names": ["a.example"], "pins": ["sha256/abc"]}, "pins[0]"),
        ({"names": ["a.example"], "pins": [3]}, "pins[0]"),
        ({"names": ["a.example"], "anchors": ["a.pem"]}, "anchors[0]"),
        ({"names": ["a.example"], "certificate": ""}, "certificate"),
        ({"names": ["a.example"], "key": "/a"}, ""),
        ({"names": ["a.example"], "verify": False, "anchors": ["/a"]}, "anchors"),
        ({"names": ["a.example"], "insecure": True}, "insecure"),
    ],
)
def test_mistakes(entry: Any, within: str) -> None:
    with pytest.raises(Unfit) as unfit:
        check_upstream_host(entry)
    assert unfit.value.within == within


@pytest.mark.parametrize("host", ["*", "**", "?*", "*.*", ".", ".example", "*.example", "a?.example"])
def test_nobody_unnamed_goes_unverified(host: str) -> None:
    with pytest.raises(Unfit):
        check_upstream_host({"names": ["a.example", host], "verify": False})


def test_pins() -> None:
    assert pin_bytes(PIN).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    for wrong in (PIN.removeprefix("sha256/"), PIN[:-1], PIN + "=", "sha256/" + "A" * 44):
        with pytest.raises(Unfit):
            pin_bytes(wrong)


def test_places() -> None:
    """Each in its file and line, also within a table; and where the tables are written in one line."""
    text = """\
[[upstream_tls.hosts]]
names = ["a.example"]
verify = false

[[upstream_tls.hosts]]
names = [
  "b.example",
  "*",
]
verify = false
pins = ["x"]
[[upstream_tls.hosts]]
names = ["c.example"]
verfy = false
[[upstream_tls.hosts]]
verify = true
"""
    with pytest.raises(SettingsError) as error:
        load(text, "a.toml")
    assert str(error.value).splitlines() == [
        (
            'a.toml:11: upstream_tls.hosts[1].pins[0]: expected "sha256/" and the SHA-256 of a public key '
            '(SubjectPublicKeyInfo) in base64, 44 characters, got "x"'
        ),
        'a.toml:14: upstream_tls.hosts[2].verfy: unknown key (did you mean "verify"?)',
        "a.toml:15: upstream_tls.hosts[3]: expected the key names, with the hosts that this is for, got a table",
    ]
    inline = 'upstream_tls.hosts = [\n{ names = ["a"] },\n{ names = ["*"], verify = false },\n]'
    with pytest.raises(SettingsError) as error:
        load(inline, "a.toml")
    assert str(error.value).startswith("a.toml:3: upstream_tls.hosts[1].names[0]: expected a single host, ")


def test_environment_and_command_line() -> None:
    loaded = load("", "a.toml", [("upstream_tls.hosts", '{ names = ["a.example"], verify = false }')])
    (host,) = loaded.settings.upstream_tls.hosts
    assert (host.names, host.verify) == (("a.example",), False)
    with pytest.raises(SettingsError, match=r"^--set: upstream_tls\.hosts\[0\]: expected a table such as"):
        load("", "a.toml", [("upstream_tls.hosts", "a.example")])

"""``pyproxyctl ca``."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.cli.api import API, answer, problem
from tests.cli.samples import AUTHORITY
from twistedproxy.cli import ca
from twistedproxy.cli.ca import FORMATS
from twistedproxy.portal.trust import SYSTEMS

PLAIN = """\
authority   CN=twistedproxy CA 12ab34cd
origin      made by the proxy
SHA-256     AB:CD:EF
valid from  2026-11-23 08:12:03 UTC
until       2036-11-22 08:12:03 UTC, in 3652 days
files       /var/lib/twistedproxy/ca/twistedproxy-ca.pem
            /var/lib/twistedproxy/ca/twistedproxy-ca-cert.pem
"""


@pytest.fixture
def kept(api: API) -> API:
    """A daemon with an authority, whose certificate is its format."""
    api.answers["GET", "/api/v1/ca"] = answer(AUTHORITY)
    api.answers["POST", "/api/v1/ca/renew"] = answer(AUTHORITY)
    for format in ("pem", "der", "p12"):
        api.answers["GET", f"/api/v1/ca/certificate?format={format}"] = answer(f"{format}\n", kind="application/any")
    return api


@pytest.mark.parametrize("arguments", [("ca",), ("ca", "show")])
def test_show(arguments: tuple[str, ...], kept: API, run: Callable[..., Any]) -> None:
    ended = run(*arguments)
    assert (ended.code, ended.out, ended.err) == (0, PLAIN, "")
    assert json.loads(run(*arguments, "--json").out) == msgspec.to_builtins(AUTHORITY)


def test_one_that_has_ended(api: API, run: Callable[..., Any]) -> None:
    ended = msgspec.structs.replace(AUTHORITY, days_left=-3, origin="operator", files=[])
    api.answers["GET", "/api/v1/ca"] = answer(ended)
    shown = run("ca").out
    assert ", 3 days ago\n" in shown
    assert "origin      given by tls.authority\n" in shown
    assert "files       none\n" in shown


def test_refused(api: API, run: Callable[..., Any]) -> None:
    for command in (("ca",), ("ca", "export"), ("ca", "trust")):
        for path in ("/api/v1/ca", "/api/v1/ca/certificate?format=pem"):
            api.answers["GET", path] = problem("Conflict", 409, "the key can be read by others")
        ended = run(*command)
        assert (ended.code, ended.out) == (1, "")
        assert ended.err == "pyproxyctl: Conflict: the key can be read by others\n"


@pytest.mark.parametrize("format", FORMATS)
def test_export(format: str, kept: API, run: Callable[..., Any], tmp_path: Path) -> None:
    content = {"pem": "pem\n", "cer": "der\n", "p12": "p12\n"}[format]
    assert run("ca", "export", "--format", format).out == content
    assert run("ca", "export", "--format", format, "-").out == content
    assert run("ca", "export", "--format", format, str(tmp_path / "file")).out == ""
    assert (tmp_path / "file").read_text() == content
    printed = json.loads(run("ca", "export", "--format", format, "--json").out)
    assert printed == {"format": format, "content": base64.b64encode(content.encode()).decode()}


def test_export_to_where_nothing_can_be(kept: API, run: Callable[..., Any], tmp_path: Path) -> None:
    ended = run("ca", "export", str(tmp_path / "none" / "file"))
    assert ended.code == 2
    assert f"{tmp_path}/none/file cannot be written: No such file or directory" in ended.err


def test_bytes_are_nothing_for_a_terminal(kept: API, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ca, "on_terminal", lambda: True)
    ended = run("ca", "export", "--format", "p12")
    assert (ended.code, ended.out) == (2, "")
    assert "p12 is nothing for a terminal: name a FILE" in ended.err
    assert run("ca", "export").out == "pem\n"


def test_renew(kept: API, run: Callable[..., Any]) -> None:
    ended = run("ca", "renew")
    assert ended.out.startswith("there is a new authority, which clients do not trust yet\n")
    assert PLAIN in ended.out
    assert kept.requests == [("POST", "/api/v1/ca/renew", b"")]


def test_trust(kept: API, run: Callable[..., Any]) -> None:
    told = run("ca", "trust").out
    assert told.startswith("The authority is CN=twistedproxy CA 12ab34cd. Compare its SHA-256 fingerprint")
    assert "\nAB:CD:EF\n" in told
    for system in SYSTEMS.values():
        assert f"\n{system.title}:\n" in told
    one = run("ca", "trust", "debian").out
    assert "  sudo update-ca-certificates\n" in one
    assert "Windows" not in one
    assert run("ca", "trust", "amiga").code == 2


def test_trust_as_json(kept: API, run: Callable[..., Any]) -> None:
    told = json.loads(run("ca", "trust", "java", "--json").out)
    assert (told["subject"], told["fingerprint"]) == (AUTHORITY.subject, AUTHORITY.fingerprint)
    assert list(told["instructions"]) == ["java"]

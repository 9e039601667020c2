"""The variables, and the lines of shell that make what they name."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path, PurePosixPath

import pytest

from twistedproxy.portal import variables
from twistedproxy.portal.variables import ADDING, BUNDLE, CERTIFICATE, REPLACING, leading, script, trusting

PROXY = "http://192.0.2.7:8080"
PLACE = PurePosixPath("/there")


def test_what_leads_to_the_proxy() -> None:
    found = dict(leading(PROXY))
    assert {name for name, value in found.items() if value == PROXY} == {
        *("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
    }
    assert found["no_proxy"] == found["NO_PROXY"] == "localhost,127.0.0.1,::1"


@pytest.mark.parametrize("with_bundle", [True, False])
def test_what_lets_them_trust_it(with_bundle: bool) -> None:
    """Those that replace what is trusted get the bundle, or nothing."""
    expected = dict.fromkeys(ADDING, f"/there/{CERTIFICATE}")
    if with_bundle:
        expected |= dict.fromkeys(REPLACING, f"/there/{BUNDLE}")
    assert dict(trusting(PLACE, with_bundle=with_bundle)) == expected


def test_script_without_a_certificate() -> None:
    lines = script(PROXY, "")
    assert lines[0] == f'export http_proxy="{PROXY}"'
    assert [line for line in lines if "CERT" in line or "curl" in line] == []


@pytest.mark.parametrize("has_system", [True, False])
def test_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_system: bool) -> None:
    """A shell runs it; what it fetches is a file here."""
    (tmp_path / "system.pem").write_text("system\n")
    (tmp_path / "ours.pem").write_text("ours\n")
    places = ("/nowhere", str(tmp_path / "system.pem")) if has_system else ("/nowhere",)
    monkeypatch.setattr(variables, "SYSTEM_BUNDLES", places)
    lines = script(PROXY, f"file://{tmp_path}/ours.pem")
    done = subprocess.run(
        ["sh", "-eu", "-c", "\n".join([*lines, 'printf "%s" "$https_proxy $DENO_CERT $SSL_CERT_FILE"'])],
        capture_output=True,
        text=True,
        timeout=50,
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
    )
    place = tmp_path / ".local/share/twistedproxy"
    assert done.stdout == f"{PROXY} {place / CERTIFICATE} {place / BUNDLE}"
    assert (place / CERTIFICATE).read_text() == "ours\n"
    if has_system:
        assert (place / BUNDLE).read_text() == "system\nours\n"
    else:
        # One of ours alone would leave programs without trust in any other server.
        assert not (place / BUNDLE).exists()

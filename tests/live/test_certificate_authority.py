"""The certificate authority of a real daemon, from the command line."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.command import run
from tests.live.daemon import Daemon

PYPROXYCTL = Path(sys.executable).with_name("pyproxyctl")


def steer(proxy: Daemon, *arguments: str) -> bytes:
    """What pyproxyctl prints for the daemon."""
    return run(proxy.directory, PYPROXYCTL, *arguments).stdout


@pytest.mark.parametrize("workers", ["1", "2"])
def test_made_shown_exported_and_renewed(make_daemon: Callable[..., Daemon], tmp_path: Path, workers: str) -> None:
    proxy = make_daemon(settings={"service.workers": workers}).start()
    directory = proxy.directory / "ca"
    assert not directory.exists()
    shown = json.loads(steer(proxy, "ca", "--json"))
    assert shown["origin"] == "own"
    assert stat.S_IMODE(os.stat(directory / "twistedproxy-ca.pem").st_mode) == 0o600
    for kind, form in (("pem", "PEM"), ("cer", "DER")):
        file = tmp_path / f"certificate.{kind}"
        steer(proxy, "ca", "export", "--format", kind, str(file))
        options = ("-noout", "-fingerprint", "-sha256", "-inform", form, "-in", file)
        said = run(tmp_path, "openssl", "x509", *options).stdout.decode()
        assert said.partition("=")[2].strip() == shown["fingerprint"]
    renewed = json.loads(steer(proxy, "ca", "renew", "--json"))
    assert renewed["fingerprint"] != shown["fingerprint"]
    assert len(list(directory.glob("twistedproxy-ca.pem.*Z"))) == 1


def test_variables_lead_a_client_through_the_proxy(make_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    proxy = make_daemon().start()
    environment = f'eval "$({PYPROXYCTL} env --directory {tmp_path})"'
    script = f'{environment} && printf %s "$https_proxy" && cat "$NODE_EXTRA_CA_CERTS"'
    said = run(proxy.directory, "sh", "-c", script).stdout
    assert said == f"http://127.0.0.1:{proxy.port}".encode() + steer(proxy, "ca", "export")

"""The proxies that look into tunnels, with the duties of all the others, and each with its own authority.

All verify the origin's certificate, and trust the authority of the origin. Ours and Squid's leaves have keys on P-256:
Squid's have that of the authority that it is given, and ours could have no other. mitmproxy makes its own, of RSA.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from benchmark.origins import Origins, TLSOrigin
from benchmark.processes import DidNotStart, free_ports
from benchmark.proxies import (
    ENVIRONMENTS,
    OURS,
    ROOT,
    SQUID,
    Launch,
    Proxy,
    forwarding,
    our_version,
    printed_version,
    squid_user,
)
from benchmark.tls_origin import Authority

HTTP1 = frozenset({"tls-get-100", "tls-get-10k", "tls-get-h2", "tls-known", "tls-new", "tls-download"})
HTTP2 = frozenset({"h2-get-100", "h2-get-10k"})

INTERCEPT = """
[intercept]
mode = "all-but"
ports = ["all"]

[tls]
authority = "%(directory)s/authority.pem"
"""


def _tls(origins: Origins) -> TLSOrigin:
    assert origins.tls is not None
    return origins.tls


def _make_authority(directory: Path, mode: int) -> Path:
    """Write an authority with its key; returns the file with the certificate alone."""
    authority = Authority.make("Authority of a proxy")
    both = directory / "authority.pem"
    both.touch(mode)
    both.chmod(mode)
    both.write_bytes(authority.key_pem() + authority.certificate_pem())
    certificate = directory / "authority-certificate.pem"
    certificate.write_bytes(authority.certificate_pem())
    return certificate


def _launch_ours(directory: Path, origins: Origins) -> Launch:
    (port,) = free_ports(1)
    trusted = _make_authority(directory, 0o600)
    settings = directory / "pyproxy.toml"
    settings.write_text((OURS + INTERCEPT) % {"port": port, "directory": directory})
    environment = ["env", f"SSL_CERT_FILE={_tls(origins).authority}", f"STATE_DIRECTORY={directory}"]
    twistd = str(ROOT / ".venv" / "bin" / "twistd")
    argv = [*environment, twistd, "-n", "--pidfile=", "pyproxy", "--config", str(settings)]
    return forwarding(argv, port, trusted)


# ---------------------------------------------------------------- Squid

SQUID_BUMP = """
http_port 127.0.0.1:%(port)d ssl-bump tls-cert=%(directory)s/authority.pem
sslcrtd_program %(certgen)s -s %(directory)s/leaves -M 4MB
tls_outgoing_options cafile=%(trusted)s
acl step1 at_step SslBump1
ssl_bump peek step1
ssl_bump bump all
"""
_SQUID = ENVIRONMENTS / "squid-openssl" / "usr"


def squid_bump(settings: str) -> str:
    """Squid's configuration: that for forwarding, but with another port."""
    return SQUID_BUMP + settings.replace("http_port 127.0.0.1:%(port)d\n", "").lstrip()


def _launch_squid(directory: Path, origins: Origins) -> Launch:
    (port,) = free_ports(1)
    trusted = _make_authority(directory, 0o644)
    certgen = _SQUID / "lib" / "squid" / "security_file_certgen"
    made = subprocess.run(
        [*squid_user(), str(certgen), "-c", "-s", f"{directory}/leaves", "-M", "4MB"],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        raise DidNotStart(f"Squid's directory of leaves: {made.stdout}{made.stderr}")
    settings = directory / "squid.conf"
    values = {"port": port, "directory": directory, "certgen": certgen, "trusted": _tls(origins).authority}
    settings.write_text(squid_bump(SQUID) % values)
    argv = [*squid_user(), str(_SQUID / "sbin" / "squid"), "-N", "-f", str(settings)]
    return forwarding(argv, port, trusted)


# ---------------------------------------------------------------- mitmproxy

MITMDUMP_OPEN = """
--listen-host 127.0.0.1 --listen-port %(port)d
--set confdir=%(directory)s --set block_global=true --set block_private=false
--set termlog_verbosity=warn --set flow_detail=1
--set ssl_verify_upstream_trusted_ca=%(trusted)s
"""


def _launch_mitmproxy(directory: Path, origins: Origins) -> Launch:
    (port,) = free_ports(1)
    command = str(ENVIRONMENTS / "mitmproxy" / "bin" / "mitmdump")
    values = {"port": port, "directory": directory, "trusted": _tls(origins).authority}
    return forwarding([command, *(MITMDUMP_OPEN % values).split()], port, directory / "mitmproxy-ca-cert.pem")


INTERCEPTORS: tuple[Proxy, ...] = (
    Proxy("ours", "twistedproxy", our_version, _launch_ours, bulk_mib=1024, tunnels=400, measures=HTTP1 | HTTP2),
    Proxy(
        "squid",
        "Squid, ssl-bump",
        lambda: printed_version(str(_SQUID / "sbin" / "squid"), "-v"),
        _launch_squid,
        debian="squid",
        unpacked="squid-openssl",
        bulk_mib=1024,
        tunnels=400,
        measures=HTTP1,
    ),
    Proxy(
        "mitmproxy",
        "mitmproxy",
        lambda: printed_version(str(ENVIRONMENTS / "mitmproxy" / "bin" / "mitmdump"), "--version"),
        _launch_mitmproxy,
        pypi="mitmproxy",
        bulk_mib=256,
        tunnels=100,
        requests_share=0.2,
        measures=HTTP1 | HTTP2,
    ),
)

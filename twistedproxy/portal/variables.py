"""The variables that lead programs to the proxy and let them trust its authority.

Theory of operation. Some variables add a certificate to those that a program trusts. Most replace them all, and a
program that was pointed to the authority alone would trust no server that it reaches without the proxy. So these get a
bundle: the system's certificates and the authority, in one file of the user's own. Where the system's cannot be found,
those variables are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath, PurePosixPath
from typing import Final

CERTIFICATE: Final = "twistedproxy-ca-cert.pem"
BUNDLE: Final = "twistedproxy-ca-bundle.pem"

ADDING: Final = ("NODE_EXTRA_CA_CERTS", "DENO_CERT")
"""Variables that add a certificate."""

REPLACING: Final = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
    "CARGO_HTTP_CAINFO",
    "AWS_CA_BUNDLE",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "HTTPLIB2_CA_CERTS",
)
"""Variables that name all that is trusted."""

DIRECT: Final = "localhost,127.0.0.1,::1"
"""What is reached without the proxy."""

SYSTEM_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/opt/homebrew/etc/ca-certificates/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
)
"""Where systems keep the certificates that they trust."""

_PLACE: Final = PurePosixPath("$place")


def leading(url: str) -> Iterator[tuple[str, str]]:
    """What leads programs to the proxy at ``url``, each variable and its value."""
    for name, value in (("http_proxy", url), ("https_proxy", url), ("no_proxy", DIRECT)):
        yield name, value
        yield name.upper(), value
    # Node.js goes by the others only when it is told to.
    yield "NODE_USE_ENV_PROXY", "1"


def trusting(place: PurePath, *, with_bundle: bool) -> Iterator[tuple[str, str]]:
    """What lets them trust the certificate in the directory ``place``, and the bundle there."""
    for name in ADDING:
        yield name, str(place / CERTIFICATE)
    if with_bundle:
        for name in REPLACING:
            yield name, str(place / BUNDLE)


def script(proxy: str, certificate: str) -> list[str]:
    """Lines of POSIX shell for a client elsewhere, which makes the files itself.

    ``proxy`` and ``certificate`` are URLs of nothing but unreserved and reserved characters (RFC 3986 section 2); the
    second leads to the certificate, or is empty for none.
    """
    lines: list[str] = []
    found = dict(leading(proxy))
    if certificate:
        file, bundle = f'"{_PLACE / CERTIFICATE}"', f'"{_PLACE / BUNDLE}"'
        lines += [
            'place="$HOME/.local/share/twistedproxy"',
            f'mkdir -p "{_PLACE}"',
            f"curl --proxy {proxy} --output {file} {certificate}",
            "for system in \\",
            *(f"  {one} \\" for one in SYSTEM_BUNDLES),
            f'; do [ -r "$system" ] && cat "$system" {file} > {bundle} && break; done',
        ]
        found |= trusting(_PLACE, with_bundle=True)
    return [*lines, *(f'export {name}="{value}"' for name, value in found.items())]

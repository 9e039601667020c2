"""``pyproxyctl env``: the variables that lead programs to the proxy and let them trust its authority.

Which variables those are, and what they want, is in `twistedproxy.portal.variables`. The files that they name are
written anew each time.
"""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from twistedproxy.cli.invocation import Invocation, asks_the_daemon, pass_invocation
from twistedproxy.cli.output import on_terminal, show_error, show_json
from twistedproxy.portal.variables import BUNDLE, CERTIFICATE, SYSTEM_BUNDLES, leading, trusting

if TYPE_CHECKING:
    from twistedproxy.cli.client import Client

_ADDRESS: Final = re.compile(r"(?P<host>\[[0-9a-f:.]+\]|[0-9.]+):(?P<port>[0-9]+)")
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}
_TLS: Final = ("ssl:", "tls:")


def _posix(name: str, value: str) -> str:
    return f"export {name}={shlex.quote(value)}"


def _fish(name: str, value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"set -gx {name} '{escaped}'"


def _powershell(name: str, value: str) -> str:
    doubled = value.replace("'", "''")
    return f"$env:{name} = '{doubled}'"


SHELLS: Final[Mapping[str, Callable[[str, str], str]]] = {"sh": _posix, "fish": _fish, "powershell": _powershell}


@click.command("env")
@click.option("--shell", type=click.Choice(tuple(SHELLS)), default="sh", help="Whose language to print; sh by default.")
@click.option("--proxy", metavar="URL", help="Where programs find the proxy; else the first of its TCP listeners.")
@click.option(
    "--directory",
    metavar="PATH",
    type=click.Path(file_okay=False),
    help="Where the certificate and the bundle are written; else the user's data directory.",
)
@asks_the_daemon
@pass_invocation
def env(invocation: Invocation, shell: str, proxy: str | None, directory: str | None) -> None:
    """Print variables that lead programs to the proxy.

    \b
    sh, bash, zsh:  eval "$(pyproxyctl env)"
    fish:           pyproxyctl env --shell fish | source
    PowerShell:     pyproxyctl env --shell powershell | Out-String | Invoke-Expression

    It also writes two files: the certificate of the authority, and a bundle of the system's certificates and that one,
    for programs that would trust nothing else.
    """
    from twistedproxy.places import data_directory

    client = invocation.client()
    url = proxy or proxy_url(client)
    place = Path(os.path.abspath(directory)) if directory else data_directory(os.environ)
    certificate = client.authority_certificate("pem")
    system = system_bundle(SYSTEM_BUNDLES)
    try:
        write(place / CERTIFICATE, certificate)
        if system is not None:
            write(place / BUNDLE, bundle(system.read_bytes(), certificate))
    except OSError as error:
        raise click.UsageError(f"{error.filename or place} cannot be written: {error.strerror or error}") from None
    found = dict(leading(url)) | dict(trusting(place, with_bundle=system is not None))
    if system is None:
        show_error(["the system's certificates were not found: the variables that replace them are left out"])
    if invocation.json:
        show_json(found)
        return
    if system is not None and on_terminal():
        # Not among the variables: an interactive zsh knows no comments.
        click.echo(f"{place / BUNDLE} is {system} and the authority, as they are now", err=True)
    for name, value in found.items():
        click.echo(SHELLS[shell](name, value))


def proxy_url(client: Client) -> str:
    """Where programs on this machine reach the proxy; wrong usage when it has no TCP listener."""
    listeners = client.status().listeners
    described = next((one.value for one in client.settings().settings if one.key == "downstream.listen"), [])
    named = described if isinstance(described, list) and len(described) == len(listeners) else [""] * len(listeners)
    for address, description in zip(listeners, named, strict=True):
        if match := _ADDRESS.fullmatch(address):
            scheme = "https" if str(description).startswith(_TLS) else "http"
            return f"{scheme}://{_EVERYWHERE.get(match['host'], match['host'])}:{match['port']}"
    raise click.UsageError("the proxy has no listener with an address and a port: name it with --proxy URL")


def system_bundle(places: Sequence[str]) -> Path | None:
    """The file of the certificates that the system trusts; None where it is not found."""
    return next((Path(place) for place in places if os.path.isfile(place) and os.access(place, os.R_OK)), None)


def bundle(system: bytes, certificate: bytes) -> bytes:
    """The system's certificates and one more."""
    return system.rstrip(b"\n") + b"\n" + certificate


def write(path: Path, content: bytes) -> None:
    """Let ``path`` have this content in one step, for everybody to read. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=".new-", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(descriptor, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise

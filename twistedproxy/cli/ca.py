"""``pyproxyctl ca``: the certificate authority of the proxy, its certificate, and how clients come to trust it."""

from __future__ import annotations

import sys
from time import gmtime, strftime
from typing import TYPE_CHECKING, Final, cast

import click

from twistedproxy.cli.invocation import GroupWithDefault, Invocation, asks_the_daemon, pass_invocation
from twistedproxy.cli.output import Facts, Part, on_terminal, show_json
from twistedproxy.portal.trust import SYSTEMS, instructions

if TYPE_CHECKING:
    from twistedproxy.control.types import CertificateAuthority, CertificateFormat

FORMATS: Final = ("pem", "cer", "p12")
"""What the certificate can be exported as; `cer` is DER, by the name that its files have."""

_ORIGINS: Final = {"own": "made by the proxy", "operator": "given by tls.authority"}


@click.group(cls=GroupWithDefault, default="show")
@asks_the_daemon
def ca() -> None:
    """Show, export or renew the certificate authority of the proxy.

    Without a command it is shown. It is made when it is first asked for.
    """


@ca.command("show")
@asks_the_daemon
@pass_invocation
def show_authority(invocation: Invocation) -> None:
    """Show the authority: its name, its fingerprint, and when it ends."""
    answer = invocation.client().certificate_authority()
    invocation.show(answer, lambda: authority_parts(answer))


@ca.command("export")
@click.option(
    "--format", "kind", type=click.Choice(FORMATS), default="pem", help="pem by default; p12 has no password."
)
@click.argument("file", required=False, type=click.Path(dir_okay=False))
@asks_the_daemon
@pass_invocation
def export_certificate(invocation: Invocation, kind: str, file: str | None) -> None:
    """Write the certificate, never the key, to FILE.

    Without FILE, or with `-`, it goes to the standard output. With --json it is printed in base64.
    """
    content = invocation.client().authority_certificate(cast("CertificateFormat", "der" if kind == "cer" else kind))
    if invocation.json:
        show_json({"format": kind, "content": content})
    elif file not in (None, "-"):
        try:
            with open(str(file), "wb") as opened:
                opened.write(content)
        except OSError as error:
            raise click.UsageError(f"{file} cannot be written: {error.strerror or error}") from None
    elif kind != "pem" and on_terminal():
        raise click.UsageError(f"{kind} is nothing for a terminal: name a FILE")
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()


@ca.command("renew")
@asks_the_daemon
@pass_invocation
def renew_authority(invocation: Invocation) -> None:
    """Make a new authority, with a new key.

    The files of the old one stay beside the new ones, with the time in their names. Clients have to be given the new
    certificate.
    """
    answer = invocation.client().renew_authority()
    invocation.show(
        answer, lambda: ["there is a new authority, which clients do not trust yet", authority_parts(answer)[0]]
    )


@ca.command("trust")
@click.argument("system", required=False, type=click.Choice(tuple(SYSTEMS)))
@asks_the_daemon
@pass_invocation
def trust(invocation: Invocation, system: str | None) -> None:
    """Say how clients come to trust the authority.

    For one SYSTEM, or for all of them.
    """
    answer = invocation.client().certificate_authority()
    told = instructions(answer.subject, (system,) if system else tuple(SYSTEMS))
    if invocation.json:
        show_json({"subject": answer.subject, "fingerprint": answer.fingerprint, "instructions": told})
        return
    lines = [
        f"The authority is {answer.subject}. Compare its SHA-256 fingerprint before you trust it:",
        answer.fingerprint,
        "Whoever trusts it believes whoever has its key, for every site.",
    ]
    for name, steps in told.items():
        lines += ["", f"{SYSTEMS[name].title}:", *(f"  {step}" for step in steps)]
    click.echo("\n".join(lines))


def authority_parts(answer: CertificateAuthority) -> list[Part]:
    """The authority, for a person."""
    days = answer.days_left
    left = f"in {days} days" if days >= 0 else f"{-days} days ago"
    return [
        Facts(
            [
                ("authority", answer.subject),
                ("origin", _ORIGINS.get(answer.origin, answer.origin)),
                ("SHA-256", answer.fingerprint),
                ("valid from", _day(answer.not_before)),
                ("until", f"{_day(answer.not_after)}, {left}"),
                ("files", answer.files or ["none"]),
            ]
        )
    ]


def _day(seconds: float) -> str:
    return strftime("%Y-%m-%d %H:%M:%S UTC", gmtime(seconds))

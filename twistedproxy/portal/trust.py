"""How each system, and each program that keeps a list of its own, comes to trust a certificate authority.

The command line and the page for clients say the same; only how one comes by the certificate's file is different.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, NamedTuple

PEM: Final = "twistedproxy-ca-cert.pem"
CER: Final = "twistedproxy-ca-cert.cer"

_COMMON_NAME: Final = re.compile(r"(?:^|[,+])CN=((?:\\.|[^,+\\])*)")
_ANCHOR: Final = "/usr/local/share/ca-certificates/twistedproxy-ca.crt"


class Step(NamedTuple):
    """One thing to do: a command for a shell, or words for a person."""

    text: str
    is_command: bool

    def named(self, name: str, plain: str) -> Step:
        """The same, for the authority of that name: quoted for a shell, and without what any other could misread."""
        return self._replace(text=self.text.replace("{name}", name).replace("{plain}", plain))


def _run(command: str) -> Step:
    return Step(command, True)


def _do(words: str) -> Step:
    return Step(words, False)


@dataclass(frozen=True, slots=True)
class System:
    """What there is to do on one system.

    The steps want the certificate's ``file`` at hand; ``carrying`` says how it comes to a system that cannot fetch it
    itself. ``{name}`` and ``{plain}`` in a step stand for the authority's common name.
    """

    title: str
    file: str
    steps: Sequence[Step]
    undo: Step
    carrying: str = ""

    def named(self, subject: str) -> System:
        """The same, for the authority called ``subject`` (RFC 4514)."""
        common = _COMMON_NAME.search(subject)
        found = re.sub(r"\\(.)", r"\1", common[1]) if common else subject
        # It is the operator's text, and stands in commands.
        name = shlex.quote(found)
        plain = "".join(character for character in found if character.isalnum() or character in " .-_")
        return replace(
            self, steps=tuple(step.named(name, plain) for step in self.steps), undo=self.undo.named(name, plain)
        )


SYSTEMS: Final[Mapping[str, System]] = MappingProxyType(
    {
        "debian": System(
            "Debian, Ubuntu",
            PEM,
            (
                _run(f"sudo cp {PEM} {_ANCHOR}"),
                _run("sudo update-ca-certificates"),
            ),
            _run(f"sudo rm {_ANCHOR} && sudo update-ca-certificates --fresh"),
        ),
        "fedora": System(
            "Fedora, RHEL and relatives",
            PEM,
            (
                _run(f"sudo cp {PEM} /etc/pki/ca-trust/source/anchors/"),
                _run("sudo update-ca-trust"),
            ),
            _run(f"sudo rm /etc/pki/ca-trust/source/anchors/{PEM} && sudo update-ca-trust"),
        ),
        "alpine": System(
            "Alpine",
            PEM,
            (
                _run("apk add ca-certificates"),
                _run(f"cp {PEM} {_ANCHOR}"),
                _run("update-ca-certificates"),
            ),
            _run(f"rm {_ANCHOR} && update-ca-certificates --fresh"),
        ),
        "macos": System(
            "macOS",
            PEM,
            (_run(f"sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain {PEM}"),),
            _run("sudo security delete-certificate -c {name} /Library/Keychains/System.keychain"),
        ),
        "windows": System(
            "Windows, as administrator",
            CER,
            (_run(f"certutil -addstore -f Root {CER}"),),
            _run('certutil -delstore Root "{plain}"'),
        ),
        "firefox": System(
            "Firefox",
            PEM,
            (
                _do(
                    f"Settings, Privacy & Security, View Certificates, Authorities, Import: {PEM}; "
                    "trust it for websites"
                ),
                _do("on Windows and macOS it goes by the system's list too (security.enterprise_roots.enabled)"),
            ),
            _do("the same place, Delete or Distrust"),
        ),
        "chromium": System(
            "Chromium and Chrome on Linux, with certutil of libnss3-tools",
            PEM,
            (
                # Chromium looks in the first, unless it is not there.
                _run('db=$HOME/.pki/nssdb; [ -d "$db" ] || db=$HOME/.local/share/pki/nssdb; mkdir -p "$db"'),
                _run(f'certutil -d "sql:$db" -A -t C,, -n {{name}} -i {PEM}'),
                _do("on other systems they go by the system's list"),
            ),
            _run(
                'for db in $HOME/.pki/nssdb $HOME/.local/share/pki/nssdb; do certutil -d "sql:$db" -D -n {name}; done'
            ),
        ),
        "java": System(
            "Java",
            PEM,
            (_run(f"keytool -importcert -cacerts -storepass changeit -noprompt -alias twistedproxy-ca -file {PEM}"),),
            _run("keytool -delete -cacerts -storepass changeit -alias twistedproxy-ca"),
        ),
        "android": System(
            "Android",
            CER,
            (
                _do(
                    "Settings, Security and privacy, Encryption and credentials, Install a certificate, "
                    f"CA certificate: {CER}"
                ),
                _do("browsers go by that; most other apps do not, unless their makers allow it"),
            ),
            _do("the same place, User credentials"),
            carrying=f"copy {CER} to the device",
        ),
        "ios": System(
            "iOS, iPadOS",
            CER,
            (
                _do("Settings, General, VPN & Device Management: install the profile"),
                _do("Settings, General, About, Certificate Trust Settings: switch it on"),
            ),
            _do("remove the profile"),
            carrying=f"send {CER} to the device, by AirDrop or mail, and open it",
        ),
    }
)


def instructions(subject: str, systems: Sequence[str]) -> dict[str, list[str]]:
    """The steps of each of the ``systems`` for the authority called ``subject`` (RFC 4514), from the command line."""
    return {name: _from_the_command_line(SYSTEMS[name].named(subject)) for name in systems}


def _from_the_command_line(system: System) -> list[str]:
    exported = f"pyproxyctl ca export --format {system.file.rpartition('.')[2]} {system.file}"
    steps = [step.text for step in system.steps]
    return [exported, *filter(None, [system.carrying]), *steps, f"to undo: {system.undo.text}"]

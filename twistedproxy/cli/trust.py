"""How each system, and each program that keeps a list of its own, comes to trust a certificate authority."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

PEM: Final = "twistedproxy-ca-cert.pem"
CER: Final = "twistedproxy-ca-cert.cer"

_COMMON_NAME: Final = re.compile(r"(?:^|[,+])CN=((?:\\.|[^,+\\])*)")
_EXPORT_PEM: Final = f"pyproxyctl ca export --format pem {PEM}"
_EXPORT_CER: Final = f"pyproxyctl ca export --format cer {CER}"
_ANCHOR: Final = "/usr/local/share/ca-certificates/twistedproxy-ca.crt"


@dataclass(frozen=True, slots=True)
class System:
    """A title and the steps; ``{name}`` in a step stands for the authority's common name, quoted for a shell."""

    title: str
    steps: Sequence[str]


SYSTEMS: Final[Mapping[str, System]] = MappingProxyType(
    {
        "debian": System(
            "Debian, Ubuntu",
            (
                _EXPORT_PEM,
                f"sudo cp {PEM} {_ANCHOR}",
                "sudo update-ca-certificates",
                f"to undo: sudo rm {_ANCHOR} && sudo update-ca-certificates --fresh",
            ),
        ),
        "fedora": System(
            "Fedora, RHEL and relatives",
            (
                _EXPORT_PEM,
                f"sudo cp {PEM} /etc/pki/ca-trust/source/anchors/",
                "sudo update-ca-trust",
                f"to undo: sudo rm /etc/pki/ca-trust/source/anchors/{PEM} && sudo update-ca-trust",
            ),
        ),
        "alpine": System(
            "Alpine",
            (
                _EXPORT_PEM,
                "apk add ca-certificates",
                f"cp {PEM} {_ANCHOR}",
                "update-ca-certificates",
                f"to undo: rm {_ANCHOR} && update-ca-certificates --fresh",
            ),
        ),
        "macos": System(
            "macOS",
            (
                _EXPORT_PEM,
                f"sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain {PEM}",
                "to undo: sudo security delete-certificate -c {name} /Library/Keychains/System.keychain",
            ),
        ),
        "windows": System(
            "Windows, as administrator",
            (
                _EXPORT_CER,
                f"certutil -addstore -f Root {CER}",
                'to undo: certutil -delstore Root "{plain}"',
            ),
        ),
        "firefox": System(
            "Firefox",
            (
                _EXPORT_PEM,
                f"Settings, Privacy & Security, View Certificates, Authorities, Import: {PEM}; trust it for websites",
                "on Windows and macOS it goes by the system's list too (security.enterprise_roots.enabled)",
                "to undo: the same place, Delete or Distrust",
            ),
        ),
        "chromium": System(
            "Chromium and Chrome on Linux, with certutil of libnss3-tools",
            (
                _EXPORT_PEM,
                f"certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n {{name}} -i {PEM}",
                "to undo: certutil -d sql:$HOME/.pki/nssdb -D -n {name}",
                "on other systems they go by the system's list",
            ),
        ),
        "java": System(
            "Java",
            (
                _EXPORT_PEM,
                f"keytool -importcert -cacerts -storepass changeit -noprompt -alias twistedproxy-ca -file {PEM}",
                "to undo: keytool -delete -cacerts -storepass changeit -alias twistedproxy-ca",
            ),
        ),
        "android": System(
            "Android",
            (
                _EXPORT_CER,
                f"copy {CER} to the device",
                "Settings, Security and privacy, Encryption and credentials, Install a certificate, CA certificate",
                "browsers go by that; most other apps do not, unless their makers allow it",
                "to undo: the same place, User credentials",
            ),
        ),
        "ios": System(
            "iOS, iPadOS",
            (
                _EXPORT_CER,
                f"send {CER} to the device, by AirDrop or mail, and open it",
                "Settings, General, VPN & Device Management: install the profile",
                "Settings, General, About, Certificate Trust Settings: switch it on",
                "to undo: remove the profile",
            ),
        ),
    }
)


def instructions(subject: str, systems: Sequence[str]) -> dict[str, list[str]]:
    """The steps of each of the ``systems`` for the authority called ``subject`` (RFC 4514)."""
    common = _COMMON_NAME.search(subject)
    plain = re.sub(r"\\(.)", r"\1", common[1]) if common else subject
    # It is the operator's text, and stands in commands.
    name = shlex.quote(plain)
    harmless = "".join(character for character in plain if character.isalnum() or character in " .-_")
    return {
        system: [step.replace("{name}", name).replace("{plain}", harmless) for step in SYSTEMS[system].steps]
        for system in systems
    }

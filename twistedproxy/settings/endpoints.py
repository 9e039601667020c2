r"""Where the proxy listens, as Twisted's endpoint descriptions say it; read without making anything listen.

A description is ``kind:argument:argument:name=argument``; a backslash makes the next character an ordinary
one, so that an IPv6 address is written ``interface=\:\:1``. The kinds that come with Twisted are checked
whole. One that a plugin adds is taken as it is, and nothing is known about who can reach it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from twistedproxy.settings.problems import Unfit

HAPROXY: Final = "haproxy:"
"""What stands before the description of an endpoint whose clients come by way of another proxy."""
_KIND = re.compile(r"[A-Za-z][A-Za-z0-9_.+-]*")
_DIGITS = re.compile(r"[0-9]{1,9}")
_OCTAL = re.compile(r"[0-7]{1,4}")
_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,253}[A-Za-z0-9_.])?")

KINDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "tcp": ("port", "interface", "backlog"),
        "tcp6": ("port", "backlog", "interface"),
        "ssl": (
            "port",
            "privateKey",
            "certKey",
            "sslmethod",
            "interface",
            "backlog",
            "extraCertChain",
            "dhParameters",
            "clientCA",
            "clientCertificate",
            "clientCRL",
        ),
        "tls": ("path", "port", "backlog", "interface"),
        "unix": ("address", "mode", "backlog", "lockfile"),
        "systemd": ("domain", "index", "name"),
    }
)
"""The arguments of each kind that is known here, in the order in which they may stand without a name."""

_NEEDED: Final[Mapping[str, str]] = MappingProxyType(
    {"tcp": "port", "tcp6": "port", "ssl": "port", "tls": "path", "unix": "address", "systemd": "domain"}
)
_DEFAULT_INTERFACE: Final[Mapping[str, str]] = MappingProxyType({"tcp": "", "ssl": "", "tcp6": "::", "tls": "::"})
_CREDENTIALS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "ssl": ("privateKey", "certKey", "extraCertChain", "dhParameters", "clientCA", "clientCRL"),
        "tls": ("path",),
    }
)
"""The arguments of each kind that may be a path of systemd's credentials."""

_CREDENTIALS_DIRECTORY: Final = "CREDENTIALS_DIRECTORY"
_PART = re.compile(r"(?:(?P<name>(?:[^:=\\]|\\.)*)=)?(?P<value>(?:[^:\\]|\\.)*)(?P<end>:|\Z)", re.DOTALL)
"""One part between colons, as it is written."""

_SYSTEMD_DOMAINS = ("INET", "INET6", "UNIX")

REQUIRED: Final = "required"
OPTIONAL: Final = "optional"
"""What ``clientCertificate`` may say; the former where only ``clientCA`` is there."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One description, taken apart. ``arguments`` has names for all of them where the kind is known."""

    kind: str
    arguments: Mapping[str, str]

    @property
    def interface(self) -> str | None:
        """The address it binds, ``""`` for all of IPv4; None where it does not bind an address."""
        if self.kind not in _DEFAULT_INTERFACE:
            return None
        return self.arguments.get("interface", _DEFAULT_INTERFACE[self.kind])

    @property
    def loopback_only(self) -> bool | None:
        """Whether only this machine can reach it; None where the description does not tell."""
        if self.kind == "unix" or (self.kind == "systemd" and self.arguments["domain"] == "UNIX"):
            return True
        interface = self.interface
        if interface is None:
            return None
        try:
            address = ipaddress.ip_address(interface.partition("%")[0])
        except ValueError:
            if interface == "":
                return False
            return True if interface.lower() == "localhost" else None
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            return address.ipv4_mapped.is_loopback
        return address.is_loopback

    @property
    def sentence(self) -> str:
        """Where it listens, in words."""
        if self.kind == "unix":
            return f"the Unix socket {self.arguments['address']}"
        if self.kind == "systemd":
            which = self.arguments.get("name", self.arguments.get("index", ""))
            return f"the {self.arguments['domain']} socket {which} that systemd passes on"
        interface = self.interface
        if interface is None:
            return f'an endpoint of the kind "{self.kind}"'
        port = self.arguments.get("port", "443")
        where = {"": "every IPv4 address", "0.0.0.0": "every IPv4 address", "::": "every address"}
        secured = " with TLS" if self.kind in ("ssl", "tls") else ""
        if self.client_certificates:
            secured += f" and {self.client_certificates} certificates of clients"
        return f"port {port} of {where.get(interface, interface)}{secured}"

    @property
    def client_certificates(self) -> str:
        """Whether its clients show certificates: `REQUIRED`, `OPTIONAL`, or nothing where they are not asked."""
        if self.kind != "ssl" or "clientCA" not in self.arguments:
            return ""
        return self.arguments.get("clientCertificate", REQUIRED)

    @property
    def plain(self) -> str:
        """The description of one of the kind ``tcp`` at the same place."""
        arguments = self.arguments
        named = [f"{name}={_escaped(arguments[name])}" for name in ("interface", "backlog") if name in arguments]
        return ":".join(("tcp", arguments["port"], *named))


def loopback_only(description: str) -> bool | None:
    """Whether only this machine can reach it; None where that is not known. `Unfit` as `parse_endpoint`."""
    return parse_endpoint(description).loopback_only


def parse_endpoint(description: str) -> Endpoint:
    """Take a description apart, or say with `Unfit` what is wrong with it."""
    if not description.isprintable():
        raise Unfit("an endpoint of printable characters")
    # The PROXY protocol stands in front of another endpoint, and that one says who can reach it.
    parts = _split(description.removeprefix(HAPROXY))
    kind, named = parts[0]
    if named is not None or len(parts) < 2 or not _KIND.fullmatch(kind) or kind == "haproxy":
        raise _not_an_endpoint(description)
    if kind not in KINDS:
        if kind.lower() in KINDS:
            raise Unfit(f'the kind in lower case: "{kind.lower()}:..."')
        return Endpoint(kind, MappingProxyType({}))
    arguments = _bind(kind, parts[1:])
    for name, value in arguments.items():
        _ARGUMENT_CHECKS.get(name, _anything)(value)
    if kind == "systemd":
        if arguments["domain"] not in _SYSTEMD_DOMAINS:
            raise Unfit("the domain INET, INET6 or UNIX")
        if ("index" in arguments) == ("name" in arguments):
            raise Unfit('either "name=" or "index=", to say which of systemd\'s sockets')
    if kind == "ssl" and not arguments.get("clientCA"):
        for name in ("clientCA", "clientCertificate", "clientCRL"):
            if name in arguments:
                raise Unfit(f'"clientCA=" with a file of authorities, since there is "{name}="')
    return Endpoint(kind, MappingProxyType(arguments))


def expand_credentials(description: str, environment: Mapping[str, str]) -> str:
    """``description`` with the directory of systemd's credentials where it says ``$CREDENTIALS_DIRECTORY/``.

    That may stand at the beginning of an argument of ``ssl:`` that names a file, and of the path of ``tls:``, which may
    also be that directory itself. All else stays as it is written. Raises `Unfit` where it says so but the variable is
    not set, and where `parse_endpoint` does.
    """
    kind = parse_endpoint(description).kind
    credentials = _CREDENTIALS.get(kind)
    if credentials is None:
        return description
    parts = _PART.finditer(description, len(HAPROXY) if description.startswith(HAPROXY) else 0)
    expanded = [description[: next(parts).end()]]
    position = 0
    for part in parts:
        if part["name"] is None:
            name, before = KINDS[kind][position], ""
            position += 1
        else:
            name, before = _unescaped(part["name"]), part["name"] + "="
        value = part["value"]
        first, slash, rest = value.partition("/")
        if name in credentials and first == f"${_CREDENTIALS_DIRECTORY}":
            directory = environment.get(_CREDENTIALS_DIRECTORY)
            if not directory:
                raise Unfit(
                    f"the variable {_CREDENTIALS_DIRECTORY} to be set, as systemd does for LoadCredential=",
                    f"{name} begins with ${_CREDENTIALS_DIRECTORY}",
                )
            value = _escaped(directory) + slash + rest
        expanded += before, value, part["end"]
        if not part["end"]:
            break
    return "".join(expanded)


def _escaped(text: str) -> str:
    return re.sub(r"([\\:=])", r"\\\1", text)


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def _split(description: str) -> list[tuple[str, str | None]]:
    """The parts between colons: ``(text, None)``, or ``(name, text)`` where there is an equals sign."""
    parts: list[tuple[str, str | None]] = []
    name: str | None = None
    current: list[str] = []

    def finish() -> None:
        nonlocal name
        text = "".join(current)
        parts.append((text, None) if name is None else (name, text))
        name = None
        current.clear()

    characters = iter(description)
    for character in characters:
        if character == "\\":
            escaped = next(characters, None)
            if escaped is None:
                raise Unfit("a character after the last backslash")
            current.append(escaped)
        elif character == ":":
            finish()
        elif character == "=" and name is None:
            name = "".join(current)
            current.clear()
        else:
            current.append(character)
    finish()
    return parts


def _bind(kind: str, parts: list[tuple[str, str | None]]) -> dict[str, str]:
    known = KINDS[kind]
    arguments: dict[str, str] = {}
    position = 0
    for first, second in parts:
        if second is None:
            if position == len(known):
                raise _too_many(kind)
            name, value = known[position], first
            position += 1
        else:
            name, value = first, second
        if name not in known:
            raise Unfit(f"no argument of {kind} but {', '.join(known)}")
        if name in arguments:
            raise _too_many(kind) if second is None else Unfit(f'"{name}" only once')
        arguments[name] = value
    if not arguments.get(_NEEDED[kind]):
        raise Unfit(f'the {_NEEDED[kind]} after "{kind}:"')
    return arguments


def _too_many(kind: str) -> Unfit:
    hint = r'a colon inside an argument, as in an IPv6 address, is written "\:"'
    return Unfit(f"fewer arguments of {kind}", hint)


def _not_an_endpoint(description: str) -> Unfit:
    usual = 'an endpoint such as "tcp:8080" or "unix:/run/proxy.sock"'
    host, colon, port = description.rpartition(":")
    if not port.isascii() or not port.isdigit():
        return Unfit(usual)
    if not colon:
        return Unfit(usual, f'did you mean "tcp:{port}"?')
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return Unfit(usual)
    interface = str(address).replace(":", "\\:")
    return Unfit(usual, f'did you mean "tcp:{port}:interface={interface}"?')


def _anything(value: str) -> None:
    pass


def _check_port(value: str) -> None:
    if not _DIGITS.fullmatch(value) or int(value) > 65535:
        raise Unfit("a port from 0 to 65535 (0: any that is free)")


def _check_interface(value: str) -> None:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        if value and (not _HOST_NAME.fullmatch(value) or value.replace(".", "").isdigit()):
            raise Unfit("the address of an interface") from None


def _check_backlog(value: str) -> None:
    if not _DIGITS.fullmatch(value):
        raise Unfit("a number as backlog")


def _check_index(value: str) -> None:
    if not _DIGITS.fullmatch(value):
        raise Unfit("a number as index")


def _check_mode(value: str) -> None:
    if not _OCTAL.fullmatch(value):
        raise Unfit('the mode of the socket in octal, such as "mode=660"')


def _check_client_certificate(value: str) -> None:
    if value not in (REQUIRED, OPTIONAL):
        raise Unfit(f'"clientCertificate={REQUIRED}" or "clientCertificate={OPTIONAL}"')


def _check_lockfile(value: str) -> None:
    if value not in ("0", "1"):
        raise Unfit('"lockfile=0" or "lockfile=1"')


_ARGUMENT_CHECKS: Final[Mapping[str, Callable[[str], None]]] = MappingProxyType(
    {
        "port": _check_port,
        "interface": _check_interface,
        "backlog": _check_backlog,
        "index": _check_index,
        "mode": _check_mode,
        "lockfile": _check_lockfile,
        "clientCertificate": _check_client_certificate,
    }
)

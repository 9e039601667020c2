"""Hashes that are quick to check, credentials as requests carry them, and threads that a test turns by hand."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID, NameOID
from twisted.internet.defer import Deferred

from tests.memory import Records, Wire
from twistedproxy.accounts import sha_crypt

T = TypeVar("T")


def quick_hash(password: bytes, salt: bytes = b"saltsalt") -> bytes:
    """A hash of ``password`` with as few rounds as there may be."""
    return b"$5$rounds=1000$%b$%b" % (salt, sha_crypt.digest(b"5", password, salt, 1000))


def static(name: str, password: bytes, *groups: str) -> str:
    """An account for ``accounts.static``, as TOML."""
    return f'{{ name = "{name}", hash = "{quick_hash(password).decode()}", groups = {list(groups)!r} }}'


def accounts_file(path: Path, **passwords: str) -> Path:
    """A file of accounts at ``path``."""
    path.write_bytes(b"".join(b"%b:%b\n" % (n.encode(), quick_hash(p.encode())) for n, p in passwords.items()))
    path.chmod(0o600)
    return path


def basic(name: bytes, password: bytes) -> bytes:
    """The value of a Proxy-Authorization field."""
    return b"Basic " + base64.b64encode(name + b":" + password)


_KEY: Final = ec.generate_private_key(ec.SECP256R1())


def client_certificate(
    *common_names: str, organization: str = "", names: Sequence[x509.GeneralName] = (), extra: bytes = b""
) -> x509.Certificate:
    """What an authority has signed for a client. ``extra`` is an extension of alternative names as it is."""
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, name) for name in common_names]
    if organization:
        subject.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(subject))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")]))
        .public_key(_KEY.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if extra:
        oid = ExtensionOID.SUBJECT_ALTERNATIVE_NAME
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, extra), critical=False)
    return builder.sign(_KEY, hashes.SHA256())


class Threads:
    """What would be done in threads: done when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[[], Any], Deferred[Any]]] = []
        self.done = 0

    def __call__(self, work: Callable[[], T]) -> Deferred[T]:
        called: Deferred[T] = Deferred(lambda _: None)
        self.waiting.append((work, called))
        return called

    def turn(self, most: int = 1000) -> int:
        """Do what waits, and what comes to wait meanwhile; how much that was."""
        before = self.done
        while self.waiting and self.done - before < most:
            work, called = self.waiting.pop(0)
            self.done += 1
            try:
                result = work()
            except Exception as error:
                called.errback(error)
            else:
                called.callback(result)
        return self.done - before


class Users(Records):
    """The access log's place, where the users stand too."""

    def __init__(self) -> None:
        super().__init__()
        self.users: list[bytes] = []

    def finished(self, exchange: Any) -> None:
        super().finished(exchange)
        self.users.append(exchange.user)


class GuardedWire(Wire):
    """A proxy in memory that needs accounts, of which ``ann`` has the password ``secret``."""

    def __init__(self, *overrides: tuple[str, str]) -> None:
        accounts = f"[{static('ann', b'secret', 'staff')}]"
        super().__init__(("accounts.required", "true"), ("accounts.static", accounts), *overrides)
        self.threads = self.plane.authenticator.in_thread = Threads()
        self.records = Users()
        self.plane.access_log = self.records  # type: ignore[assignment]  # a double

    @property
    def users(self) -> list[bytes]:
        """Those in the access log."""
        assert isinstance(self.records, Users)
        return self.records.users

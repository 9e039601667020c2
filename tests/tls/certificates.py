"""Certificates in tests: as PEM, judged by openssl, and shown in a handshake in memory to a real client."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from OpenSSL import SSL


def pem_of(*parts: Any) -> bytes:
    """Keys and certificates, one after the other."""
    return b"".join(
        part.public_bytes(Encoding.PEM)
        if isinstance(part, x509.Certificate)
        else part.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        for part in parts
    )


def shake_hands(context: SSL.Context, root: x509.Certificate, name: str, **options: Any) -> ssl.SSLObject:
    """A client of Python's, which trusts ``root`` only and goes by all the rules, meets a server with ``context``."""
    trusting = ssl.create_default_context(cadata=pem_of(root).decode())
    trusting.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    for attribute, value in options.items():
        setattr(trusting, attribute, value)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(incoming, outgoing, server_hostname=name)
    server = SSL.Connection(context)
    server.set_accept_state()
    for _ in range(5):
        try:
            client.do_handshake()
            break
        except ssl.SSLWantReadError:
            pass
        server.bio_write(outgoing.read())
        try:
            server.do_handshake()
        except SSL.WantReadError:
            pass
        incoming.write(server.bio_read(1 << 16))
    return client


def openssl_verify(
    directory: Path, leaf: x509.Certificate, root: x509.Certificate, *options: str, between: Sequence[Any] = ()
) -> str:
    """What ``openssl verify`` says of a server's certificate, by all the rules."""
    for name, parts in {"leaf": (leaf,), "root": (root,), "between": between}.items():
        (directory / f"{name}.pem").write_bytes(pem_of(*parts))
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", "root.pem", *options]
    if between:
        command += ["-untrusted", "between.pem"]
    done = subprocess.run([*command, "leaf.pem"], cwd=directory, capture_output=True, text=True, timeout=50)
    return done.stdout + done.stderr

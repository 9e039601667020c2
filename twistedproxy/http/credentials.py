"""Credentials for the proxy as a request carries them, and the challenges that ask for them (RFC 9110 section 11).

Whatever a client sends is either understood or refused with `CredentialsRefused`, whose text tells what is wrong and
nothing of what was sent.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final, NamedTuple

from twistedproxy.errors import CredentialsRefused
from twistedproxy.http.digest import DigestResponse, parse_digest
from twistedproxy.http.grammar import TOKEN

LONGEST: Final = 8192
"""Bytes of a Proxy-Authorization field's value that is looked at."""

LONGEST_PASSWORD: Final = 1024
"""Bytes of a password. Some hashes take memory and time by its square."""

# RFC 7617 section 2: neither part may have control characters.
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
# RFC 9110 section 11.4: credentials = auth-scheme [ 1*SP ( token68 / #auth-param ) ]
_CREDENTIALS = re.compile(rb"(" + TOKEN + rb")(?: ++(.*+))?", re.DOTALL)


class BasicCredentials(NamedTuple):
    """A name and a password, in UTF-8 (RFC 7617)."""

    name: bytes
    password: bytes


def parse_credentials(value: bytes) -> BasicCredentials | DigestResponse:
    """Read a Proxy-Authorization field's value. Raises `CredentialsRefused`."""
    if len(value) > LONGEST:
        raise CredentialsRefused("its Proxy-Authorization field is too long")
    match = _CREDENTIALS.fullmatch(value)
    if match is None:
        raise CredentialsRefused("its Proxy-Authorization field is malformed")
    scheme = match[1].lower()
    rest = (match[2] or b"").strip(b" \t")
    if scheme == b"basic":
        return _basic(rest)
    if scheme == b"digest":
        return parse_digest(rest)
    raise CredentialsRefused("this proxy does not know the scheme of its Proxy-Authorization field")


def _basic(token: bytes) -> BasicCredentials:
    try:
        decoded = base64.b64decode(token, validate=True)
    except binascii.Error:
        raise CredentialsRefused("what follows Basic in its Proxy-Authorization field is not base64") from None
    # The password may have colons, the name cannot (RFC 7617 section 2).
    name, colon, password = decoded.partition(b":")
    if not colon or not name:
        raise CredentialsRefused("its Proxy-Authorization field has no name, or no colon after it")
    if len(password) > LONGEST_PASSWORD:
        raise CredentialsRefused("the password is too long")
    if _CONTROL.search(decoded):
        raise CredentialsRefused("the name or the password has a control character")
    try:
        name.decode("utf-8")
    except UnicodeDecodeError:
        raise CredentialsRefused("the name is not in UTF-8") from None
    return BasicCredentials(name, password)


def basic_challenge(realm: str) -> bytes:
    """The challenge that asks for Basic (RFC 7617 section 2.1). ``realm`` has nothing to escape."""
    return b'Basic realm="%b", charset="UTF-8"' % realm.encode("ascii")


def digest_challenge(realm: str, nonce: bytes, *, stale: bool, userhash: bool = False) -> bytes:
    """The challenge that asks for Digest with SHA-256 (RFC 7616 section 3.3). ``realm`` has nothing to escape.

    With ``userhash`` the client may hash its name (section 3.4.4).
    """
    return b'Digest realm="%b", qop="auth", algorithm=SHA-256, nonce="%b", charset=UTF-8%b%b' % (
        realm.encode("ascii"),
        nonce,
        b", userhash=true" if userhash else b"",
        b", stale=true" if stale else b"",
    )

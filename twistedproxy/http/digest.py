"""The answer to a Digest challenge, and what it has to be (RFC 7616): SHA-256, with the quality of protection ``auth``.

MD5 is not understood: it is broken, and every client that keeps up knows SHA-256. The older form without ``qop`` is not
either, since nothing in it tells one request from its repetition.
"""

from __future__ import annotations

import re
from hashlib import sha256
from hmac import compare_digest
from typing import Final
from urllib.parse import unquote_to_bytes

from twistedproxy.errors import CredentialsRefused
from twistedproxy.http.grammar import QUOTED_STRING, TOKEN

ALGORITHM: Final = b"sha-256"
QUALITY: Final = b"auth"

_MOST_PARAMETERS: Final = 32

# RFC 9110 section 11.2: auth-param = token BWS "=" BWS ( token / quoted-string ); the list may have empty members.
_PARAMETER = re.compile(
    rb"[ \t,]*+(" + TOKEN + rb")[ \t]*+=[ \t]*+(?:(" + TOKEN + rb")|(" + QUOTED_STRING + rb"))[ \t]*+(?:,[ \t,]*+|\Z)"
)
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)
_HASH = re.compile(rb"[0-9a-f]{64}")
_COUNT = re.compile(rb"[0-9a-fA-F]{8}")
# RFC 8187 section 3.2.1, of which RFC 7616 section 3.4 allows UTF-8 only.
_EXTENDED = re.compile(rb"utf-8'[A-Za-z0-9-]*+'((?:[A-Za-z0-9!#$&+.^_`|~-]|%[0-9A-Fa-f]{2})++)", re.IGNORECASE)
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")

_NEEDED: Final = (b"realm", b"nonce", b"uri", b"response", b"cnonce", b"nc", b"qop", b"algorithm")


class DigestResponse:
    """What a client says to prove that it knows a password; all of it in the form that it has to be in.

    ``count`` is how often the client has used the nonce. ``method`` is the request's, which is a part of the proof.
    Where the client has hashed its name (section 3.4.4) that is ``name_hash``, and ``name`` is nothing.
    """

    __slots__ = ("client_nonce", "count", "method", "name", "name_hash", "nonce", "realm", "response", "uri")

    def __init__(
        self,
        *,
        name: bytes,
        realm: bytes,
        nonce: bytes,
        uri: bytes,
        response: bytes,
        client_nonce: bytes,
        count: bytes,
        method: bytes = b"",
        name_hash: bytes = b"",
    ) -> None:
        self.name = name
        self.name_hash = name_hash
        self.realm = realm
        self.nonce = nonce
        self.uri = uri
        self.response = response
        self.client_nonce = client_nonce
        self.count = count
        self.method = method

    def __repr__(self) -> str:
        return f"<DigestResponse {self.name!r} count={self.number}>"

    @property
    def number(self) -> int:
        """The nonce count, as a number."""
        return int(self.count, 16)

    def proves(self, digest: bytes) -> bool:
        """Whether it was made with the password whose ``digest`` this is: H(A1), in hexadecimal digits."""
        request = sha256(b"%b:%b" % (self.method, self.uri)).hexdigest().encode("ascii")
        stated = b"%b:%b:%b:%b:%b:%b" % (digest, self.nonce, self.count, self.client_nonce, QUALITY, request)
        return compare_digest(sha256(stated).hexdigest().encode("ascii"), self.response)


def digest_of(name: bytes, realm: bytes, password: bytes) -> bytes:
    """H(A1) with SHA-256, in hexadecimal digits (RFC 7616 section 3.4.2)."""
    return sha256(b"%b:%b:%b" % (name, realm, password)).hexdigest().encode("ascii")


def hash_of_name(name: bytes, realm: bytes) -> bytes:
    """What a client says in the place of its name where it hashes that, in hexadecimal digits (RFC 7616, 3.4.4)."""
    return sha256(b"%b:%b" % (name, realm)).hexdigest().encode("ascii")


def parse_digest(text: bytes) -> DigestResponse:
    """Read what follows ``Digest`` in a Proxy-Authorization field. Raises `CredentialsRefused`."""
    found = _parameters(text)
    for name in _NEEDED:
        if name not in found:
            raise CredentialsRefused(f"its Digest has no {name.decode('ascii')}")
    if found[b"algorithm"].lower() != ALGORITHM:
        raise CredentialsRefused("its Digest is not made with SHA-256")
    if found[b"qop"].lower() != QUALITY:
        raise CredentialsRefused("its Digest has another qop than auth")
    response = found[b"response"].lower()
    if not _HASH.fullmatch(response) or not _COUNT.fullmatch(found[b"nc"]):
        raise CredentialsRefused("its Digest is malformed")
    hashed = found.get(b"userhash", b"false").lower() != b"false"
    return DigestResponse(
        name=b"" if hashed else _name(found),
        name_hash=_name_hash(found) if hashed else b"",
        realm=found[b"realm"],
        nonce=found[b"nonce"],
        uri=found[b"uri"],
        response=response,
        client_nonce=found[b"cnonce"],
        count=found[b"nc"],
    )


def _parameters(text: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    position = 0
    while position < len(text):
        match = _PARAMETER.match(text, position)
        if match is None or len(found) >= _MOST_PARAMETERS:
            raise CredentialsRefused("its Digest is malformed")
        name = match[1].lower()
        if name in found:
            raise CredentialsRefused("its Digest has a parameter twice")
        found[name] = match[2] if match[2] is not None else _QUOTED_PAIR.sub(rb"\1", match[3][1:-1])
        position = match.end()
    return found


def _name_hash(found: dict[bytes, bytes]) -> bytes:
    hashed = found.get(b"username", b"").lower()
    if found[b"userhash"].lower() != b"true" or b"username*" in found or not _HASH.fullmatch(hashed):
        raise CredentialsRefused("the hashed name in its Digest is malformed")
    return hashed


def _name(found: dict[bytes, bytes]) -> bytes:
    """The account's name, which may be percent-encoded in a parameter of its own."""
    plain, extended = found.get(b"username"), found.get(b"username*")
    if (plain is None) == (extended is None):
        raise CredentialsRefused("its Digest has no name, or two")
    if extended is not None:
        match = _EXTENDED.fullmatch(extended)
        if match is None:
            raise CredentialsRefused("the name in its Digest is malformed")
        plain = unquote_to_bytes(match[1])
    assert plain is not None
    try:
        plain.decode("utf-8")
    except UnicodeDecodeError:
        raise CredentialsRefused("the name is not in UTF-8") from None
    if not plain or _CONTROL.search(plain):
        raise CredentialsRefused("the name in its Digest is empty, or has a control character")
    return plain

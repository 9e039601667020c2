"""Hashes of passwords: which ones can be used, whether a password is the right one, and new ones.

``$2y$``, ``$2b$``, ``$2a$``  bcrypt, of which only the first 72 bytes of a password count
``$scrypt$ln=15,r=8,p=3$``    scrypt (RFC 7914), with salt and hash in base64 without padding
``$5$``, ``$6$``              SHA-256 and SHA-512 crypt

Others are refused, each by its name: what is fast to make, or has no salt, is soon found out once the file is lost.
What would take seconds or hundreds of MiB to check is refused too. To check a hash takes a fraction of a second: it has
to be done in a thread.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from collections.abc import Callable
from hmac import compare_digest
from typing import Final, NamedTuple

import bcrypt

from twistedproxy.accounts import sha_crypt

SCHEMES: Final = ("bcrypt", "scrypt")
"""What new hashes can be made of."""

BCRYPT_LONGEST: Final = 72
"""Bytes of a password that count for bcrypt."""

BCRYPT_COST: Final = 12
SCRYPT_COST: Final = 15

_BCRYPT: Final = re.compile(rb"\$2[aby]\$(0[4-9]|[12][0-9]|3[01])\$[./0-9A-Za-z]{53}")
_BCRYPT_MOST: Final = 16
_SCRYPT: Final = re.compile(
    rb"\$scrypt\$ln=([1-9][0-9]?),r=([1-9][0-9]{0,2}),p=([1-9][0-9]?)\$([0-9A-Za-z+/]{4,86})\$([0-9A-Za-z+/]{22,86})"
)
_SCRYPT_MEMORY: Final = 128 * 1024 * 1024
_SCRYPT_WORK: Final = 4 * _SCRYPT_MEMORY
_SCRYPT_NEW: Final = (8, 3)

_REFUSED: Final = (
    (re.compile(rb"\$apr1\$"), "is Apache's MD5 (apr1), which is found out too fast"),
    (re.compile(rb"\$1\$"), "is MD5, which is found out too fast"),
    (re.compile(rb"\{SHA\}"), "is SHA-1 without a salt, which is found out at once"),
    (re.compile(rb"\{SSHA\}"), "is SHA-1, which is found out too fast"),
    (re.compile(rb"\$2x\$"), "is made with a faulty bcrypt"),
    (re.compile(rb"\$y\$|\$gy\$"), "is yescrypt, which this proxy does not know"),
    (re.compile(rb"\$7\$"), "is scrypt in the form of crypt(3), which this proxy does not know"),
    (re.compile(rb"\$argon2"), "is Argon2, which this proxy does not know"),
    (re.compile(rb"[./0-9A-Za-z]{13}\Z"), "is DES crypt or a plain password: neither is safe"),
)


class _Scrypt(NamedTuple):
    n: int
    r: int
    p: int
    salt: bytes
    hash: bytes

    @property
    def memory(self) -> int:
        """Bytes that it takes to make it."""
        return 128 * self.r * (self.n + self.p + 2)


def unusable(text: bytes) -> str:
    """What is wrong with a hash, in words that follow "its hash"; empty when it can be used."""
    if text.startswith((b"$2a$", b"$2b$", b"$2y$")):
        match = _BCRYPT.fullmatch(text)
        if match is None:
            return "is not complete, or malformed"
        return f"has a cost of more than {_BCRYPT_MOST}" if int(match[1]) > _BCRYPT_MOST else ""
    if text.startswith(b"$scrypt$"):
        made = _read_scrypt(text)
        if made is None:
            return "is not complete, or malformed"
        if made.memory > _SCRYPT_MEMORY * 9 // 8 or 128 * made.r * made.n * made.p > _SCRYPT_WORK:
            return "takes more than 128 MiB, or seconds, to check"
        return ""
    if text.startswith((b"$5$", b"$6$")):
        return sha_crypt.unusable(text)
    for form, why in _REFUSED:
        if form.match(text):
            return why
    return "is of no kind that this proxy knows, or a plain password"


def verify(text: bytes, password: bytes) -> bool:
    """Whether ``text``, which can be used, is the hash of ``password``. It takes a while."""
    if text.startswith(b"$2"):
        return bcrypt.checkpw(password[:BCRYPT_LONGEST], text)
    if text.startswith(b"$scrypt$"):
        made = _read_scrypt(text)
        assert made is not None
        return compare_digest(_scrypt(password, made), made.hash)
    return sha_crypt.verify(text, password)


def make(password: bytes, scheme: str = "bcrypt", cost: int | None = None) -> bytes:
    """A new hash of ``password``. ``cost`` is the binary logarithm of the work; ValueError when it is out of range."""
    return _MAKERS[scheme](password, cost)


def _make_bcrypt(password: bytes, cost: int | None) -> bytes:
    cost = BCRYPT_COST if cost is None else cost
    if not 10 <= cost <= _BCRYPT_MOST:
        raise ValueError(f"the cost of bcrypt is from 10 to {_BCRYPT_MOST}")
    if len(password) > BCRYPT_LONGEST:
        raise ValueError(f"bcrypt takes passwords of {BCRYPT_LONGEST} bytes at most; scrypt takes longer ones")
    return bcrypt.hashpw(password, bcrypt.gensalt(cost))


def _make_scrypt(password: bytes, cost: int | None) -> bytes:
    cost = SCRYPT_COST if cost is None else cost
    if not 14 <= cost <= 17:
        raise ValueError("the cost of scrypt is from 14 to 17")
    r, p = _SCRYPT_NEW
    made = _Scrypt(1 << cost, r, p, secrets.token_bytes(16), bytes(32))
    return b"$scrypt$ln=%d,r=%d,p=%d$%b$%b" % (cost, r, p, _unpadded(made.salt), _unpadded(_scrypt(password, made)))


_MAKERS: Final[dict[str, Callable[[bytes, int | None], bytes]]] = {"bcrypt": _make_bcrypt, "scrypt": _make_scrypt}


def _read_scrypt(text: bytes) -> _Scrypt | None:
    match = _SCRYPT.fullmatch(text)
    if match is None or int(match[1]) > 24:
        return None
    salt, hashed = _decoded(match[4]), _decoded(match[5])
    if salt is None or hashed is None:
        return None
    return _Scrypt(1 << int(match[1]), int(match[2]), int(match[3]), salt, hashed)


def _scrypt(password: bytes, made: _Scrypt) -> bytes:
    most = made.memory + 1024 * 1024
    return hashlib.scrypt(password, salt=made.salt, n=made.n, r=made.r, p=made.p, maxmem=most, dklen=len(made.hash))


def _unpadded(value: bytes) -> bytes:
    return base64.b64encode(value).rstrip(b"=")


def _decoded(text: bytes) -> bytes | None:
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        return None

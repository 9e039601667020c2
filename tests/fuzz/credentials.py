"""Values of Proxy-Authorization, valid or nearly, and what holds for all of them (see `check_credentials`)."""

from __future__ import annotations

import base64
import re
from random import Random

from tests.fuzz.messages import Oddity
from tests.fuzz.reading import Reading
from twistedproxy.errors import CredentialsRefused
from twistedproxy.http.credentials import LONGEST_PASSWORD, BasicCredentials, parse_credentials
from twistedproxy.http.digest import DigestResponse, digest_of, hash_of_name

SECRET = b"Tr0ub4dor"
"""A part of all passwords, which no error may tell."""

NAMES = (b"ann", b"a b", "ü".encode(), b"ann@example.org")
ODD_NAMES = (b"", b"\xff", b"a\0", b"a\n", b"a:b", b"\x7f")
PASSWORDS = (SECRET, SECRET + b":x", "ü".encode() + SECRET, b"")
ODD_PASSWORDS = (SECRET + b"\r\n", b"\0" + SECRET, SECRET * 200, b"\xff" + SECRET)
SCHEMES = (b"Basic ", b"basic  ", b"Digest ", b"DIGEST ", b"Digest ")
ODD_SCHEMES = (b"Basic", b"Bearer ", b" Basic ", b"Basic\t", b"", b"Digest,")

PARAMETERS = {
    b"realm": (b'"proxy"', b"proxy"),
    b"nonce": (b'"bm9uY2U="', b'"a\\"b"'),
    b"uri": (b'"http://origin.example/"', b'"/"', b'"origin.example:443"'),
    b"response": (b'"%b"' % (b"0123456789abcdef" * 4), b"%b" % (b"0123456789ABCDEF" * 4)),
    b"cnonce": (b'"client"', b'""'),
    b"nc": (b"00000001", b"ffffffff"),
    b"qop": (b"auth", b'"auth"'),
    b"algorithm": (b"SHA-256", b'"sha-256"'),
}
OPTIONAL = (
    b'username="ann"',
    b'username="ann"',
    b'username="\xc3\xbc\\"\\\\"',
    b"username*=UTF-8''%c3%bcber",
    b"username*=utf-8'en'a%2Cb",
    b'userhash=true, username="%b"' % (b"0123456789abcdef" * 4),
)
ODD_PARAMETERS = (
    *(
        b"username",
        b'username="ann',
        b'username="a\\',
        b"username*=UTF-8''%c3",
        b"username*=UTF-8''%00",
        b"userhash=maybe",
    ),
    *(
        b"nc=1",
        b"nc=0000000g",
        b"qop=auth-int",
        b"algorithm=MD5",
        b"response=00",
        b'realm="\n"',
        b"=x",
        b"a=b=c",
        b"a b=c",
    ),
    *(b"nc=00000002", b"opaque=", b", ,", b"x=" + b"y" * 9000, b",".join(b"p%d=1" % number for number in range(40))),
)

SPLICES = (
    *(b" ", b"\t", b",", b"=", b'"', b"\\", b":", b"%", b"%00", b"'", b"\0", b"\n", b"\xff", b"*", b"=="),
    *(
        b"Basic ",
        b"Digest ",
        b'username="ann"',
        b"username*=UTF-8''a",
        b"userhash=true",
        b", ",
        b"OnA=",
        b"nc=00000001",
    ),
)


def credentials(random: Random) -> bytes:
    """One value."""
    oddity = Oddity(random, random.choice((0, 0, 1, 2)))
    scheme = oddity.one(SCHEMES, ODD_SCHEMES)
    if scheme[:1] in b"Bb":
        token = base64.b64encode(oddity.one(NAMES, ODD_NAMES) + b":" + oddity.one(PASSWORDS, ODD_PASSWORDS))
        return scheme + oddity.one((token,), (token[:-1], token + b"=", token[:4] + b"\n" + token[4:], b"!" + token))
    parts = [b"%b%b%b" % (name, _sign(random), random.choice(values)) for name, values in PARAMETERS.items()]
    parts += [random.choice(OPTIONAL)]
    if oddity.left and random.randrange(3) == 0:
        oddity.left -= 1
        parts.append(random.choice(ODD_PARAMETERS))
    if oddity.left and random.randrange(6) == 0:
        parts.pop(random.randrange(len(parts)))
    random.shuffle(parts)
    return scheme + random.choice((b", ", b",", b" ,\t", b",,")).join(parts)


def _sign(random: Random) -> bytes:
    return b" = " if random.randrange(16) == 0 else b"="


def credentials_reading(data: bytes) -> Reading:
    """What is made of a value, in the form that the fuzzer looks at."""
    try:
        found = parse_credentials(data)
    except CredentialsRefused as error:
        return Reading(error=error)
    if isinstance(found, BasicCredentials):
        return Reading(closed=f"basic {found.name.isascii()} {not found.password}")
    return Reading(closed=f"digest {bool(found.name)} {bool(found.name_hash)}")


def check_credentials(data: bytes, random: Random) -> None:
    """Raises `AssertionError` when

    * anything but `CredentialsRefused` comes out, or its text has the password or what is no text;
    * a name or a password is out of bounds, or has a control character;
    * credentials that are written down again, in whatever spelling, are other ones;
    * the proof of a Digest depends on nothing but the password.
    """
    try:
        found = parse_credentials(data)
    except CredentialsRefused as error:
        why = error.detail
        found = None
    if found is None:
        assert SECRET.decode() not in why
        assert why.isascii()
        assert why.isprintable()
    elif isinstance(found, BasicCredentials):
        _check_basic(found, random)
    else:
        _check_digest(found, random)


def _check_basic(found: BasicCredentials, random: Random) -> None:
    assert found.name
    assert b":" not in found.name
    assert len(found.password) <= LONGEST_PASSWORD
    assert not re.search(rb"[\x00-\x1f\x7f]", found.name + found.password)
    found.name.decode("utf-8")
    token = base64.b64encode(b"%b:%b" % found)
    spelled = b"%b%b%b" % (random.choice((b"Basic", b"BASIC", b"basic")), b" " * random.randint(1, 3), token)
    assert parse_credentials(spelled) == found


def _check_digest(found: DigestResponse, random: Random) -> None:
    assert bool(found.name) != bool(found.name_hash)
    assert not re.search(rb"[\x00-\x1f\x7f]", found.name)
    assert found.number == int(found.count, 16) < 1 << 32
    found.name.decode("utf-8")
    again = parse_credentials(_written(found, random))
    assert isinstance(again, DigestResponse)
    assert _described(again) == _described(found)
    assert not found.proves(digest_of(b"somebody", b"proxy", SECRET))
    if found.name_hash:
        assert found.name_hash != hash_of_name(b"somebody", b"proxy")


def _described(found: DigestResponse) -> tuple[object, ...]:
    return tuple(getattr(found, name) for name in DigestResponse.__slots__)


def _written(found: DigestResponse, random: Random) -> bytes:
    if found.name_hash:
        name = b"userhash=true, username=" + found.name_hash
    elif random.randrange(2):
        name = b"username*=UTF-8''" + b"".join(b"%%%02x" % one for one in found.name)
    else:
        name = b"username=" + _quoted(found.name, random)
    texts = {
        b"realm": found.realm,
        b"nonce": found.nonce,
        b"uri": found.uri,
        b"response": found.response,
        b"cnonce": found.client_nonce,
        b"nc": found.count,
        b"qop": b"auth",
        b"algorithm": b"SHA-256",
    }
    parts = [name, *(b"%b=%b" % (key, _quoted(text, random)) for key, text in texts.items())]
    random.shuffle(parts)
    return b"Digest " + b",".join(parts)


def _quoted(text: bytes, random: Random) -> bytes:
    needed = rb'["\\]' if random.randrange(2) else rb"[\x20-\x7e]"
    return b'"%b"' % re.sub(needed, lambda match: b"\\" + match[0], text)

"""Search filters and distinguished names, valid or nearly, with hostile values for their places, and what holds for
them (see `check_filter` and `check_name`)."""

from __future__ import annotations

import re
from random import Random
from typing import Any

from tests.fuzz.directories import parts_of
from tests.fuzz.messages import Oddity
from tests.fuzz.reading import Reading
from twistedproxy.accounts.ldap.filters import DEEPEST, Filter, FilterError
from twistedproxy.accounts.ldap.names import escaped, first_value
from twistedproxy.errors import RequestError

ATTRIBUTES = (b"uid", b"memberOf", b"cn;lang-en", b"2.5.4.3")
ODD_ATTRIBUTES = (b"", b"a b", b"-", b"\xc3\xa9", b":", b"{name}", b"u*d", b"\\75id")
ORDERS = (b"=", b"=", b"=", b">=", b"<=", b"~=", b":=", b":dn:=", b":2.5.13.2:=", b":dn:2.5.13.2:=")
ODD_ORDERS = (b"", b"==", b">", b"=>", b"::=", b":dn:dn:=", b":dn", b"!=", b" =")
VALUES = (
    b"{name}",
    b"{dn}",
    b"person",
    b"a*",
    b"*",
    b"*a*b*",
    b"x{name}*{dn}",
    b"\\2a\\28",
    b"\xc3\xbc",
    b"",
    b"{name}{name}",
)
ODD_VALUES = (
    b"\\2",
    b"\\xx",
    b"\\",
    b"{",
    b"}",
    b"{other}",
    b"{name",
    b"(",
    b")",
    b"**",
    b"\0",
    b"\n",
    b"{{name}}",
    b"\xff",
)

FILTER_SPLICES = (
    *(
        b"(",
        b")",
        b"()",
        b"(&",
        b"(|",
        b"(!",
        b"*",
        b"=",
        b":=",
        b"\\",
        b"\\2a",
        b"{name}",
        b"{dn}",
        b"{",
        b"}",
        b":dn",
    ),
    *(b"(uid={name})", b"(&" * 25, b")" * 25, b"\0", b"\xc3\xa9", b"\xff"),
)

TYPES = (b"cn", b"CN", b"2.5.4.3", b"uid")
ODD_TYPES = (b"", b"c n", b"1_", b"\xc3\xa9")
CHARACTERS = (
    b"a",
    b"B",
    b"7",
    b" ",
    b"\xc3\xbc",
    b"\\,",
    b"\\ ",
    b"\\\\",
    b"\\#",
    b"\\2c",
    b"\\5c",
    b"\\C3\\BC",
    b"=",
    b"#",
    b"-",
)
ODD_CHARACTERS = (b"\\", b"\\x", b'"', b"\\00", b"\0", b"\n", b"\\ff", b"<", b"\xff")

NAME_SPLICES = (
    *(
        b"\\",
        b"\\\\",
        b"\\ ",
        b" ",
        b"\\2",
        b"\\2c",
        b",",
        b"+",
        b";",
        b"=",
        b"#",
        b'"',
        b"cn=",
        b"\0",
        b"\xc3\xbc",
        b"\xff",
    ),
    *(b"\\\\ ", b" ,", b"= ", b"\\,", b"\\=", b"\n"),
)

HOSTILE = (
    *(b"*", b"*)(uid=*", b"\\2a", b"{dn}", b"{name}", b"(", b")", b"\0", b"ann", b"\\", b"a)(|(objectClass=*", b"\xff"),
    *("ü".encode(), b"x" * 130, b"\xa3\3\4\1a", b",ou=x", b"\\,", b" "),
)

Tree = tuple[Any, ...]


# ---------------------------------------------------------------- filters


def filter_text(random: Random) -> bytes:
    """One filter."""
    return _filter(random, Oddity(random, random.choice((0, 0, 1, 2))), 0)


def _filter(random: Random, oddity: Oddity, depth: int) -> bytes:
    kind = random.randrange(8)
    if kind == 0 and depth == 0 and random.randrange(4) == 0:
        deep = random.choice((DEEPEST - 1, DEEPEST, DEEPEST + 1))
        return b"(!" * deep + b"(a=b)" + b")" * deep
    if kind < 3 and depth < 5:
        sign = oddity.one((b"&", b"|"), (b"!", b"", b"&&"))
        return b"(%b%b)" % (sign, b"".join(_filter(random, oddity, depth + 1) for _ in range(random.randrange(4))))
    if kind == 3 and depth < 5:
        return b"(!%b)" % _filter(random, oddity, depth + 1)
    item = oddity.one(ATTRIBUTES, ODD_ATTRIBUTES) + oddity.one(ORDERS, ODD_ORDERS) + oddity.one(VALUES, ODD_VALUES)
    return oddity.one((b"(%b)" % item,), (item, b"(%b" % item, b" (%b)" % item, b"((%b))" % item))


def filter_reading(data: bytes) -> Reading:
    """What is made of a filter, in the form that the fuzzer looks at."""
    try:
        encoded = Filter(_text(data)).encoded(_marks(_text(data)))
    except FilterError as error:
        return Reading(error=RequestError(str(error)[:33]))
    return Reading(closed=str(encoded[:1]))


def check_filter(data: bytes, random: Random) -> None:
    """Raises `AssertionError` when

    * anything but a `FilterError` comes out, or a filter of more levels than there may be;
    * what is sent is no filter of RFC 4511, read here, or grows beyond what went in;
    * a value, whatever it is, changes anything but the places that it is for;
    * a filter that is written down with everything escaped, and read again, is another one.
    """
    try:
        found = Filter(_text(data))
    except FilterError:
        return
    marks = _marks(_text(data))
    tree = tree_of(found.encoded(marks))
    values = {place: b"".join(random.choices(HOSTILE, k=random.randint(1, 3))) for place in marks}
    encoded = found.encoded(values)
    assert tree_of(encoded) == _filled(tree, {mark: values[place] for place, mark in marks.items()})
    assert len(encoded) <= 20 * len(data) + data.count(b"{") * max(map(len, values.values()), default=0)
    text = _written(tree_of(encoded))
    assert Filter(text).encoded({}) == encoded


def tree_of(encoded: bytes) -> Tree:
    """A filter as RFC 4511 section 4.5.1.7 has it, by its tags and strings."""
    [(tag, content)] = parts_of(encoded) or []
    return _node(tag, content, 0)


def _node(tag: int, content: bytes, depth: int) -> Tree:
    assert depth <= DEEPEST
    if tag == 0x87:
        return (tag, content)
    parts = parts_of(content)
    assert parts is not None
    tags = [one for one, _ in parts]
    if tag in (0xA0, 0xA1, 0xA2):
        assert tag != 0xA2 or len(parts) == 1
        return (tag, *(_node(*part, depth + 1) for part in parts))
    if tag in (0xA3, 0xA5, 0xA6, 0xA8):
        assert tags == [4, 4]
    elif tag == 0xA4:
        assert tags == [4, 0x30]
        pieces = parts_of(parts[1][1])
        assert pieces
        assert re.fullmatch(rb"\x80?\x81*\x82?", bytes(one for one, _ in pieces))
        return (tag, parts[0], *pieces)
    else:
        assert tag == 0xA9
        assert re.fullmatch(rb"(?:\x81|\x82|\x81\x82)\x83\x84?", bytes(tags))
    return (tag, *parts)


def _marks(text: str) -> dict[str, bytes]:
    """For each place of a filter what stands there for a value, and nowhere else in what is sent."""
    places = re.findall(r"\{[a-z]+\}", text)
    return {place: b"\0\xfe%d\xfe\0" % number for number, place in enumerate(dict.fromkeys(places))}


def _filled(tree: object, values: dict[bytes, bytes]) -> object:
    if isinstance(tree, tuple):
        return tuple(_filled(one, values) for one in tree)
    if isinstance(tree, bytes) and values:
        # In one go: a value may have the mark of another.
        return re.sub(b"|".join(map(re.escape, values)), lambda match: values[match[0]], tree)
    return tree


def _written(tree: Tree) -> str:
    """The filter in the notation of RFC 4515."""
    tag, *parts = tree
    if tag in (0xA0, 0xA1, 0xA2):
        return f"({ {0xA0: '&', 0xA1: '|', 0xA2: '!'}[tag] }{''.join(map(_written, parts))})"
    if tag == 0x87:
        return f"({str(parts[0], 'ascii')}=*)"
    strings: dict[int, bytes] = dict(parts)
    if tag == 0xA9:
        rule, attribute = (strings.get(one, b"").decode("ascii") for one in (0x81, 0x82))
        middle = (":dn" if 0x84 in strings else "") + (f":{rule}" if rule else "")
        return f"({attribute}{middle}:={_hex(strings[0x83])})"
    attribute = str(parts[0][1], "ascii")
    if tag == 0xA4:
        first, last = _hex(strings.get(0x80, b"")), _hex(strings.get(0x82, b""))
        between = [_hex(value) for kind, value in parts[1:] if kind == 0x81]
        return f"({attribute}={'*'.join([first, *between, last])})"
    sign = {0xA3: "=", 0xA5: ">=", 0xA6: "<=", 0xA8: "~="}[tag]
    return f"({attribute}{sign}{_hex(parts[1][1])})"


def _hex(value: bytes) -> str:
    return "".join(f"\\{one:02x}" for one in value)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


# ---------------------------------------------------------------- names


def distinguished_name(random: Random, oddities: int = 2) -> bytes:
    """One name, of a few parts."""
    oddity = Oddity(random, oddities)
    parts = []
    for _ in range(random.choice((1, 1, 2, 3))):
        value = b"".join(oddity.one(CHARACTERS, ODD_CHARACTERS) for _ in range(random.randrange(6)))
        sign = random.choice((b"=", b"=", b"= ", b" = "))
        parts.append(oddity.one(TYPES, ODD_TYPES) + sign + value + random.choice((b"", b"", b" ")))
    return random.choice((b",", b",", b"+", b", ")).join(parts)


def name_reading(data: bytes) -> Reading:
    """What is made of a name, in the form that the fuzzer looks at."""
    value = first_value(_text(data))
    return Reading(closed=f"{min(len(value), 4)} {value.isalnum()} {value.isascii()} {first_of(_text(data)) is None}")


def check_name(data: bytes, random: Random) -> None:
    """Raises `AssertionError` when

    * anything comes out of a name as an error, or more than went in;
    * the first value of a name of RFC 4514 is other than one finds that reads it character by character, here;
    * a value that is put into a name, of whatever text, is not that one value again, with the name's other parts
      after it.
    """
    text = _text(data)
    found = first_value(text)
    assert len(found) <= len(text)
    expected = first_of(text)
    if expected is not None:
        assert found == expected[0]
    put_in = escaped(text)
    assert re.fullmatch(r"(?:[A-Za-z0-9]|\\[0-9a-f]{2})*", put_in)
    assert first_of(f"uid={put_in},ou=people") == (text, "ou=people")
    assert first_value(f"uid={put_in},ou=people") == text
    # However it is escaped.
    assert first_value(f"uid={_escaped_somehow(text, random)},ou=people") == text


def first_of(dn: str) -> tuple[str, str] | None:
    """The first value of a name and what comes after it; None when it is none of RFC 4514 section 3.

    Spaces around the sign of equality and the value are let through, as in RFC 2253.
    """
    kind, sign, rest = dn.partition("=")
    if not sign or not re.fullmatch(r"[A-Za-z0-9.-]+ *", kind):
        return None
    rest = rest.lstrip(" ")
    value = b""
    # So many bytes of it are there for certain: spaces after them may be none of the value.
    certain = 0
    position = 0
    while position < len(rest):
        one = rest[position]
        if one == "\\":
            pair = rest[position + 1 : position + 3]
            if re.fullmatch("[0-9A-Fa-f]{2}", pair, re.ASCII):
                value += bytes.fromhex(pair)
                position += 3
            elif pair[:1] and pair[0] in ' "#+,;<=>\\':
                value += pair[0].encode()
                position += 2
            else:
                return None
            certain = len(value)
            continue
        if one in ",+;":
            break
        if one in '"<>\0' or (one == "#" and not position):
            return None
        value += one.encode()
        certain = len(value) if one != " " else certain
        position += 1
    return value[:certain].decode("utf-8", "replace"), rest[position + 1 :]


def _escaped_somehow(text: str, random: Random) -> str:
    parts = []
    last = len(text) - 1
    for position, one in enumerate(text):
        special = one in '"+,;<>\\' or (one in " #" and position in (0, last))
        if one == "\0" or random.randrange(4) == 0:
            parts.append(_hex(one.encode()))
        elif special or (one in " #=" and random.randrange(2)):
            parts.append(f"\\{one}")
        else:
            parts.append(one)
    return "".join(parts)

"""The compact set of names, against plain Python sets."""

from __future__ import annotations

from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.access.blocklists.table import (
    BELOW,
    PASS_BELOW,
    PASS_SELF,
    SELF,
    Table,
    is_prime,
    random_prime,
)

PRIME = 576460752303423433
LABELS = st.sampled_from([b"a", b"b", b"cc", b"com", b"x-1"])
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(b".".join)


def test_primes() -> None:
    prime = random_prime()
    assert prime.bit_length() == 59
    assert is_prime(prime)
    assert is_prime(PRIME)
    assert [number for number in range(60) if is_prime(number)] == [
        *(2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59)
    ]
    # Strong pseudoprimes to the bases 2, 3, 5 and 7, and a Carmichael number.
    assert not any(map(is_prime, (3215031751, 3825123056546413051, 561)))


@given(st.lists(st.tuples(NAMES, st.integers(1, 15)), max_size=60), NAMES)
def test_it_agrees_with_sets(entries: list[tuple[bytes, int]], asked: bytes) -> None:
    table = Table(PRIME)
    known: dict[bytes, int] = {}
    for name, flags in entries:
        if b"." in name:
            table.add([name], flags)
        else:
            table.add_top(name, flags)
        known[name] = known.get(name, 0) | flags
    assert table.count == len(known)
    labels = asked.split(b".")
    endings = [b".".join(labels[start:]) for start in range(len(labels))]

    def shortest(of_itself: int, below: int) -> int:
        for ending in reversed(endings):
            if known.get(ending, 0) & (of_itself if ending == asked else below):
                return len(asked) - len(ending)
        return -1

    assert table.has_exceptions is any(flags & (PASS_SELF | PASS_BELOW) for flags in known.values())
    assert table.look_up(asked) == (shortest(SELF, BELOW), shortest(PASS_SELF, PASS_BELOW))
    endings = endings[:1]
    assert table.look_up(asked, below=False) == (shortest(SELF, BELOW), shortest(PASS_SELF, PASS_BELOW))
    words = memoryview(bytes(table.buffer)).cast("Q")
    for more in (False, True):
        copy = Table.over(
            words,
            bytes(table.tails),
            table.count,
            PRIME,
            has_tops=table.has_tops or more,
            has_exceptions=table.has_exceptions or more,
        )
        assert copy.look_up(asked) == table.look_up(asked)


@pytest.mark.parametrize("form", [b"n%d.example", b"a.n%d.example", b"n%d.b.a.example"])
def test_it_grows_and_stays_half_empty(form: bytes) -> None:
    table = Table(PRIME)
    names = [form % number for number in range(5000)]
    table.add(names, SELF | BELOW)
    assert table.count == 5000
    assert len(table.words) == 8192
    assert all(table.look_up(name) == (0, -1) for name in names)
    assert all(table.look_up(b"www." + name) == (4, -1) for name in names)
    assert repr(table) == "<Table 5000 names in 65536 bytes>"
    assert len(Table(PRIME, 5000).words) == 8192


def test_a_name_that_is_too_long_has_no_endings() -> None:
    table = Table(PRIME)
    table.add([b"a.a"], SELF | BELOW)
    assert table.look_up(b"a." * 127 + b"a") == (252, -1)
    assert table.look_up(b"a." * 128 + b"a") == (-1, -1)


@pytest.mark.parametrize("form", [b"n%d.t", b"%d.b", b"a%d.test", b"x.%d.example-of-a-longer-name.test"])
def test_names_that_resemble_each_other_are_far_apart(form: bytes) -> None:
    """Few have to look further than a few words for their place, also where all end in the same bytes."""
    table = Table(random_prime())
    table.add([form % number for number in range(5000)], SELF)
    mask = len(table.words) - 1
    away = [(place - (word >> 4) ** 2 % 1_073_741_789) & mask for place, word in enumerate(table.words) if word]
    assert sum(away) / len(away) < 3
    assert max(away) < 200


@pytest.mark.parametrize(("words", "count"), [(100, 1), (256, 161), (0, 0), (128, 0)])
def test_what_is_no_table(words: int, count: int) -> None:
    with pytest.raises(ValueError, match=f"a table of {words} words with {count} names"):
        Table.over(array("Q", bytes(8 * words)), bytes(words), count, PRIME)


def test_tails_belong_to_the_words() -> None:
    with pytest.raises(ValueError, match="a table of 256 words with 1 names"):
        Table.over(array("Q", bytes(8 * 256)), bytes(255), 1, PRIME)


def test_hosts_whose_last_labels_nobody_has_are_told_at_once() -> None:
    """Of which a sixth at most is looked for in the words all the same."""
    table = Table(random_prime(), 5000)
    table.add([b"n%d.site%d.test" % (number, number) for number in range(5000)], SELF | BELOW)
    table.words = ()
    at_once = 0
    for number in range(2000):
        try:
            assert table.look_up(b"www.other%d.test" % number) == (-1, -1)
        except IndexError:
            continue
        at_once += 1
    assert at_once > 2000 * 5 / 6
    with pytest.raises(IndexError):
        table.look_up(b"www.site7.test")


class Words(list[int]):
    """Counts how many are read."""

    read = 0

    def __getitem__(self, place: Any) -> Any:
        self.read += 1
        return super().__getitem__(place)


@pytest.mark.parametrize(
    ("asked", "found", "read"),
    [
        (b"www.a.example", 4, 1),
        (b"x.www.a.example", 6, 1),
        (b"ads.b.example", 0, 1),
        (b"www.ads.b.example", 4, 1),
        (b"www.b.example", -1, 1),
        (b"b.example", -1, 1),
    ],
)
def test_two_labels_that_are_no_entry_are_not_looked_for(asked: bytes, found: int, read: int) -> None:
    table = Table(PRIME, 1 << 20)
    table.add([b"a.example", b"ads.b.example"], SELF | BELOW)
    words = Words(table.words)
    table.words = words
    assert table.look_up(asked) == (found, -1)
    assert words.read == read

"""Images: what is compiled is what is read, and nothing else is."""

from __future__ import annotations

import pytest

from twistedproxy.access.blocklists.image import Compilation, Image, NoImage, compile_list
from twistedproxy.access.blocklists.report import Report

PRIME = 576460752303423433
CONTENT = b"a.example\na.example\n||b.example/ads\n/track/\nno list\n"


def made(content: bytes = CONTENT) -> bytes:
    _, pieces = compile_list([content], format="auto", subdomains=True, prime=PRIME, source="here")
    return b"".join(pieces)


def test_what_was_compiled_is_there() -> None:
    image = Image(made(), PRIME)
    assert image.table.look_up(b"x.a.example") == (2, -1)
    assert image.table.look_up(b"b.example") == (-1, -1)
    assert image.paths.look_up("b.example", "http", "/ads")[0] is not None
    assert image.regexes.look_up("http://x/track") == "track"
    assert image.source == "here"
    assert (image.report.names, image.report.rules, image.report.bad) == (1, 2, 1)
    assert image.size == len(made())
    assert repr(image) == "<Image <Table 1 names in 2048 bytes> <Paths of 1 hosts> <Regexes 1>>"


def test_a_million_names_take_eighteen_megabytes() -> None:
    # The table is as large for a tenth, so that the test need not make all of them.
    compilation = Compilation(PRIME, 10**6)
    compilation.add_names((b"n%d.example" % number for number in range(1000)), 3)
    assert repr(compilation) == "<Compilation <Table 1000 names in 16777216 bytes>>"
    _, words, tails, _ = compilation.pieces("", Report())
    assert len(words) + len(tails) == 18 << 20


def test_names_without_a_dot_are_looked_for_where_there_are_any() -> None:
    assert Image(made(b".zip\na.example"), PRIME).table.look_up(b"a.zip") == (2, -1)
    assert [Image(made(content), PRIME).table.has_tops for content in (b".zip", b"a.zip\n::1")] == [True, False]


@pytest.mark.parametrize("cut", [0, 10, 100, 4096, 5000, -1])
def test_a_part_is_no_image(cut: int) -> None:
    with pytest.raises(NoImage):
        Image(made()[:cut], PRIME)


@pytest.mark.parametrize("place", [0, 20, 25, 33, 41, 49, 57, 61, 4096, -1])
def test_a_damaged_one_is_none(place: int) -> None:
    content = bytearray(made())
    content[place] ^= 1
    with pytest.raises(NoImage):
        Image(bytes(content), PRIME)


def test_exceptions_are_looked_for_where_there_are_any() -> None:
    contents = (b"a.example\n@@||ok.a.example^", b"a.example")
    assert [Image(made(content), PRIME).table.has_exceptions for content in contents] == [True, False]
    assert Image(made(contents[0]), PRIME).table.look_up(b"x.ok.a.example") == (5, 2)


def test_one_of_an_earlier_layout_is_none() -> None:
    content = made()
    assert content.startswith(b"pyproxy blocklist 3\n")
    with pytest.raises(NoImage, match="another kind"):
        Image(content.replace(b"blocklist 3", b"blocklist 2", 1), PRIME)


def test_names_hashed_otherwise_are_of_no_use() -> None:
    with pytest.raises(NoImage, match="another kind"):
        Image(made(), PRIME + 2)

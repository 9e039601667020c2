"""Who gets HTML."""

from __future__ import annotations

import pytest

from twistedproxy.http.accept import accepts_html
from twistedproxy.http.message import Fields, RequestHead


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ([], False),
        ([b"*/*"], False),
        ([b"text/*"], False),
        ([b"text/html"], True),
        ([b"Text/HTML ; q=0.5, */*"], True),
        ([b"application/xhtml+xml"], True),
        ([b"image/png", b"text/html;q=0.001"], True),
        ([b"text/html;q=0"], False),
        ([b"text/html; q=0.000"], False),
        ([b"text/htmlx"], False),
        ([b"text/plain;x=text/html"], False),
    ],
)
def test_html_is_for_those_who_take_it(accept: list[bytes], expected: bool) -> None:
    """RFC 9110 section 12.5.1."""
    assert accepts_html(RequestHead(b"GET", b"/", 1, Fields((b"Accept", value) for value in accept))) is expected


def test_html_is_not_for_those_who_are_not_known() -> None:
    assert accepts_html(None) is False

"""Accept-Language in short."""

from __future__ import annotations

import pytest

from twistedproxy.privacy.languages import first_language, primary_language


@pytest.mark.parametrize(
    ("came", "first", "primary"),
    [
        (b"de-CH,de;q=0.9,en;q=0.8", b"de-CH", b"de"),
        (b"fr;q=0.5, en-GB;q=0.9, en;q=0.8", b"en-GB", b"en"),
        (b"en", b"en", b"en"),
        (b"zh-Hant-TW , *;q=0.1", b"zh-Hant-TW", b"zh"),
        (b"*", b"*", b"*"),
        (b"de;q=0", b"*", b"*"),
        (b"", b"*", b"*"),
        (b"!!, de;q=x, it", b"it", b"it"),
        (b"rm ; Q=1.000, de", b"rm", b"rm"),
    ],
)
def test_reduced(came: bytes, first: bytes, primary: bytes) -> None:
    assert first_language(came) == first
    assert primary_language(came) == primary

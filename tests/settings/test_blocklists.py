"""The lists in the settings."""

from __future__ import annotations

import pytest

from twistedproxy.settings.blocklists import Blocklist, BlocklistsSettings
from twistedproxy.settings.load import SettingsError, load

TEXT = """\
[blocklists]
refresh = "6h"
max_size = "1MiB"

[[blocklists.lists]]
name = "ads"
source = "https://lists.example/ads.txt"
category = "advertising"
exceptions = [".ok.example"]

[[blocklists.lists]]
name = "good"
source = "/etc/good.txt"
allow = true
"""


def test_lists_are_tables() -> None:
    loaded = load(TEXT, "a.toml")
    assert loaded.settings.blocklists == BlocklistsSettings(
        lists=(
            Blocklist(
                name="ads",
                source="https://lists.example/ads.txt",
                category="advertising",
                exceptions=(".ok.example",),
            ),
            Blocklist(name="good", source="/etc/good.txt", allow=True),
        ),
        refresh=21600.0,
        max_size=1 << 20,
    )
    assert loaded.sources["blocklists.lists"] == "a.toml:5"


def test_each_has_a_name_of_its_own() -> None:
    with pytest.raises(SettingsError, match="a name of its own for each list"):
        load(TEXT.replace('"good"', '"ads"'), "a.toml")


def test_what_must_not_be_null() -> None:
    assert BlocklistsSettings().lists == ()
    with pytest.raises(SettingsError, match=r"blocklists\.refresh"):
        load('[blocklists]\nrefresh = "1s"', "a.toml")

"""The list of hosts that comes with the proxy."""

from __future__ import annotations

import pytest

from twistedproxy.access.hosts import HostSet
from twistedproxy.access.left_alone import BANKING, HEALTH, IDENTITY, LEFT_ALONE, UPDATES
from twistedproxy.settings.hosts import check_host


def test_every_entry_is_one() -> None:
    for entry in LEFT_ALONE:
        check_host(entry)
    assert len(set(LEFT_ALONE)) == len(LEFT_ALONE) == len(UPDATES) + len(BANKING) + len(HEALTH) + len(IDENTITY)
    assert "*" not in LEFT_ALONE


@pytest.mark.parametrize(
    "host",
    ["www.paypal.com", "au.download.windowsupdate.com", "onlinebanking.example", "www.nhs.uk", "accounts.google.com"],
)
def test_left_alone(host: str) -> None:
    assert host in HostSet(LEFT_ALONE)


@pytest.mark.parametrize("host", ["example.com", "www.google.com", "github.com", "microsoft.com", "nhs.uk.example"])
def test_not_left_alone(host: str) -> None:
    assert host not in HostSet(LEFT_ALONE)

"""What clients are told, by what the settings come to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.portal.samples import AUTHORITY, CERTIFICATE, SEEN
from twistedproxy.access.interception import LISTED, OFF
from twistedproxy.portal.facts import DOWNLOADS, Facts
from twistedproxy.portal.trust import SYSTEMS
from twistedproxy.tls.authority_files import CERTIFICATE_FILES


def test_files_are_those_of_the_authority() -> None:
    """By the names that they have in the state directory, and that the instructions have."""
    assert {one.file: one.format for one in DOWNLOADS} == CERTIFICATE_FILES
    assert {system.file for system in SYSTEMS.values()} <= {one.file for one in DOWNLOADS}
    assert [one.path for one in DOWNLOADS] == ["/ca.pem", "/ca.cer", "/ca.p12"]


def test_certificate() -> None:
    assert (AUTHORITY.subject, AUTHORITY.fingerprint, "2036-01-01") == CERTIFICATE


@pytest.mark.parametrize(
    ("facts", "first", "second"),
    [
        (SEEN, "It looks inside your connections with all sites but those that", "Of the others it sees the names"),
        (replace(SEEN, mode=LISTED), "It looks inside your connections with the sites that its operator", "Of the oth"),
        (replace(SEEN, mode=OFF, certificate=None), "It does not look inside: it sees", "You need no certificate"),
        (
            replace(SEEN, looked_at=False),
            "It does not look inside your connections (your address is 192.0.2.7)",
            "It d",
        ),
        (replace(SEEN, certificate=None), "It is to look inside your connections with all sites but", "Of the others"),
    ],
)
def test_what_it_sees(facts: Facts, first: str, second: str) -> None:
    said = facts.https
    assert (said[0][: len(first)], said[1][: len(second)]) == (first, second)


def test_the_certificate_is_not_asked_of_whom_it_is_not_for() -> None:
    assert replace(SEEN, looked_at=False).https[0].endswith("You need not trust its certificate.")


def test_variables() -> None:
    assert 'export http_proxy="http://192.0.2.1:8080"' in SEEN.variables
    assert any(line.endswith(" http://pyproxy.internal/ca.pem") for line in SEEN.variables)
    assert not any("ca.pem" in line for line in replace(SEEN, certificate=None).variables)
    assert list(replace(SEEN, proxy="").variables) == []

"""Paths in the settings."""

from __future__ import annotations

import pytest

from twistedproxy.settings.paths import check_credential, check_path, expand_credential
from twistedproxy.settings.problems import Unfit


@pytest.mark.parametrize("path", ["", "/a", "/a b/c.pem"])
def test_path(path: str) -> None:
    check_path(path)


@pytest.mark.parametrize("path", ["a", "/a/", "/a\n", "/a ", 3, None])
def test_no_path(path: object) -> None:
    with pytest.raises(Unfit):
        check_path(path)
    with pytest.raises(Unfit):
        check_credential(path)


def test_credential() -> None:
    check_credential("/a")
    check_credential("$CREDENTIALS_DIRECTORY/a.pem")
    with pytest.raises(Unfit, match="an absolute path"):
        check_credential("")
    with pytest.raises(Unfit):
        check_credential("$HOME/a.pem")


def test_expanded() -> None:
    environment = {"CREDENTIALS_DIRECTORY": "/run/credentials/pyproxy.service"}
    assert expand_credential("/a", environment) == "/a"
    assert expand_credential("$CREDENTIALS_DIRECTORY/a", environment) == "/run/credentials/pyproxy.service/a"
    with pytest.raises(Unfit, match="CREDENTIALS_DIRECTORY to be set"):
        expand_credential("$CREDENTIALS_DIRECTORY/a", {})

"""Paths of files, as the operator writes them; whether there is such a file is not looked at here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from twistedproxy.settings.problems import Unfit

CREDENTIALS_DIRECTORY: Final = "CREDENTIALS_DIRECTORY"
"""The variable in which systemd says where a service's credentials are."""

_CREDENTIALS: Final = f"${CREDENTIALS_DIRECTORY}/"


def check_path(value: object) -> None:
    """Accept an absolute path, or nothing; else `Unfit` says why not."""
    if not isinstance(value, str):
        raise Unfit
    if value and not value.startswith("/"):
        raise Unfit("an absolute path, or nothing")
    _check_form(value)


def check_credential(value: object) -> None:
    """Accept an absolute path, or one that begins with ``$CREDENTIALS_DIRECTORY/``; else `Unfit` says why not."""
    if not isinstance(value, str):
        raise Unfit('a path such as "/etc/ssl/internal.pem"')
    if not value.startswith(("/", _CREDENTIALS)):
        raise Unfit(f'an absolute path, or one that begins with "{_CREDENTIALS}"')
    _check_form(value)


def expand_credential(path: str, environment: Mapping[str, str]) -> str:
    """``path`` with the directory of systemd's credentials. `Unfit` where it is asked for, and systemd has set none."""
    if not path.startswith(_CREDENTIALS):
        return path
    directory = environment.get(CREDENTIALS_DIRECTORY)
    if not directory:
        raise Unfit(f"the variable {CREDENTIALS_DIRECTORY} to be set, as systemd does for LoadCredential=")
    return f"{directory}/{path.removeprefix(_CREDENTIALS)}"


def _check_form(value: str) -> None:
    if not value.isprintable() or value != value.rstrip():
        raise Unfit("a path of printable characters that does not end with a space")
    if value.endswith("/"):
        raise Unfit("a path that does not end with a slash")

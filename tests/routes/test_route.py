"""The routes, with the files that they name."""

from __future__ import annotations

from pathlib import Path

import pytest

from twistedproxy.routes.route import Route, Routes, RoutesError, faults
from twistedproxy.settings.parents import ParentAddress
from twistedproxy.settings.routes import RoutesSettings, RouteTable
from twistedproxy.settings.types import Settings


def of(*tables: RouteTable, default: str = "direct") -> RoutesSettings:
    return RoutesSettings(default=default, tables=tables, timeout=7.0, retry_after=9.0)


PLAIN = RouteTable(name="plain", parents=("http://a:1", "https://b:2"))


@pytest.fixture
def password(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_bytes(b"s:ecret\r\nmore\n")
    path.chmod(0o640)
    return path


def secret(path: Path | str, scheme: str = "socks5") -> RouteTable:
    return RouteTable(name="secret", parents=(f"{scheme}://c:3",), user="Ä", password_file=str(path))


def test_what_they_come_to(password: Path) -> None:
    routes = Routes.of(of(PLAIN, secret(password), default="plain"))
    assert routes is not None
    plain, other = routes
    assert plain == Route(
        "plain", (ParentAddress("http", "a", 1), ParentAddress("https", "b", 2)), timeout=7.0, retry_after=9.0
    )
    assert (plain.forwards, plain.authorization) == (True, b"")
    assert (other.forwards, other.user, other.password) == (False, b"\xc3\x84", b"s:ecret")
    assert other.authorization == b"Basic w4Q6czplY3JldA=="
    assert "s:ecret" not in repr(other)
    assert routes.taken("") is routes.taken("plain") is plain
    assert routes.taken("secret") is other
    assert routes.taken("direct") is None
    assert repr(routes) == "<Routes direct, plain, secret; by default plain>"


def test_there_are_none() -> None:
    assert Routes.of(of()) is None
    only = Routes.of(of(PLAIN))
    assert only is not None
    assert only.taken("") is None
    assert repr(only) == "<Routes direct, plain; by default direct>"


def test_systemd_has_the_password(password: Path) -> None:
    routes = Routes.of(of(secret("$CREDENTIALS_DIRECTORY/password")), {"CREDENTIALS_DIRECTORY": str(password.parent)})
    assert routes is not None
    assert [route.password for route in routes] == [b"s:ecret"]


@pytest.mark.parametrize(
    ("content", "mode", "why"),
    [
        (None, 0, "cannot be read: No such file or directory"),
        (b"secret\n", 0o644, "can be read by everybody: chmod o-rwx it"),
        (b"\nsecret\n", 0o600, "the first line of {path} is no password of 1 to 255 bytes"),
        (b"x" * 256, 0o600, "the first line of {path} is no password of 1 to 255 bytes"),
        (b"x\n" * 40_000, 0o600, "is larger than 65536 bytes"),
    ],
)
def test_what_is_wrong_with_a_file(tmp_path: Path, content: bytes | None, mode: int, why: str) -> None:
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)
    settings = of(PLAIN, secret(path))
    expected = why.format(path=path) if "{path}" in why else f"{path} {why}"
    with pytest.raises(RoutesError) as error:
        Routes.of(settings)
    assert str(error.value) == expected
    ((key, fault),) = faults(Settings(routes=settings))
    assert (key, fault.message, fault.entry, fault.within) == ("routes.tables", expected, 1, "password_file")


def test_systemd_has_none() -> None:
    with pytest.raises(RoutesError) as error:
        Routes.of(of(secret("$CREDENTIALS_DIRECTORY/password")), {})
    assert str(error.value) == (
        "expected the variable CREDENTIALS_DIRECTORY to be set, as systemd does for LoadCredential="
    )
    assert list(faults(Settings(routes=of(PLAIN)))) == []

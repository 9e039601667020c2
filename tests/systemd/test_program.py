"""What the units know of the interpreter and of the settings."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.systemd.recorded import PROGRAM
from twistedproxy.settings.load import load
from twistedproxy.systemd import program
from twistedproxy.systemd.layout import system_layout, user_layout
from twistedproxy.systemd.program import outermost, service_of, this_program
from twistedproxy.systemd.steps import InstallationError
from twistedproxy.systemd.units import Service

CONFIG = Path("/etc/twistedproxy/pyproxy.toml")


def service(text: str = "", **how: Any) -> Service:
    return service_of(load(text, "test").settings, PROGRAM, system_layout(), config=CONFIG, **how)


def test_this_program() -> None:
    found = this_program()
    assert found.twistd == Path(sys.executable).with_name("twistd")
    package = Path(program.__file__).parents[2]
    assert any(package.is_relative_to(directory) for directory in found.code)
    assert any(Path(sys.base_prefix).is_relative_to(directory) for directory in found.code)
    assert found.caches
    assert all(cache.parts[-3:] == ("twisted", "plugins", "dropin.cache") for cache in found.caches)


def test_interpreter_without_twistd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(InstallationError, match=f"there is no twistd beside {tmp_path}/python"):
        this_program()


def test_service_of_settings() -> None:
    made = service('[service]\ndrain_timeout = "2m"\n[downstream]\nlisten = ["tcp:80", "tcp6:81"]\n')
    assert made == Service(
        twistd="/opt/twistedproxy/bin/twistd",
        config=str(CONFIG),
        listen=("tcp:80", "tcp6:81"),
        drain=120.0,
        code=("/etc/twistedproxy", "/opt/twistedproxy"),
    )
    of_user = service_of(load("", "test").settings, PROGRAM, user_layout({"HOME": "/me"}), config=CONFIG)
    assert not of_user.system


@pytest.mark.parametrize(
    ("text", "writable"),
    [
        ('[log]\naccess = "/srv/logs/access.log"\nwebsocket = "/srv/secret/ws.log"', ("/srv/logs", "/srv/secret")),
        ("", ()),
        ('log.access = "off"', ()),
        ('log.access = "-"', ()),
        ('log.access = "/var/log/twistedproxy/access.log"', ()),
        ('log.access = "/srv/logs/access.log"', ("/srv/logs",)),
        ('downstream.listen = ["unix:/run/twistedproxy/a.sock", "unix:relative.sock"]', ()),
        ('downstream.listen = ["unix:/srv/logs/in/a.sock"]\nlog.access = "/srv/logs/access.log"', ("/srv/logs",)),
        ('downstream.listen = ["unix:/run/b/a.sock"]', ("/run/b",)),
    ],
)
def test_where_it_writes(text: str, writable: tuple[str, ...]) -> None:
    assert service(text).writable == writable


def test_sockets_of_systemd_are_not_written() -> None:
    made = service('downstream.listen = ["unix:/run/b/a.sock"]', socket_activation=True, credentials=[("a", "/b")])
    assert made.writable == ()
    assert made.socket_activation
    assert made.credentials == (("a", "/b"),)


def test_outermost() -> None:
    paths = map(Path, ("/a/b", "/a", "/ab", "/c/d", "/a"))
    assert outermost(paths) == (Path("/a"), Path("/ab"), Path("/c/d"))

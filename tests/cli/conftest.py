"""A control API on a Unix socket, and pyproxyctl to run against it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.api import API
from twistedproxy.cli.main import main


@dataclass(frozen=True)
class Ended:
    """A run that is over."""

    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[API]:
    """A server, at the socket that the environment names."""
    server = API(tmp_path / "control.sock")
    monkeypatch.setenv("PYPROXY_CONTROL_SOCKET", str(server.path))
    yield server
    server.close()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs pyproxyctl with arguments, in this process."""

    def run_with(*arguments: str) -> Ended:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        out, err = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return Ended(code, out, err)

    return run_with

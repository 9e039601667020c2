"""The recipe of the container's image, as far as it can be judged without building it."""

from __future__ import annotations

import configparser
import json
import re
from pathlib import Path

from twistedproxy.settings.keys import keys

ROOT = Path(__file__).parents[1]
STAGES = 2


def instructions() -> list[tuple[str, str]]:
    """Each instruction with its arguments, on one line."""
    text = re.sub(r"(?m)^#.*\n", "", (ROOT / "Containerfile").read_text())
    lines = text.replace("\\\n", "").splitlines()
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines if line)]


def all_of(instruction: str) -> list[str]:
    return [rest for word, rest in instructions() if word == instruction]


def the(instruction: str) -> str:
    (only,) = all_of(instruction)
    return only


def test_is_made_in_stages_from_a_supported_python() -> None:
    metadata = configparser.ConfigParser()
    metadata.read(ROOT / "setup.cfg")
    python = the("ARG").removeprefix("PYTHON=")
    assert f"Programming Language :: Python :: {python}" in metadata["metadata"]["classifiers"].splitlines()
    assert [base.split()[0] for base in all_of("FROM")] == ["python:${PYTHON}-slim"] * STAGES


def test_copies_what_is_there_and_not_ignored() -> None:
    sources = [name for line in all_of("COPY") if not line.startswith("--from=") for name in line.split()[:-1]]
    assert [name for name in sources if not (ROOT / name).exists()] == []
    kept = {line[1:] for line in (ROOT / ".containerignore").read_text().splitlines() if line.startswith("!")}
    assert set(sources) == kept


def test_runs_as_a_numbered_user_that_is_not_root() -> None:
    user, group = map(int, the("USER").split(":"))
    assert min(user, group) > 0
    # What it writes to is its own.
    owned = f"install -d -o {user} -g {group} -m 0750 "
    (directories,) = (line.partition(owned)[2].split() for line in all_of("RUN") if owned in line)
    assert directories == json.loads(the("VOLUME"))


def test_starts_and_is_stopped_without_a_shell() -> None:
    assert json.loads(the("ENTRYPOINT")) == ["twistd", "--nodaemon", "--pidfile=", "pyproxy"]
    assert json.loads(the("HEALTHCHECK").partition(" CMD ")[2]) == ["pyproxyctl", "health"]
    assert the("STOPSIGNAL") == "SIGTERM"


def test_says_where_it_listens_and_not_who_may_come() -> None:
    environment = dict(pair.split("=", 1) for pair in the("ENV").split())
    ours = {name: value for name, value in environment.items() if name.startswith("PYPROXY_")}
    assert ours == {"PYPROXY_DOWNSTREAM_LISTEN": f"tcp:{the('EXPOSE')}:interface=0.0.0.0"}
    assert {f"PYPROXY_{key.replace('.', '_').upper()}" for key in keys()} >= set(ours)
    assert environment["STATE_DIRECTORY"] == "/var/lib/twistedproxy"
    assert environment["RUNTIME_DIRECTORY"] == "/run/twistedproxy"

"""The process of a name server, and what a test tells it and asks of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

PROGRAM: Final = Path(__file__).with_name("name_server_program.py")

Answer = list[tuple[str, str, int]]
"""Records: type, value, and how long it holds in seconds."""


class LiveNameServer:
    """A running `name_server_program`."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        self._zone = directory / "zone.json"
        self._asked = directory / "asked.txt"
        self._names: dict[str, list[Answer]] = {}
        self.name()
        self._asked.touch()
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(self._zone), str(self._asked)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.address = f"127.0.0.1:{int(self._process.stdout.readline())}"

    def __repr__(self) -> str:
        return f"<LiveNameServer {self.address}>"

    def name(self, name: str = "", *answers: Answer) -> None:
        """Let ``name`` have these answers, in turn; without any there is no such name."""
        if answers:
            self._names[name] = list(answers)
        else:
            self._names.pop(name, None)
        written = self._zone.with_suffix(".new")
        written.write_text(json.dumps(self._names))
        written.replace(self._zone)

    def asked(self) -> list[str]:
        """Name and type of each question so far."""
        return self._asked.read_text().splitlines()

    def stop(self) -> None:
        """End the process."""
        self._process.communicate()
        assert self._process.returncode == 0

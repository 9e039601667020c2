"""A machine for installations: a directory in the place of its file system, and commands that are only written down."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from twistedproxy.systemd.installation import Wanted, installation
from twistedproxy.systemd.layout import Layout
from twistedproxy.systemd.program import Program
from twistedproxy.systemd.removal import removal
from twistedproxy.systemd.steps import RunCommand, take
from twistedproxy.systemd.units import Service

PROGRAM = Program(
    python=Path("/opt/twistedproxy/bin/python"),
    twistd=Path("/opt/twistedproxy/bin/twistd"),
    code=(Path("/opt/twistedproxy"),),
    caches=(Path("/opt/twistedproxy/dropin.cache"),),
)


class Commands:
    """Runs nothing. ``answers`` are the status and output of a command that begins with those words, ``missing`` are
    commands that there are not."""

    def __init__(self) -> None:
        self.run: list[str] = []
        self.answers: dict[str, tuple[int, str]] = {}
        self.missing: set[str] = set()

    def __repr__(self) -> str:
        return f"<Commands {self.run}>"

    def __call__(self, command: Sequence[str]) -> tuple[int, str]:
        if command[0] in self.missing:
            raise FileNotFoundError(2, "No such file or directory", command[0])
        line = " ".join(command)
        self.run.append(line)
        return next((answer for words, answer in self.answers.items() if line.startswith(words)), (0, ""))


class RecordedMachine:
    """Where installations are tried. ``said`` is what the operator would have read."""

    def __init__(self, root: Path, layout: Layout) -> None:
        self.root = root
        self.layout = layout
        self.commands = Commands()
        self.accounts: set[str] = set()
        self.said: list[str] = []
        self.systemd = True

    def __repr__(self) -> str:
        return f"<RecordedMachine {self.files()}>"

    def path(self, path: str | Path) -> Path:
        return self.root / Path(path).relative_to("/")

    def write(self, path: str | Path, content: str) -> None:
        self.path(path).parent.mkdir(parents=True, exist_ok=True)
        self.path(path).write_text(content)

    def read(self, path: str | Path) -> str:
        return self.path(path).read_text()

    def files(self) -> list[str]:
        """All that there is but directories with something in them."""
        leaves = (path for path in self.root.rglob("*") if not path.is_dir() or not any(path.iterdir()))
        return sorted("/" + str(path.relative_to(self.root)) for path in leaves)

    def wanted(
        self, *, says_access_log: bool = False, start: bool = True, config: str = "", activated: bool = False
    ) -> Wanted:
        service = Service(
            twistd=str(PROGRAM.twistd),
            config=config or str(self.layout.settings),
            system=self.layout.system,
            socket_activation=activated,
            listen=("tcp:8080:interface=127.0.0.1",),
        )
        return Wanted(
            layout=self.layout,
            service=service,
            program=PROGRAM,
            says_access_log=says_access_log,
            start=start,
            has_account=self.accounts.__contains__,
            root=self.root,
        )

    def install(
        self, *, says_access_log: bool = False, start: bool = True, config: str = "", activated: bool = False
    ) -> list[RunCommand]:
        wanted = self.wanted(says_access_log=says_access_log, start=start, config=config, activated=activated)
        steps = installation(wanted)
        left = take(steps, run=self.commands, say=self.said.append, root=self.root, systemd=self.systemd)
        if "systemd-sysusers" in " ".join(self.commands.run):
            self.accounts.add("pyproxy")
        return left

    def uninstall(self, *, purge: bool = False) -> None:
        steps = removal(self.layout, purge=purge, root=self.root)
        take(steps, run=self.commands, say=self.said.append, root=self.root, systemd=self.systemd)

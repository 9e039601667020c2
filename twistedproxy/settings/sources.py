"""Where the settings of a process come from: its file, the drop-ins beside that, its environment, its command line.

The drop-ins of ``pyproxy.toml`` are the files ``*.toml`` in ``pyproxy.d`` beside it, in the order of their names.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping

from twistedproxy.settings.keys import VARIABLES
from twistedproxy.settings.load import Check, Loaded, Merging
from twistedproxy.settings.problems import Problem, SettingsError
from twistedproxy.settings.syntax import MAX_SIZE

CANDIDATE = "candidate"
"""What messages call a text that is tried in the place of the settings file."""

_SUFFIX = ".toml"


class Sources:
    """The sources of a process, which `load` reads anew each time.

    ``path`` is the settings file. Where it is not ``needed`` it may be missing, until it has been read once: to fall
    back to the defaults would then let go of whatever it forbade. ``environment`` is the process's at its start, and
    ``overrides`` are pairs of a key path and a value. ``check`` has the last word.
    """

    def __init__(
        self,
        path: str,
        *,
        needed: bool,
        environment: Mapping[str, str],
        overrides: Iterable[tuple[str, str]] = (),
        check: Check = lambda settings: (),
    ) -> None:
        self.path = path
        self._needed = needed
        self._variables = {name: value for name, value in environment.items() if name.startswith(VARIABLES)}
        self._overrides = tuple(overrides)
        self._check = check

    def __repr__(self) -> str:
        return f"<Sources {self.path} variables={len(self._variables)} overrides={len(self._overrides)}>"

    @property
    def drop_ins(self) -> str:
        """The directory of the drop-ins, whether there is one or not."""
        return os.path.splitext(self.path)[0] + ".d"

    def load(self, candidate: str | None = None) -> Loaded:
        """Read everything and merge it; `SettingsError` with all that is wrong.

        A ``candidate`` is a text that stands in the place of the settings file's, which is then not read.
        """
        merging = Merging()
        if candidate is None:
            self._take_file(merging)
        else:
            merging.take_text(candidate, CANDIDATE)
        self._take_drop_ins(merging)
        merging.take_variables(self._variables)
        merging.take_overrides(self._overrides)
        return merging.loaded(self._check)

    def _take_file(self, merging: Merging) -> None:
        try:
            content = _content(self.path)
        except (FileNotFoundError, NotADirectoryError) as error:
            if self._needed:
                merging.take_nothing(_unreadable(self.path, error))
        except (OSError, ValueError) as error:
            merging.take_nothing(_unreadable(self.path, error))
        else:
            self._needed = True
            merging.take_text(content, self.path)

    def _take_drop_ins(self, merging: Merging) -> None:
        directory = self.drop_ins
        if directory == self.path:
            return
        try:
            names = sorted(os.listdir(directory))
        except ValueError:
            # No file can have such a name; the settings file cannot either.
            return
        except OSError as error:
            # A dangling link is there, and somebody meant it to lead to something.
            if os.path.lexists(directory) or not isinstance(error, FileNotFoundError | NotADirectoryError):
                merging.take_nothing(_unreadable(directory, error))
            return
        for name in names:
            path = os.path.join(directory, name)
            if name.endswith(_SUFFIX) and not name.startswith(".") and _may_be_file(path):
                try:
                    content = _content(path)
                except OSError as error:
                    merging.take_nothing(_unreadable(path, error))
                else:
                    merging.take_text(content, path)


def _may_be_file(path: str) -> bool:
    """Whether reading ``path`` gives its text, or says why not; a link to /dev/null takes a drop-in out of use."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return True


def _content(path: str) -> bytes:
    """What is in the file, up to one byte more than is allowed."""
    with open(path, "rb") as file:
        return file.read(MAX_SIZE + 1)


def _unreadable(path: str, error: Exception) -> SettingsError:
    reason = getattr(error, "strerror", None) or str(error)
    return SettingsError([Problem(path, f"cannot be read: {reason}")])

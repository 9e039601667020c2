"""The logs of one worker that tell of traffic: requests, and the messages of WebSockets.

They are opened as the settings say, go on over reloads, and are closed at the end.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from twistedproxy.data_plane import DataPlane
from twistedproxy.record.access_log import AccessLog, NoAccessLog
from twistedproxy.record.formats import AccessFormat, access_format
from twistedproxy.record.log_file import STANDARD_OUTPUT, LogFile
from twistedproxy.record.message_log import MessageLog
from twistedproxy.settings.log import NOWHERE, LogSettings
from twistedproxy.watching import MessageListener

NO_LOG: Final = "off"

_SECRET: Final = 0o600
"""The mode of a file with what people say: for the proxy's own account."""


class CannotLog(Exception):
    """A log cannot be opened. The text says which file, and why."""


class TrafficLogs:
    """The logs of ``plane``, of the worker of that number.

    ``default_access_log`` is where the access log goes when the settings do not say; ``standard_output`` is None for a
    daemon, which has none.
    """

    def __init__(
        self,
        reactor: Any,
        plane: DataPlane,
        number: int,
        *,
        default_access_log: str | Path,
        standard_output: LogFile | None,
    ) -> None:
        self._reactor = reactor
        self._plane = plane
        self._default_access_log = str(default_access_log)
        self._standard_output = standard_output
        self._access_log_path = ""
        self._messages_path = ""
        self._lost_before = 0
        self._messages = MessageLog(number, plane.wall)
        listener: MessageListener = self._messages
        plane.message_listeners += (listener,)

    def __repr__(self) -> str:
        return f"<TrafficLogs {self._plane.access_log!r} {self._messages!r}>"

    @property
    def lost_lines(self) -> int:
        """How many lines were never written."""
        return self._lost_before + self._plane.access_log.lost_lines + self._messages.lost_lines

    def open(self) -> None:
        """Open the logs that the settings in force name, or go on with those that are open, in their format.

        Raises `CannotLog`. A log that fails stays as it was, and the other is opened all the same.
        """
        complaints: list[str] = []
        for open_one in (self._open_access_log, self._open_message_log):
            try:
                open_one(self._plane.snapshot.settings.log)
            except CannotLog as error:
                complaints.append(str(error))
        if complaints:
            raise CannotLog("; ".join(complaints))

    def _open_access_log(self, settings: LogSettings) -> None:
        path = settings.access or self._default_access_log
        old = self._plane.access_log
        if path == self._access_log_path:
            if isinstance(old, AccessLog):
                old.format = self._format(settings)
            return
        file = access_log_file(settings, self._default_access_log, self._standard_output, self._reactor)
        new = NoAccessLog() if file is None else AccessLog(self._format(settings), file)
        self._plane.access_log = new
        if self._access_log_path != STANDARD_OUTPUT:
            old.close()
        # Closing may have lost some too.
        self._lost_before += old.lost_lines
        self._access_log_path = path

    def _format(self, settings: LogSettings) -> AccessFormat:
        return self._plane.snapshot.discretion.format(access_format(settings.format))

    def _open_message_log(self, settings: LogSettings) -> None:
        if settings.websocket != self._messages_path:
            self._messages.go_on_in(message_log_file(settings, self._standard_output, self._reactor))
            self._messages_path = settings.websocket

    def reopen(self) -> None:
        """Go on in new files, since the old ones have been moved away."""
        self._plane.access_log.reopen()
        self._messages.reopen()

    def close(self) -> None:
        """Write what waits, and close the files."""
        self._plane.access_log.close()
        self._messages.go_on_in(None)


def try_out(settings: LogSettings, default: str | Path, standard_output: LogFile | None, reactor: Any) -> None:
    """Open the logs that ``settings`` ask for, and close them. Raises `CannotLog`."""
    file = access_log_file(settings, default, standard_output, reactor)
    if file is not None:
        file.close()
    file = message_log_file(settings, standard_output, reactor)
    if file is not None:
        file.close()


def access_log_file(
    settings: LogSettings, default: str | Path, standard_output: LogFile | None, reactor: Any
) -> LogFile | None:
    """The file of the access log that ``settings`` ask for, open; None for no log. Raises `CannotLog`."""
    path = settings.access or str(default)
    if path == NO_LOG:
        return None
    file = standard_output if path == STANDARD_OUTPUT else LogFile(path, reactor)
    return _opened(file, path, "the access log", "log.access")


def message_log_file(settings: LogSettings, standard_output: LogFile | None, reactor: Any) -> LogFile | None:
    """The file of the log of messages that ``settings`` ask for, open; None for no log. Raises `CannotLog`."""
    path = settings.websocket
    if path in NOWHERE:
        return None
    file = standard_output if path == STANDARD_OUTPUT else LogFile(path, reactor, mode=_SECRET)
    return _opened(file, path, "the log of messages", "log.websocket")


def _opened(file: LogFile | None, path: str, what: str, key: str) -> LogFile:
    if file is None:
        raise CannotLog(f'a daemon has no standard output: let {key} name a file, or "off"')
    try:
        file.open()
    except OSError as error:
        raise CannotLog(f"{what} {path} cannot be opened: {error.strerror}") from error
    return file

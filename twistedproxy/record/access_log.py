"""The access log: one line for each request that is over."""

from __future__ import annotations

from twisted.logger import Logger

from twistedproxy.record.finished import FinishedExchange
from twistedproxy.record.formats import AccessFormat
from twistedproxy.record.log_file import LogFile


class AccessLog:
    """Writes finished exchanges in ``format`` to ``file``.

    ``format`` may be set to another one at any time. ``unformatted`` counts the exchanges whose line could
    not be made.
    """

    __slots__ = ("_failed_format", "_file", "_lost_before", "_write", "format", "unformatted")

    _log = Logger()

    def __init__(self, format: AccessFormat, file: LogFile) -> None:
        self.format = format
        self.unformatted = 0
        self._file = file
        self._write = file.write
        self._lost_before = file.lost_lines
        self._failed_format: AccessFormat | None = None

    def __repr__(self) -> str:
        return f"<AccessLog {self.format!r} {self._file!r} unformatted={self.unformatted}>"

    @property
    def lost_lines(self) -> int:
        """How many lines were never written."""
        return self.unformatted + self._file.lost_lines - self._lost_before

    def finished(self, exchange: FinishedExchange) -> None:
        """Write the line of ``exchange``. Never raises: an answer is worth more than its line."""
        try:
            line = self.format(exchange)
        except Exception:
            self._not_formatted()
        else:
            self._write(line)

    def _not_formatted(self) -> None:
        self.unformatted += 1
        if self._failed_format is not self.format:
            self._failed_format = self.format
            self._log.failure("a line of the access log could not be made; later ones are only counted")

    def reopen(self) -> None:
        """Go on in a new file, since the old one has been moved away."""
        self._file.reopen()

    def close(self) -> None:
        """Write what waits, and close the file."""
        self._file.close()


class NoAccessLog(AccessLog):
    """The access log that is off: it takes the place of one that is on, and costs an empty call."""

    __slots__ = ()

    def __init__(self) -> None:
        # No file, and so not the base's beginning.
        self.format = _no_line
        self.unformatted = 0

    def __repr__(self) -> str:
        return "<NoAccessLog>"

    @property
    def lost_lines(self) -> int:
        """None are lost."""
        return 0

    def finished(self, exchange: FinishedExchange) -> None:
        """Nothing is written."""

    def reopen(self) -> None:
        """There is nothing to open."""

    def close(self) -> None:
        """There is nothing to close."""


def _no_line(exchange: FinishedExchange) -> bytes:
    return b""

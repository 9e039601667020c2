"""A file, or the standard output, that lines are gathered for and written to in few large pieces.

Theory of operation. `LogFile.write` only puts a line on a list. The list is written when 64 KiB have
gathered, one second after the first line at the latest, and on `flush`, `reopen` and `close`. One timer is
pending while lines wait, and none otherwise.

A log is never worth a connection: no error of writing is raised. What cannot be written is dropped, counted
and reported once to the operational log, and once more when writing works again.

A regular file is written with one ``write`` a flush, at its end (O_APPEND), so that several processes may
share one. Other destinations (a pipe, a terminal, a socket: the standard output is often one) can be full for
a while. They must not block the reactor, and the standard output must not be made non-blocking, since others
have it open as well. So they are asked whether they take more, and are given whole lines of up to PIPE_BUF
bytes, which a pipe takes at once or not at all; the rest waits, up to a limit. Whatever goes to the standard
output goes through one `LogFile`, so that no line comes between the halves of another.
"""

from __future__ import annotations

import os
import select
import stat
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

FLUSH_SIZE: Final = 64 * 1024
"""So many bytes are written as soon as they have gathered."""

FLUSH_SECONDS: Final = 1.0
"""No line waits longer, unless the destination takes no more."""

FULL_SECONDS: Final = 0.02
"""How long to wait before a destination that took no more is asked again."""

LIMIT: Final = 1024 * 1024
"""How many bytes may wait for a destination that takes no more; the lines that come beyond are lost."""

STANDARD_OUTPUT: Final = "-"
"""The path that stands for the standard output."""

_NEWLINE: Final = 0x0A


class LogFile:
    """A destination of lines; see the head of the module.

    ``path`` is made absolute at once, since a daemon changes its directory; `STANDARD_OUTPUT` stands for the
    descriptor ``standard_output``, which is never closed. Nothing is opened before `open`, so that a process
    may fork in between. It is for one thread, the reactor's. A file is made with ``mode``. ``lost_lines`` counts what
    was not written.
    """

    _log = Logger()

    def __init__(self, path: str, clock: IReactorTime, standard_output: int = 1, mode: int = 0o640) -> None:
        self.path = path if path == STANDARD_OUTPUT else os.path.abspath(path)
        self.lost_lines = 0
        self._clock = clock
        self._standard_output = standard_output
        self._mode = mode
        self._descriptor = -1
        self._closed = False
        self._regular = True
        self._room = select.poll()
        self._lines: list[bytes] = []
        self._size = 0
        self._call: IDelayedCall | None = None
        # What the destination had no room for; it is next.
        self._rest = b""
        # Whether the last byte that was written is in the middle of a line.
        self._mid_line = False
        self._failing = False
        self._reported_lines = 0

    def __repr__(self) -> str:
        state = "closed" if self._closed else "not open" if self._descriptor < 0 else "open"
        return f"<LogFile {self.path} {state} waiting={self._waiting()} lost_lines={self.lost_lines}>"

    def open(self) -> None:
        """Open the destination, and make its directory if there is none.

        Lines that came before are written now. Raises `OSError`.
        """
        if self._descriptor < 0:
            self._adopt(self._opened())
            self._closed = False
            self.flush()

    def write(self, line: bytes) -> None:
        """Let ``line``, which has one newline, at its end, be written within a second."""
        if self._closed:
            self.lost_lines += 1
            return
        self._lines.append(line)
        self._size += len(line)
        if self._rest or self._size >= FLUSH_SIZE:
            self._much_gathered()
        elif self._call is None:
            self._call = self._clock.callLater(FLUSH_SECONDS, self._time_passed)

    def write_at_once(self, lines: bytes) -> None:
        """Write ``lines``, of which each ends in a newline, after all that waits."""
        if self._closed:
            self.lost_lines += lines.count(b"\n")
            return
        if self._waiting() + len(lines) > LIMIT:
            self.flush()
            if self._waiting() + len(lines) > LIMIT:
                self._lost(lines.count(b"\n"), "nobody takes what is written")
                return
        self._lines.append(lines)
        self._size += len(lines)
        self.flush()

    def flush(self) -> None:
        """Write what has gathered, as far as the destination takes it now."""
        self._cancel()
        if self._descriptor >= 0 and (self._lines or self._rest):
            # A line that a failure tore is ended before the next one.
            ending = b"\n" if self._mid_line and not self._rest else b""
            data = b"".join((ending, self._rest, *self._lines))
            self._lines.clear()
            self._size = 0
            self._rest = b""
            self._send(data, len(ending))

    def reopen(self) -> None:
        """Go on in a new file at the same path, since the old one has been moved away.

        Where none can be opened the old one stays in use, which is an error in the operational log.
        """
        self.flush()
        if self._descriptor < 0 or self.path == STANDARD_OUTPUT:
            return
        try:
            opened = self._opened()
        except OSError as error:
            self._log.error(
                "{path} cannot be reopened, the old file stays in use: {error}", path=self.path, error=error
            )
            return
        self._shut(self._descriptor)
        if self._rest and self._mid_line:
            # Its beginning is in the old file.
            self._rest = self._rest.partition(b"\n")[2]
            self.lost_lines += 1
        self._adopt(opened)
        self.flush()

    def close(self) -> None:
        """Write what waits, as far as the destination takes it, and close.

        Lines that come later are lost, but for those to the standard output: it is not ours to close.
        """
        self.flush()
        self._cancel()
        waiting = b"".join((self._rest, *self._lines))
        self._lines.clear()
        self._size = 0
        self._rest = b""
        if self.path != STANDARD_OUTPUT:
            self._closed = True
            if self._descriptor >= 0:
                self._shut(self._descriptor)
                self._descriptor = -1
        if waiting:
            self._lost(waiting.count(b"\n"), "it was closed before all was written")

    # ------------------------------------------------------------ the descriptor

    def _opened(self) -> int:
        if self.path == STANDARD_OUTPUT:
            return self._standard_output
        os.makedirs(os.path.dirname(self.path), mode=0o750, exist_ok=True)
        # The last two matter where the path is no regular file: a FIFO that nobody reads is an error instead
        # of a wait without end, and a terminal does not become the daemon's.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        return os.open(self.path, flags, self._mode)

    def _adopt(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._mid_line = False
        self._room = select.poll()
        self._room.register(descriptor, select.POLLOUT)
        try:
            self._regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        except OSError:
            self._regular = False

    def _shut(self, descriptor: int) -> None:
        try:
            os.close(descriptor)
        except OSError as error:
            self._log.error("{path} could not be closed in order: {error}", path=self.path, error=error)

    # ------------------------------------------------------------ writing

    def _send(self, data: bytes, ending: int) -> None:
        """Write ``data``, of whose bytes the first ``ending`` end a line that was lost before."""
        view = memoryview(data)
        size = len(data)
        position = 0
        failure: OSError | None = None
        try:
            while position < size:
                end = size
                if not self._regular:
                    if not self._room.poll(0):
                        break
                    if size - position > select.PIPE_BUF:
                        end = position + select.PIPE_BUF
                        end = data.rfind(b"\n", position, end) + 1 or end
                position += os.write(self._descriptor, view[position:end])
        except BlockingIOError:
            pass
        except OSError as error:
            failure = error
        if position:
            self._mid_line = data[position - 1] != _NEWLINE
        if failure is not None:
            self._lost(data.count(b"\n", max(position, ending)), str(failure))
        elif position < size:
            self._rest = data[position:]
            self._call = self._clock.callLater(FULL_SECONDS, self._time_passed)
        elif self._failing:
            self._failing = False
            lost = self.lost_lines - self._reported_lines
            self._reported_lines = self.lost_lines
            self._log.warn("{path} can be written again; {lost} lines are lost", path=self.path, lost=lost)

    def _much_gathered(self) -> None:
        if not self._rest:
            self.flush()
        # The lines are still there before `open`, and while the destination is full.
        if self._lines and self._waiting() > LIMIT:
            self._size -= len(self._lines.pop())
            self._lost(1, "nobody takes what is written")

    def _waiting(self) -> int:
        return self._size + len(self._rest)

    def _lost(self, lines: int, why: str) -> None:
        self.lost_lines += lines
        if not self._failing:
            # Set first: the report may be on its way to this very file.
            self._failing = True
            self._log.error("{path} cannot be written, lines are lost: {why}", path=self.path, why=why)

    def _time_passed(self) -> None:
        self._call = None
        self.flush()

    def _cancel(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None

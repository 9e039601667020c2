"""The Unix socket of the control plane: a file that its owner alone may connect to, and that another may take over.

Theory of operation. The socket is bound to a name of its own beside the wanted path, made its owner's, and only then
listens: until it does, nobody can connect whatever the mode. A rename then puts it at the path, in the place of what
was there, so that there is no moment without a socket at it. When the next version of the daemon does the same, the
file at the path is not ours any more; the system keeps the number of a socket's file for as long as the socket is open,
so that this number tells.
"""

from __future__ import annotations

import os
import secrets
import socket
import stat
import struct
from typing import Any, Final

from twisted.internet import unix
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IProtocolFactory
from twisted.python.failure import Failure

LONGEST_PATH: Final = 107
"""How many bytes the path of a Unix socket may have."""

_BACKLOG: Final = 64


class CannotOpen(Exception):
    """A door of the control plane cannot be opened. The text says which, and why."""


class SocketFile:
    """A listening Unix socket at ``path``, which is absolute."""

    def __init__(self, reactor: Any, path: str, factory: IProtocolFactory, *, replace: bool = False) -> None:
        """Listen at ``path`` for the connections of ``factory``; with ``replace``, also where somebody listens.

        Makes the directory where there is none, for the owner alone. Raises `CannotOpen`.
        """
        directory, _ = os.path.split(path)
        own_name = os.path.join(directory, f".{secrets.token_hex(4)}")
        if (length := len(os.fsencode(max(path, own_name, key=len)))) > LONGEST_PATH:
            raise _cannot(path, f"a path of {length} bytes is too long for a socket, which has room for {LONGEST_PATH}")
        self.path = path
        try:
            os.makedirs(directory, mode=0o700, exist_ok=True)
            _make_sure_that_it_is_free(path, replace)
            self._port = _Port(os.fsencode(own_name), factory, backlog=_BACKLOG, mode=0o600, reactor=reactor)
            try:
                self._port.startListening()
                self._identity = _identity(own_name)
                os.rename(own_name, path)
            except BaseException:
                self._port.stopListening()
                if os.path.lexists(own_name):
                    os.unlink(own_name)
                raise
        except CannotListenError as error:
            raise _cannot(path, error.socketError.strerror or str(error.socketError)) from error
        except OSError as error:
            raise _cannot(path, error.strerror or str(error)) from error

    def __repr__(self) -> str:
        return f"<SocketFile {self.path}>"

    def own(self) -> None:
        """Let the system know it as this process's, which is the child of the one that opened it."""
        self._port.socket.listen(_BACKLOG)

    def close(self) -> Deferred[Any]:
        """Stop listening, and remove the file unless it is somebody else's by now. Fires when that has happened."""
        # While it is open, since its number may be another file's afterwards.
        removed = maybeDeferred(self._remove)
        return maybeDeferred(self._port.stopListening).addCallback(lambda _: removed)

    def _remove(self) -> None:
        try:
            if _identity(self.path) == self._identity:
                os.unlink(self.path)
        except FileNotFoundError:
            pass


class _Port(unix.Port):
    """Listens, and leaves the file to `SocketFile`, since it has another name by the end."""

    def connectionLost(self, reason: Failure) -> None:
        super(unix.Port, self).connectionLost(reason)


def _make_sure_that_it_is_free(path: str, replace: bool) -> None:
    """Nothing is at ``path`` but what may be replaced: a socket that nobody listens at, or any with ``replace``."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise _cannot(path, "something else than a socket is there")
    if not replace and (owner := _owner(path)):
        raise _cannot(path, f"{owner} listens there")


def _owner(path: str) -> str:
    """Who listens at the socket; empty when nobody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # One that is too busy to take a connection would be waited for.
        probe.setblocking(False)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return ""
        except BlockingIOError:
            return "a process that is busy"
        if not hasattr(socket, "SO_PEERCRED"):
            return "another process"
        process, _user, _group = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return f"process {process}"


def _identity(path: str) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino


def _cannot(path: str, why: str) -> CannotOpen:
    return CannotOpen(f"cannot open the control socket {path}: {why}")

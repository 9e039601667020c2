"""The secrets of connections, written down for those who look at packets (SSLKEYLOGFILE, RFC 9850).

Whoever can read that file can read every connection whose secrets are in it. It is for debugging, and says so loudly.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import Final

from OpenSSL import SSL
from twisted.logger import Logger

_log = Logger()

VARIABLE: Final = "SSLKEYLOGFILE"


class KeyLog:
    """Appends to the file ``path``, which is this user's alone. What cannot be written is lost, and said once."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor = -1
        self._failed = False

    def __repr__(self) -> str:
        return f"<KeyLog {self.path}{' failed' * self._failed}>"

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> KeyLog | None:
        """That which the variable names; None where it names none."""
        path = environment.get(VARIABLE)
        return cls(path) if path else None

    def prepare(self, context: SSL.Context) -> None:
        """Write down what the connections of ``context`` agree on."""
        context.set_keylog_callback(self._write)

    def _write(self, _connection: SSL.Connection, line: bytes) -> None:
        if self._failed:
            return
        try:
            if self._descriptor < 0:
                self._descriptor = _opened(self.path)
            # In one piece: other workers append to the same file.
            os.write(self._descriptor, line + b"\n")
        except OSError as error:
            self._failed = True
            _log.error(
                "the secrets of TLS connections cannot be written to {path}: {error}",
                path=self.path,
                error=error.strerror or error,
            )

    def close(self) -> None:
        """Write no more."""
        self._failed = True
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


def warn_of_key_log(environment: Mapping[str, str]) -> None:
    """Say in the log that secrets are written down, where they are."""
    if path := environment.get(VARIABLE):
        _log.warn(
            "THE SECRETS OF ALL TLS CONNECTIONS ARE WRITTEN TO {path}, since the variable SSLKEYLOGFILE says so: "
            "whoever has that file can read what they carry",
            path=path,
        )


def _opened(path: str) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(path, flags, 0o600)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "it is no regular file")
        if stat.S_IMODE(status.st_mode) != 0o600:
            os.fchmod(descriptor, 0o600)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor

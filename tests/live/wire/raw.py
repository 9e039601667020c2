"""Raw ends of connections: a client and an origin that say exactly the bytes they are told, and read strictly.

Everything blocks, for `PATIENCE` seconds at most, so that a test reads from top to bottom as the bytes went. What
is read is taken apart here again, by the letter of RFC 9112 and with none of the proxy's own code.
"""

from __future__ import annotations

import re
import socket
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

PATIENCE: Final = 5.0
"""How long any one step may take, in seconds, before the test fails."""

SOON: Final = 0.05
"""How long to wait for something that should not come, in seconds."""

_FIELD_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ?([\t\x20-\x7e\x80-\xff]*)")


class Cut(AssertionError):
    """The connection ended in the middle of a message."""


@dataclass
class Message:
    """A message as it came, and what its parts say."""

    head: bytes
    """From the start line through the empty line."""
    framed: bytes = b""
    """What followed the head, with its transfer coding."""
    content: bytes = b""
    """The content, without its transfer coding."""
    chunks: list[bytes] = field(default_factory=list)
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    cut: bool = False
    """Whether the connection ended before the framing said so, or with a reset."""
    interim: list[Message] = field(default_factory=list)
    """The 1xx responses that came before it."""

    @property
    def raw(self) -> bytes:
        """All of it."""
        return self.head + self.framed

    @property
    def start(self) -> bytes:
        """The request line or the status line."""
        return self.head.split(b"\r\n", 1)[0]

    @property
    def status(self) -> int:
        """The status code of a response."""
        found = re.fullmatch(rb"HTTP/1\.1 ([1-5][0-9][0-9]) [\t\x20-\x7e\x80-\xff]*", self.start)
        assert found is not None, self.start
        return int(found[1])

    @property
    def lines(self) -> list[tuple[bytes, bytes]]:
        """The field lines, each as name and value."""
        return field_lines(self.head.split(b"\r\n", 1)[1].removesuffix(b"\r\n"))

    def values(self, name: bytes) -> list[bytes]:
        """The values of the field lines with this name."""
        return [value for key, value in self.lines if key.lower() == name.lower()]


def field_lines(section: bytes) -> list[tuple[bytes, bytes]]:
    """The lines of a field section, of which each ends in CR LF (RFC 9112 section 5)."""
    lines: list[tuple[bytes, bytes]] = []
    for line in section.split(b"\r\n")[:-1]:
        found = _FIELD_LINE.fullmatch(line)
        assert found is not None, line
        lines.append((found[1], found[2]))
    return lines


class Connection:
    """One end of a connection."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = sock
        self.buffer = b""
        self.port = int(sock.getsockname()[1])
        # As the access log writes it.
        self.began = datetime.now(UTC).isoformat(timespec="milliseconds")

    # ------------------------------------------------------------ saying

    def send(self, data: bytes) -> None:
        """Say ``data``."""
        self.socket.sendall(data)

    def send_until_refused(self, data: bytes, pause: float = 0.0) -> None:
        """Say ``data`` again and again, listening for ``pause`` seconds each time, until the other side has closed."""
        try:
            while True:
                self.send(data)
                if pause:
                    assert not self.silent(pause)
        except ConnectionError:
            return

    def finish(self) -> None:
        """Say no more (FIN), and go on listening."""
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close in order."""
        self.socket.close()

    def reset(self) -> None:
        """Break off (RST)."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    # ------------------------------------------------------------ hearing

    def read_some(self) -> bytes:
        """At least one byte; nothing at the end."""
        if self.buffer:
            taken, self.buffer = self.buffer, b""
            return taken
        return self.socket.recv(1 << 20)

    def _fill(self) -> None:
        data = self.socket.recv(1 << 20)
        if not data:
            raise Cut(f"the connection ended after {self.buffer[:200]!r}")
        self.buffer += data

    def read(self, size: int) -> bytes:
        """Exactly ``size`` bytes."""
        pieces = [self.buffer]
        have = len(self.buffer)
        while have < size:
            data = self.socket.recv(min(1 << 20, size - have))
            if not data:
                self.buffer = b"".join(pieces)
                raise Cut(f"the connection ended after {have} bytes of {size}")
            pieces.append(data)
            have += len(data)
        whole = b"".join(pieces)
        self.buffer = whole[size:]
        return whole[:size]

    def read_through(self, mark: bytes) -> bytes:
        """Everything up to and including ``mark``."""
        while mark not in self.buffer:
            self._fill()
        taken, _, self.buffer = self.buffer.partition(mark)
        return taken + mark

    def read_to_end(self) -> bytes:
        """Everything up to the end of the connection; ConnectionResetError when it is no orderly one."""
        pieces: list[bytes] = []
        while data := self.read_some():
            pieces.append(data)
        return b"".join(pieces)

    def ended(self) -> bool:
        """Whether the connection ends now, orderly or not, with nothing more said."""
        try:
            return not self.read_some()
        except ConnectionError:
            return True

    def was_reset(self) -> bool:
        """Whether the connection ends with a reset, whatever comes before it."""
        try:
            self.read_to_end()
        except ConnectionResetError:
            return True
        return False

    def silent(self, seconds: float = SOON) -> bool:
        """Whether the connection stays open for so long, and nothing is said on it."""
        if self.buffer:
            return False
        self.socket.settimeout(seconds)
        try:
            self.buffer = self.socket.recv(1 << 16)
        except (TimeoutError, BlockingIOError):
            return True
        except ConnectionError:
            return False
        finally:
            self.socket.settimeout(PATIENCE)
        return False

    # ------------------------------------------------------------ whole messages

    def read_request(self) -> Message:
        """A request; its content too."""
        message = Message(self.read_through(b"\r\n\r\n"))
        self._read_content(message, until_close=False)
        return message

    def read_response(self, method: bytes = b"GET") -> Message:
        """The final response to a ``method`` request; whether it is whole is in ``cut``."""
        interim: list[Message] = []
        while True:
            message = Message(self.read_through(b"\r\n\r\n"))
            status = message.status
            if 100 <= status < 200 and status != 101:
                interim.append(message)
            else:
                break
        message.interim = interim
        if method != b"HEAD" and status not in (101, 204, 304):
            try:
                self._read_content(message, until_close=True)
            except (Cut, ConnectionResetError):
                message.cut = True
        return message

    def _read_content(self, message: Message, *, until_close: bool) -> None:
        codings = message.values(b"transfer-encoding")
        lengths = message.values(b"content-length")
        if codings:
            assert codings == [b"chunked"], codings
            # RFC 9112 section 6.2.
            assert lengths == [], "both Transfer-Encoding and Content-Length"
            self._read_chunks(message)
        elif lengths:
            assert len(lengths) == 1, lengths
            assert re.fullmatch(rb"[0-9]+", lengths[0]), lengths
            try:
                message.framed = message.content = self.read(int(lengths[0]))
            except Cut:
                message.framed = message.content = self.buffer
                raise
        elif until_close:
            try:
                while data := self.read_some():
                    message.content += data
            finally:
                message.framed = message.content

    def _read_chunks(self, message: Message) -> None:
        while True:
            line = self.read_through(b"\r\n")
            message.framed += line
            assert re.fullmatch(rb"[0-9a-f]+\r\n", line), line
            size = int(line, 16)
            if not size:
                break
            chunk = self.read(size + 2)
            message.framed += chunk
            assert chunk.endswith(b"\r\n"), chunk[-2:]
            message.chunks.append(chunk[:-2])
            message.content += chunk[:-2]
        section = b""
        while not section.endswith(b"\r\n\r\n") and section != b"\r\n":
            section += self.read_through(b"\r\n")
        message.framed += section
        message.trailers = field_lines(section.removesuffix(b"\r\n"))


class Origin:
    """A listening socket that stands for a server; each connection to it is scripted by the test."""

    def __init__(self, family: int = socket.AF_INET, address: str = "127.0.0.1", backlog: int = 128) -> None:
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((address, 0))
        self.socket.listen(backlog)
        self.socket.settimeout(PATIENCE)
        self.address = address
        self.port = int(self.socket.getsockname()[1])
        self.authority = (f"[{address}]:{self.port}" if ":" in address else f"{address}:{self.port}").encode()
        self.accepted: list[Connection] = []

    def accept(self) -> Connection:
        """The next connection."""
        connection = Connection(self.socket.accept()[0])
        self.accepted.append(connection)
        return connection

    def untouched(self, seconds: float = 0.0) -> bool:
        """Whether nobody (else) has connected, also not within so many seconds."""
        self.socket.settimeout(seconds)
        try:
            self.accept()
        except (TimeoutError, BlockingIOError):
            return True
        finally:
            self.socket.settimeout(PATIENCE)
        return False

    def close(self) -> None:
        """Close it and all of its connections."""
        self.socket.close()
        for connection in self.accepted:
            connection.close()

"""A real TLS server in this process, that shows what it is told to; its answers say what it has heard."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any


class TLSServer:
    """Listens on 127.0.0.1 until `stop`. ``prepare`` gets the context before the certificate does.

    An answer is a JSON object: whether the session was resumed, the version of TLS, the subject of the client's
    certificate and the host in the ClientHello.
    """

    def __init__(self, chain: bytes, key: bytes, directory: Path, prepare: Callable[[Any], object] = id) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # What is refused is to be refused by the proxy.
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.sni_callback = self._asked
        prepare(context)
        file = directory / "server.pem"
        file.write_bytes(key + chain)
        context.load_cert_chain(file)
        self._context = context
        self._names: dict[int, str | None] = {}
        self.random = ""
        """That of the last ClientHello, in hexadecimal."""
        self.errors: list[str] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<TLSServer {self.port}>"

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._listening.getsockname()[1]
        return port

    def stop(self) -> None:
        """Serve nobody any more."""
        port = self.port
        self._listening.close()
        # The thread notices that with the next connection, or has already.
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            pass
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _asked(self, tls: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        self._names[id(tls)] = name

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listening.accept()
            except OSError:
                return
            plain.settimeout(5)
            # A record's head, the handshake's, and the version: then comes the random (RFC 8446 section 4.1.2).
            self.random = plain.recv(43, socket.MSG_PEEK)[11:].hex()
            try:
                with self._context.wrap_socket(plain, server_side=True) as secured:
                    self._answer(secured)
            except OSError as error:
                self.errors.append(str(error))

    def _answer(self, secured: ssl.SSLSocket) -> None:
        heard = b""
        while b"\r\n\r\n" not in heard:
            piece = secured.recv(4096)
            if not piece:
                return
            heard += piece
        shown = secured.getpeercert()
        told = {
            "resumed": secured.session_reused,
            "version": secured.version(),
            "client": dict(part[0] for part in shown["subject"])["commonName"] if shown else "",
            "name": self._names.get(id(secured)),
        }
        content = json.dumps(told).encode()
        secured.sendall(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content)
        )

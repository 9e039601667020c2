"""One connection to a directory: requests and their answers, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from twistedproxy.accounts.ldap.ber import SEQUENCE, Malformed, elements, whole_length
from twistedproxy.accounts.ldap.messages import (
    EXTENDED_RESPONSE,
    START_TLS,
    SUCCESS,
    UNBIND_REQUEST,
    Entry,
    Reference,
    Result,
    bind_request,
    extended_request,
    message,
    parse_message,
    search_request,
)
from twistedproxy.settings.spelling import printable
from twistedproxy.tls.handshakes import HandshakeConnection, handshake_error

LARGEST: Final = 4 * 1024 * 1024
"""Bytes of an answer, all of its messages together."""

_LONGEST_WORDS: Final = 200


class LDAPError(Exception):
    """A directory does not answer, or with what is no answer. The text says why."""


class LDAPConnection(Protocol):
    """The client's side. One request at a time."""

    def __init__(self) -> None:
        self._number = 0
        self._secured = False
        self._buffer = bytearray()
        self._received = 0
        self._entries: list[Entry] = []
        self._waiting: Deferred[tuple[Result, list[Entry]]] | None = None
        self._lost: LDAPError | None = None

    def __repr__(self) -> str:
        state = "lost" if self._lost else "waiting" if self._waiting else "idle"
        return f"<LDAPConnection requests={self._number} {state}>"

    @property
    def _transport(self) -> Any:
        return self.transport

    # ------------------------------------------------------------ requests

    def secure(self, creator: IOpenSSLClientConnectionCreator) -> None:
        """Speak TLS from now on."""
        self._secured = True
        self._transport.startTLS(creator)

    async def start_tls(self, creator: IOpenSSLClientConnectionCreator) -> None:
        """Ask for TLS, and speak it (RFC 4511 section 4.14). Raises `LDAPError`."""
        result, _ = await self._ask(extended_request(START_TLS))
        if result.operation != EXTENDED_RESPONSE or result.code != SUCCESS:
            raise LDAPError(f"it does not start TLS ({words_of(result)})")
        if self._buffer:
            # It was said before the handshake, by whom nobody knows.
            raise LDAPError("it goes on without TLS")
        self.secure(creator)

    async def bind(self, dn: str, password: bytes) -> Result:
        """Be ``dn``; the result says whether that may be. Raises `LDAPError`."""
        result, _ = await self._ask(bind_request(dn, password))
        return result

    async def search(
        self, base: str, scope: int, wanted: bytes, attributes: Sequence[str], *, most: int, seconds: int
    ) -> tuple[Result, list[Entry]]:
        """What `search_request` finds. Raises `LDAPError`."""
        return await self._ask(search_request(base, scope, wanted, attributes, most=most, seconds=seconds))

    def close(self) -> None:
        """Say good-bye, and close."""
        if self._lost is None:
            self._number += 1
            self._transport.write(message(self._number, UNBIND_REQUEST))
            self._transport.loseConnection()

    def abort(self) -> None:
        """Close at once."""
        if self._lost is None:
            self._transport.abortConnection()

    def _ask(self, operation: bytes) -> Deferred[tuple[Result, list[Entry]]]:
        waiting: Deferred[tuple[Result, list[Entry]]] = Deferred()
        if self._lost is not None:
            waiting.errback(self._lost)
            return waiting
        self._number += 1
        self._received = 0
        self._entries = []
        self._waiting = waiting
        self._transport.write(message(self._number, operation))
        return waiting

    # ------------------------------------------------------------ answers

    def dataReceived(self, data: bytes) -> None:
        self._received += len(data)
        self._buffer += data
        try:
            if self._received > LARGEST:
                raise Malformed(f"more than {LARGEST} bytes")
            while self._buffer:
                if self._buffer[0] != SEQUENCE:
                    raise Malformed("no message")
                length = whole_length(self._buffer, LARGEST)
                if not length or len(self._buffer) < length:
                    return
                [(_, content)] = elements(bytes(self._buffer[:length]))
                del self._buffer[:length]
                self._take(content)
        except Malformed as error:
            self._fail(LDAPError(f"what it says is not LDAP: {error}"))

    def _take(self, content: bytes) -> None:
        identifier, said = parse_message(content)
        waiting = self._waiting
        if isinstance(said, Result) and not identifier:
            # section 4.4.1: it is about to close the connection.
            self._fail(LDAPError(f"it ends the connection ({words_of(said)})"))
            return
        if waiting is None or identifier != self._number:
            raise Malformed("an answer that nobody has asked for")
        if isinstance(said, Entry):
            self._entries.append(said)
        elif not isinstance(said, Reference):
            self._waiting = None
            entries, self._entries = self._entries, []
            waiting.callback((said, entries))

    def _fail(self, error: LDAPError) -> None:
        if self._lost is None:
            self._lost = error
            self._transport.abortConnection()
        self._buffer.clear()
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.errback(error)

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]  # Twisted's default
        if self._lost is not None:
            return
        handle = self._transport.getHandle() if self._secured else None
        if isinstance(handle, HandshakeConnection) and not handle.handshake.done:
            refused = handshake_error(reason, handle)
            why = f"{refused.sentence} ({refused.detail})" if refused.detail else refused.sentence
        else:
            why = f"the connection was lost: {reason.getErrorMessage()}" if reason is not None else "it has closed"
        self._lost = LDAPError(why)
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.errback(self._lost)


def words_of(result: Result) -> str:
    """A result for a person: its code, and what the directory says of it, on one line."""
    said = printable(result.words[:_LONGEST_WORDS])
    return f"result {result.code}: {said}" if said else f"result {result.code}"

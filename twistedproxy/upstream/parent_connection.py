"""The HTTP/1.1 client of another proxy: requests for whatever origin go there as they are, and it forwards them."""

from __future__ import annotations

from collections.abc import Callable

from twistedproxy.deadlines import Deadlines
from twistedproxy.errors import ParentUnauthorized
from twistedproxy.http.message import ResponseHead
from twistedproxy.http.target import Target
from twistedproxy.http.writer import request_bytes
from twistedproxy.settings.types import Settings
from twistedproxy.upstream.carrier import Key, ResponseListener
from twistedproxy.upstream.http1 import ConnectionPool, UpstreamConnection


class ParentConnection(UpstreamConnection):
    """One connection to another proxy.

    ``authorization`` is the value of Proxy-Authorization there, or nothing. ``judged`` is told whether
    that answers at all; if not, there may be another that the next connection leads to.
    """

    def __init__(
        self,
        pool: ConnectionPool,
        key: Key,
        address: str,
        generation: int,
        settings: Settings,
        deadlines: Deadlines,
        authorization: bytes,
        judged: Callable[[bool], object] | None,
    ) -> None:
        super().__init__(pool, key, address, generation, settings, deadlines)
        self._credentials = b"Proxy-Authorization: %b\r\n" % authorization if authorization else b""
        self._judged = judged

    def _head_bytes(self, method: bytes, target: Target, section: bytes) -> bytes:
        # RFC 9112 section 3.2.2; section 3.2.4 for an OPTIONS that is about the whole server.
        path = b"" if target.path == b"*" else target.path
        url = b"http://%b%b" % (target.authority, path)
        return request_bytes(method, url, b"%b%b\r\n" % (section[:-2], self._credentials))

    def _may_ask_again(self) -> bool:
        self._judge(False)
        return True

    def _judge(self, answers: bool) -> None:
        judged, self._judged = self._judged, None
        if judged is not None:
            judged(answers)

    def _response_began(self, head: ResponseHead, listener: ResponseListener) -> None:
        self._judge(True)
        if head.status == 407:
            # It asks us. The client would take it for our question, and send what we should not have asked for.
            raise ParentUnauthorized(f"{self.address} answered 407")
        super()._response_began(head, listener)

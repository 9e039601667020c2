"""What is true of every connection in an opened tunnel, whichever version of HTTP is spoken there."""

from __future__ import annotations

from twisted.logger import Logger

from twistedproxy.access.hosts import canonical_host
from twistedproxy.accounts.account import Account
from twistedproxy.connect import Connect
from twistedproxy.data_plane import DataPlane
from twistedproxy.errors import ProxyError
from twistedproxy.forward import Forward
from twistedproxy.http.inner import Inside, make_absolute
from twistedproxy.tls.serving import REFUSING_ALERTS


class OpenedTunnel:
    """A tunnel of a client's to the origin ``inside``; ``secured`` with TLS, or plain.

    ``account`` is whoever has opened it, where that is known: all that comes through it is theirs.
    """

    _log = Logger()

    def __init__(
        self, plane: DataPlane, client: str, inside: Inside, secured: bool, account: Account | None = None
    ) -> None:
        self.alert = 0
        """The last alert that the client sent; 0 when there was none, or one that only says that it closes."""
        self.proven = False
        """Whether the handshake is over, as far as we can tell."""
        self._plane = plane
        self._client = client
        self._inside = inside
        self._account = account
        # The client takes our certificate for certain when it asks for something.
        self._untried = secured

    def __repr__(self) -> str:
        return f"<OpenedTunnel {self._client} to {self._inside.authority.decode('ascii')}>"

    def start(self, exchange: Connect | Forward) -> None:
        """Start an exchange that came through the tunnel, or fail it when it is for somebody else."""
        request = exchange.request
        assert request is not None
        if self._untried:
            self._untried = False
            self._plane.rejections.accepted(self._client, canonical_host(self._inside.host))
        exchange.inherit(self._account)
        try:
            make_absolute(request, self._inside)
        except ProxyError as error:
            exchange.fail(error)
        else:
            exchange.start()

    def connection_lost(self, *, by_us: bool) -> None:
        """The connection is lost, or closed ``by_us``: has its client refused our certificate?"""
        if not self._untried or by_us or (self.proven and self.alert not in REFUSING_ALERTS):
            return
        host = canonical_host(self._inside.host)
        if self._plane.rejections.rejected(self._client, host):
            self._log.info(
                "{client} does not take our certificate for {host}: its tunnels there are left alone",
                client=self._plane.snapshot.discretion.address(self._client),
                host=host,
            )

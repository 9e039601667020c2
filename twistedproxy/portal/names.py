"""Which requests are meant for the proxy itself.

One name stands for it wherever it runs; a client that uses the proxy asks it for that name, and nobody else. A client
that speaks to it as to a web server is answered when it names the address that it has reached, or the machine it is on.
No other name will do: whatever leads here by the DNS, today or after a rebinding, is somebody else's.
"""

from __future__ import annotations

from typing import Final

from twistedproxy.access.addresses import read_address, with_port
from twistedproxy.downstream_side import Reached
from twistedproxy.http.target import Authority

HOST: Final = "pyproxy.internal"

HOSTS: Final = frozenset((HOST, f"{HOST}."))
"""The spellings of `HOST` that a `twistedproxy.http.target.Target` can have."""

ADDRESS: Final = f"http://{HOST}/"

_PORT: Final = 80
_SECURED_PORT: Final = 443
_THIS_MACHINE: Final = ("localhost", "localhost.")


def is_page(scheme: str, port: int) -> bool:
    """Whether a URL of `HOST` with that scheme and port is that of the page."""
    return scheme == "http" and port == _PORT


def names_us(authority: Authority, reached: Reached) -> bool:
    """Whether a Host field names the proxy to a client that has reached it there."""
    port = authority.port or (_SECURED_PORT if reached.secured else _PORT)
    if authority.host in HOSTS:
        # Whoever has pointed that name here may have a port forwarded too.
        return port in (reached.port, _PORT, _SECURED_PORT) or not reached.port
    if authority.host in _THIS_MACHINE:
        return port == reached.port or not reached.port
    address = read_address(authority.host)
    return address is not None and address == read_address(reached.address) and port == reached.port


def proxy_url(reached: Reached, authority: Authority | None) -> str:
    """The proxy's own URL for a client that has reached it there, and calls it ``authority``; empty when it has none.

    The port is always written: programs disagree about the one that a proxy has by default.
    """
    address = read_address(reached.address)
    host = str(address) if address is not None else ""
    if authority is not None and authority.host not in HOSTS:
        host = authority.host
    if not (host and reached.port):
        return ""
    return f"{'https' if reached.secured else 'http'}://{with_port(host, reached.port)}"

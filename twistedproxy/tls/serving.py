"""The contexts of the server's side, beyond their certificates: what is spoken, and what clients complain of."""

from __future__ import annotations

from typing import Any, Final

from OpenSSL import SSL

HTTP1: Final = b"http/1.1"
HTTP2: Final = b"h2"

REFUSING_ALERTS: Final = frozenset((42, 43, 44, 45, 46, 48, 49, 113, 121))
"""The alerts (RFC 8446 section 6.2) by which a client says that it does not want our certificate: bad_certificate,
unsupported_certificate, certificate_revoked, certificate_expired, certificate_unknown, unknown_ca, access_denied,
bad_certificate_status_response, and RFC 9849's ech_required, which one sends that wanted the host's own."""

_CLOSE_NOTIFY: Final = 0
_USER_CANCELED: Final = 90


def serve_http(context: SSL.Context) -> None:
    """Let ``context`` agree on a version of HTTP (RFC 7301), and tell of a client's alert.

    A connection's application data is Twisted's protocol of TLS. What is above that has ``protocols``, the best first,
    until the handshake is over, and gets the number of an alert by ``alert_received``.
    """
    context.set_alpn_select_callback(_choose)
    context.set_info_callback(_told)


def _choose(connection: SSL.Connection, offered: list[bytes]) -> Any:
    for protocol in connection.get_app_data().wrappedProtocol.protocols:
        if protocol in offered:
            return protocol
    return SSL.NO_OVERLAPPING_PROTOCOLS


def _told(connection: SSL.Connection, where: int, what: int) -> None:
    if where == SSL.SSL_CB_READ_ALERT:
        alert = what & 0xFF
        tls = connection.get_app_data()
        if alert not in (_CLOSE_NOTIFY, _USER_CANCELED):
            tls.wrappedProtocol.alert_received(alert)

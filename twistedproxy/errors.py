"""Why a request, a response or a connection did not go through.

One small tree. The docstring of each class is the sentence that the client reads on the error page; ``status`` is
the answer's status code, ``proxy_status`` the error type of RFC 9209 section 2.3 and ``reason`` the word that
stands in the access log. ``detail`` says what was wrong this time; it is shown on the page and in the log, so it
never holds a secret. ``particulars`` are shown on the page only.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import ClassVar


class ProxyError(Exception):
    """The proxy met a problem of its own and could not finish this request."""

    status: int = 500
    proxy_status: ClassVar[str] = "proxy_internal_error"
    reason: ClassVar[str] = "internal_error"

    def __init__(self, detail: str = "", particulars: Sequence[str] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.particulars = particulars
        """Lines that the page has below the detail."""

    @property
    def sentence(self) -> str:
        """The text for a person: what happened, from the class's docstring."""
        return (type(self).__doc__ or "").strip()


class RequestError(ProxyError):
    """The request is not valid HTTP."""

    status = 400
    proxy_status = "http_request_error"
    reason = "malformed_request"


class FramingError(RequestError):
    """The length of the request's content is missing, contradictory or not valid."""

    reason = "malformed_framing"


class TargetError(RequestError):
    """The request's target is not one that a proxy can forward."""

    reason = "invalid_target"


class HostError(RequestError):
    """The request has no Host field, more than one, or one that is not valid."""

    reason = "invalid_host"


class NotAProxyRequest(RequestError):
    """This is a forward proxy: it answers requests for other hosts, not for itself."""

    reason = "not_a_proxy_request"


class MisdirectedRequest(RequestError):
    """This connection leads to another server than the one that the request is for."""

    status = 421
    reason = "misdirected_request"


class HeadTooLarge(RequestError):
    """The request's header section is larger than this proxy accepts."""

    status = 431
    reason = "head_too_large"


class TargetTooLong(RequestError):
    """The request's target is longer than this proxy accepts."""

    status = 414
    reason = "target_too_long"


class MethodNotImplemented(RequestError):
    """The request's method is longer than any that this proxy knows how to forward."""

    status = 501
    reason = "method_not_implemented"


class SchemeNotImplemented(RequestError):
    """The request's target has a scheme that this proxy does not forward."""

    status = 501
    reason = "scheme_not_implemented"


class TransferCodingNotImplemented(FramingError):
    """The request's content has a transfer coding that this proxy does not decode."""

    status = 501
    reason = "transfer_coding_not_implemented"


class VersionNotSupported(RequestError):
    """The request is in a version of HTTP that this proxy does not speak here."""

    status = 505
    reason = "version_not_supported"


class ExpectationFailed(RequestError):
    """The request expects something that this proxy does not know."""

    status = 417
    reason = "expectation_failed"


class RequestTimeout(RequestError):
    """The request did not arrive whole in the time that this proxy allows."""

    status = 408
    reason = "request_timeout"


class RequestCut(RequestError):
    """The client closed its side of the connection in the middle of the request."""

    reason = "request_cut"


class ConnectionMalformed(RequestError):
    """The client's connection does not follow the rules of HTTP/2."""

    reason = "malformed_connection"


# ---------------------------------------------------------------- policy says no


class Refused(ProxyError):
    """This proxy's settings do not allow this request."""

    status = 403
    proxy_status = "http_request_denied"
    reason = "denied"


class ClientRefused(Refused):
    """This proxy does not serve clients at your address."""

    reason = "client_denied"


class CredentialsWanted(Refused):
    """This proxy serves only those who say who they are."""

    status = 407
    reason = "credentials_wanted"


class CredentialsRefused(CredentialsWanted):
    """The name and the password that came with the request are not those of an account of this proxy."""

    reason = "credentials_refused"
    stale = False  # whether it was only the nonce that they were made for (RFC 7616 section 3.3)


class AccountsUnavailable(ProxyError):
    """This proxy cannot find out at the moment whether the name and the password are right."""

    status = 503
    reason = "accounts_unavailable"


class PortRefused(Refused):
    """This proxy does not open tunnels to that port."""

    reason = "port_denied"


class DestinationRefused(Refused):
    """This proxy does not connect to that address."""

    proxy_status = "destination_ip_prohibited"
    reason = "destination_denied"


class OwnName(Refused):
    """This name stands for the proxy itself, which has a page at http://pyproxy.internal/ and nothing else."""

    reason = "own_name"


class NotOpened(Refused):
    """This proxy lets through only what it can look into, and this is neither TLS nor HTTP."""

    reason = "not_opened"


class DeniedByRule(Refused):
    """The rules of this proxy do not allow this request."""

    reason = "denied_by_rule"

    def __init__(self, detail: str = "", *, rule: str = "", status: int = 403, text: str = "") -> None:
        super().__init__(detail)
        self.status = status
        self.rule = rule
        """The name of the rule, or the key, that denied it."""
        self.text = text
        """What the page says in the place of the sentence; empty when that is left to us."""

    @property
    def sentence(self) -> str:
        """What the operator wants to be read, or what happened."""
        return self.text or super().sentence


class AuthorityUnusable(ProxyError):
    """This proxy is to look into the tunnel, but its certificate authority cannot be used."""

    proxy_status = "proxy_configuration_error"
    reason = "authority_unusable"


class Blocked(Refused):
    """What you asked for is on a list of what this proxy blocks."""

    reason = "blocked"


class LoopDetected(ProxyError):
    """The request has come round to the proxy that already forwarded it."""

    status = 502
    proxy_status = "proxy_loop_detected"
    reason = "loop_detected"


class TooManyConnections(ProxyError):
    """Your address has more connections open to this proxy than it allows."""

    status = 429
    proxy_status = "http_request_denied"
    reason = "client_connections_exceeded"


class LimitReached(ProxyError):
    """You have taken up as much of this proxy as you may for now."""

    status = 429
    proxy_status = "http_request_denied"
    reason = "limit_reached"

    def __init__(self, detail: str = "", *, limit: str = "", retry_after: float = 0.0) -> None:
        super().__init__(detail)
        self.limit = limit
        """The limit, by its name."""
        self.retry_after = max(1, ceil(retry_after))
        """The whole seconds after which another attempt makes sense (RFC 9110 section 10.2.3)."""


class RequestsExceeded(LimitReached):
    """You send more requests than this proxy takes from you in that time."""

    reason = "requests_exceeded"


class ConnectionsExceeded(LimitReached):
    """You have as many requests under way through this proxy as you may at the same time."""

    reason = "connections_exceeded"


class TunnelsExceeded(LimitReached):
    """You have as many tunnels through this proxy as you may at the same time."""

    reason = "tunnels_exceeded"


class QuotaExceeded(LimitReached):
    """You have used up what this proxy lets you transfer in a day or a month."""

    reason = "quota_exceeded"


# ---------------------------------------------------------------- the way to the origin


class UpstreamError(ProxyError):
    """The server could not be reached, or did not answer properly."""

    status = 502
    proxy_status = "destination_unavailable"
    reason = "upstream_failed"


class NameNotFound(UpstreamError):
    """The server's name could not be found."""

    proxy_status = "dns_error"
    reason = "dns_error"


class NameServersFailed(UpstreamError):
    """The name servers could not say where the server is."""

    proxy_status = "dns_error"
    reason = "dns_failed"


class NameTimeout(UpstreamError):
    """The look-up of the server's name took too long."""

    status = 504
    proxy_status = "dns_timeout"
    reason = "dns_timeout"


class ConnectionRefused(UpstreamError):
    """The server refused the connection."""

    proxy_status = "connection_refused"
    reason = "connection_refused"


class Unreachable(UpstreamError):
    """There is no way to the server's network."""

    proxy_status = "destination_ip_unroutable"
    reason = "unreachable"


class ConnectTimeout(UpstreamError):
    """The server did not accept a connection in time."""

    status = 504
    proxy_status = "connection_timeout"
    reason = "connect_timeout"


class TLSFailed(UpstreamError):
    """A secure connection to the server could not be made."""

    proxy_status = "tls_protocol_error"
    reason = "tls_failed"


class NoCommonVersion(TLSFailed):
    """The server speaks no version of HTTP that this proxy has offered it."""

    reason = "no_common_version"


class TLSTimeout(TLSFailed):
    """The server did not finish the TLS handshake in time."""

    status = 504
    proxy_status = "connection_timeout"
    reason = "tls_timeout"


class UpstreamBusy(UpstreamError):
    """All of the connections that this proxy may open to the server stayed in use."""

    status = 503
    proxy_status = "connection_limit_reached"
    reason = "upstream_connections_exceeded"


class OutOfDescriptors(UpstreamError):
    """This proxy has no file descriptor left to open a connection with."""

    status = 503
    proxy_status = "proxy_internal_error"
    reason = "out_of_descriptors"


class ResponseError(UpstreamError):
    """The server's answer is not valid HTTP."""

    proxy_status = "http_protocol_error"
    reason = "malformed_response"


class ResponseHeadTooLarge(ResponseError):
    """The header section of the server's answer is larger than this proxy accepts."""

    proxy_status = "http_response_header_section_size"
    reason = "response_head_too_large"


class ResponseCut(ResponseError):
    """The server closed the connection before its answer was complete."""

    proxy_status = "http_response_incomplete"
    reason = "response_cut"


class ConnectionTerminated(ResponseError):
    """The server closed the connection without an answer."""

    proxy_status = "connection_terminated"
    reason = "no_response"


class FirstByteTimeout(ResponseError):
    """The server did not begin to answer in time."""

    status = 504
    proxy_status = "http_response_timeout"
    reason = "first_byte_timeout"


class BodyTimeout(ResponseError):
    """The server stopped in the middle of its answer."""

    status = 504
    proxy_status = "http_response_timeout"
    reason = "body_timeout"


class UpgradeFailed(ResponseError):
    """The server switched to a protocol that was not asked for."""

    proxy_status = "http_upgrade_failed"
    reason = "upgrade_failed"


# ---------------------------------------------------------------- the way by another proxy


class ParentFailed(UpstreamError):
    """The proxy that this one goes on by did not open the way to the server."""

    reason = "parent_failed"


class ParentUnreachable(ParentFailed):
    """The proxy that this one goes on by cannot be reached."""

    reason = "parent_unreachable"


class ParentBroken(ParentFailed):
    """The proxy that this one goes on by did not answer as such a proxy should."""

    reason = "parent_broken"


class ParentRefused(ParentFailed):
    """The proxy that this one goes on by does not allow this request."""

    status = 403
    proxy_status = "http_request_denied"
    reason = "parent_refused"


class ParentUnauthorized(ParentFailed):
    """The proxy that this one goes on by does not take the credentials that this proxy has for it."""

    proxy_status = "proxy_configuration_error"
    reason = "parent_credentials_refused"


class ParentTimeout(ParentFailed):
    """The proxy that this one goes on by did not open the way to the server in time."""

    status = 504
    proxy_status = "connection_timeout"
    reason = "parent_timeout"

"""The answer to a request that is meant for the proxy itself.

Theory of operation. The page has no state, and nothing that is asked of it changes anything, but for one thing: where
tunnels are to be looked into, the authority is made when it is first needed, and this is such a need. Where none is
looked into nobody's request makes one, and there is no certificate to be had: to trust it would be good for nothing.

Whoever is answered has been admitted as for any other request. What leaves is public; the key is not read here.
"""

from __future__ import annotations

from typing import Final

from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedproxy.errors import AuthorityUnusable, NotAProxyRequest, OwnName, ProxyError
from twistedproxy.exchange import Exchange
from twistedproxy.http.accept import accepts_html
from twistedproxy.http.message import FieldLine
from twistedproxy.http.target import Authority, Target, parse_authority
from twistedproxy.portal import html, text
from twistedproxy.portal.facts import DOWNLOADS, Certificate, Download, Facts
from twistedproxy.portal.names import ADDRESS, is_page, names_us, proxy_url
from twistedproxy.tls.authority import Authority as CertificateAuthority
from twistedproxy.tls.authority import AuthorityError
from twistedproxy.tls.leaves import Leaves

METHODS: Final = (b"GET", b"HEAD")

_HTML: Final = "text/html; charset=utf-8"
_TEXT: Final = "text/plain; charset=utf-8"

# Nothing is kept, read as something else, embedded, or told to where a link leads.
_FIELDS: Final = (
    (b"Cache-Control", b"no-store"),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Referrer-Policy", b"no-referrer"),
    (b"Cross-Origin-Resource-Policy", b"same-origin"),
    (b"Content-Security-Policy", html.POLICY.encode("ascii")),
)

_DOWNLOADS: Final = {one.path.encode("ascii"): one for one in DOWNLOADS}


def visit(exchange: Exchange, target: Target) -> None:
    """Answer a request for a URL of the proxy's own name. Raises `OwnName` for one that is not the page's."""
    if not is_page(target.scheme, target.port):
        raise OwnName()
    if not exchange.snapshot.settings.intercept.portal:
        raise OwnName("the page is switched off by intercept.portal")
    _Visit(exchange, target.path, ADDRESS, None).begin()


def visit_as_origin(exchange: Exchange, error: NotAProxyRequest) -> None:
    """Answer a request for a path, when its Host field names the proxy. Raises `NotAProxyRequest` when it does not.

    ``error`` is what is wrong with it then.
    """
    if not exchange.snapshot.settings.intercept.portal:
        raise error
    request = exchange.request
    assert request is not None
    host = parse_authority(request.fields.first(b"host"))
    reached = exchange.downstream.reached
    if host is None or not names_us(host, reached):
        raise NotAProxyRequest(f"{error.detail}; who uses the proxy finds its own page at {ADDRESS}")
    base = f"{'https' if reached.secured else 'http'}://{host.text.decode('ascii')}/"
    _Visit(exchange, request.target, base, host).begin()


class _Visit:
    """One request for the page, until it has its answer. ``base`` is the URL under which the client has it."""

    __slots__ = ("_base", "_download", "_exchange", "_host", "_path")

    _log = Logger()

    def __init__(self, exchange: Exchange, target: bytes, base: str, host: Authority | None) -> None:
        self._exchange = exchange
        self._path = target.partition(b"?")[0]
        self._base = base
        self._host = host
        self._download: Download | None = _DOWNLOADS.get(self._path)

    def begin(self) -> None:
        """Answer now, or when the authority has been read."""
        exchange = self._exchange
        request = exchange.request
        assert request is not None
        if self._download is None and self._path != b"/":
            self._say(404, "Nothing is here", "This proxy has no page of that name.")
        elif request.method not in METHODS:
            allow = (b"Allow", b", ".join(METHODS))
            self._say(405, "That cannot be done here", "This page can be read, and nothing else.", allow)
        elif exchange.snapshot.interception.opens_any:
            leaves = exchange.plane.issuer.leaves()
            leaves.addCallbacks(self._with_authority, self._without_authority)
            leaves.addErrback(self._broke)
        elif self._download is not None:
            self._say(404, "There is no certificate", "This proxy does not look into HTTPS, and needs no certificate.")
        else:
            self._show(None)

    def _with_authority(self, leaves: Leaves) -> None:
        if self._exchange.over:
            return
        authority = leaves.authority
        if self._download is None:
            self._show(authority)
        else:
            one = self._download
            disposition = f'attachment; filename="{one.file}"'.encode("ascii")
            self._answer(200, one.media_type, authority.export(one.format), (b"Content-Disposition", disposition))

    def _without_authority(self, failure: Failure) -> None:
        failure.trap(AuthorityError)
        if self._exchange.over:
            return
        if self._download is None:
            self._show(None)
        else:
            self._exchange.fail(AuthorityUnusable())

    def _broke(self, failure: Failure) -> None:
        self._log.failure("{exchange!r} met a fault of the proxy's own", failure, exchange=self._exchange)
        self._exchange.fail(ProxyError())

    def _show(self, authority: CertificateAuthority | None) -> None:
        exchange = self._exchange
        snapshot = exchange.snapshot
        interception = snapshot.interception
        facts = Facts(
            name=snapshot.pseudonym,
            mode=interception.shown_mode,
            client=exchange.client_address,
            looked_at=interception.by_rule or exchange.client_address in interception.clients,
            certificate=Certificate.of(authority) if authority is not None else None,
            proxy=proxy_url(exchange.downstream.reached, self._host),
        )
        if accepts_html(exchange.request):
            self._answer(200, _HTML, html.page(facts, exchange.request_field(b"user-agent")).encode())
        else:
            self._answer(200, _TEXT, text.page(facts, self._base).encode())

    def _say(self, status: int, title: str, sentence: str, *lines: FieldLine) -> None:
        if accepts_html(self._exchange.request):
            self._answer(status, _HTML, html.short_page(title, sentence).encode(), *lines)
        else:
            self._answer(status, _TEXT, text.short_page(title, sentence, self._base).encode(), *lines)

    def _answer(self, status: int, media_type: str, content: bytes, *lines: FieldLine) -> None:
        exchange = self._exchange
        exchange.status = status
        kind = (b"Content-Type", media_type.encode("ascii"))
        exchange.downstream.send_answer(status, [kind, *_FIELDS, *lines], content)
        exchange.finish()

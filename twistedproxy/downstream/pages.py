"""The pages that clients see when the proxy answers itself: HTML where the client takes it, else plain text."""

from __future__ import annotations

from html import escape
from http import HTTPStatus
from typing import Final

from twistedproxy.accounts.authenticator import Authenticator
from twistedproxy.errors import CredentialsRefused, LimitReached, ProxyError
from twistedproxy.http.accept import accepts_html
from twistedproxy.http.dates import imf_fixdate
from twistedproxy.http.message import FieldLine, RequestHead
from twistedproxy.http.proxy_status import proxy_status
from twistedproxy.http.writer import response_bytes

PROXY_AUTHENTICATION_REQUIRED: Final = 407

_HTML = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{status} {phrase}</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 38rem; margin: 4rem auto; padding: 0 1rem; color: #222; }}
h1 {{ font-size: 1.4rem; }} code {{ background: #f2f2f2; padding: .1rem .3rem; overflow-wrap: anywhere; }}
footer {{ color: #666; font-size: .9rem; border-top: 1px solid #ddd; margin-top: 2rem; padding-top: .5rem; }}
</style>
</head>
<body>
<h1>{status} {phrase}</h1>
<p>{sentence}</p>
{detail}{request}<footer>Answered by the proxy {name}. Its log has the reason <code>{reason}</code>.</footer>
</body>
</html>
"""

_TEXT = """{status} {phrase}

{sentence}
{detail}{request}
Answered by the proxy {name}. Its log has the reason {reason}.
"""


def phrase_of(status: int) -> str:
    """The reason phrase of a status code of ours."""
    return HTTPStatus(status).phrase


def error_page(
    error: ProxyError, request: RequestHead | None, name: str, authenticator: Authenticator | None = None
) -> tuple[list[FieldLine], bytes]:
    """The fields and the content that tell a client of an error. ``name`` is the proxy's pseudonym.

    An error that asks for credentials has the challenges of ``authenticator`` with it (RFC 9110 section 15.5.8).
    """
    html = accepts_html(request)
    quote = escape if html else str
    # The target is shown without its query, where secrets like to travel, and cut to a readable length.
    what = ""
    if request is not None:
        target = request.target.split(b"?", 1)[0].decode("ascii")
        if "@" not in target:
            what = f"{request.method.decode('ascii')} {target[:200]}"
    words = {
        "status": error.status,
        "phrase": phrase_of(error.status),
        "sentence": quote(error.sentence),
        "name": quote(name),
        "reason": error.reason,
    }
    detail = error.detail and f"What was wrong: {error.detail}."
    if html:
        told = f"<p>{quote(detail)}</p>\n" if detail else ""
        if error.particulars:
            told += "<ul>\n{}</ul>\n".format("".join(f"<li>{quote(line)}</li>\n" for line in error.particulars))
        words["request"] = f"<p><code>{quote(what)}</code></p>\n" if what else ""
        content = _HTML.format_map(words | {"detail": told})
    else:
        told = "".join(f"{line}\n" for line in (detail, *error.particulars) if line)
        words["request"] = f"\n{what}\n" if what else ""
        content = _TEXT.format_map(words | {"detail": told})
    kind = b"text/html" if html else b"text/plain"
    lines = [
        (b"Content-Type", kind + b"; charset=utf-8"),
        # RFC 9111: an error that the request's own form caused must not be stored under its URL.
        (b"Cache-Control", b"no-store"),
        (b"Proxy-Status", proxy_status(name, error.proxy_status)),
    ]
    if isinstance(error, LimitReached):
        lines.append((b"Retry-After", b"%d" % error.retry_after))
    if error.status == PROXY_AUTHENTICATION_REQUIRED and authenticator is not None:
        stale = isinstance(error, CredentialsRefused) and error.stale
        lines += [(b"Proxy-Authenticate", challenge) for challenge in authenticator.challenges(stale=stale)]
    return lines, content.encode("utf-8", "replace")


def answer_bytes(status: int, lines: list[FieldLine], content: bytes, now: int, method: bytes, *, close: bool) -> bytes:
    """A whole response of the proxy's own to a request of that ``method``; ``now`` in seconds since 1970."""
    lines = [*lines, (b"Content-Length", b"%d" % len(content)), (b"Date", imf_fixdate(now))]
    if close:
        lines.append((b"Connection", b"close"))
    head = response_bytes(status, phrase_of(status).encode("ascii"), lines)
    return head if method == b"HEAD" else head + content

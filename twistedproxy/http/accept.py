"""In which form a client wants an answer of the proxy's own (RFC 9110 section 12.5.1)."""

from __future__ import annotations

from twistedproxy.http.grammar import list_members
from twistedproxy.http.message import RequestHead


def accepts_html(request: RequestHead | None) -> bool:
    """Whether the client says that it takes HTML: it names ``text/html`` and does not weigh it zero."""
    if request is None:
        return False
    for member in list_members(request.fields.values(b"accept")):
        media, _, parameters = member.lower().partition(b";")
        if media.strip() in (b"text/html", b"application/xhtml+xml"):
            return parameters.replace(b" ", b"") not in (b"q=0", b"q=0.0", b"q=0.00", b"q=0.000")
    return False

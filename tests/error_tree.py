"""Every error that a client may be told of, from both modules that have some."""

from __future__ import annotations

from collections.abc import Iterator

from twistedproxy import errors
from twistedproxy.errors import ProxyError
from twistedproxy.tls import certificate_errors

MODULES = (errors, certificate_errors)


def every_error(kind: type[ProxyError] = ProxyError) -> Iterator[type[ProxyError]]:
    """``kind`` and all that derive from it."""
    yield kind
    for derived in kind.__subclasses__():
        yield from every_error(derived)

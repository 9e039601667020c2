"""The Proxy-Status field that says which proxy made an error, and why (RFC 9209)."""

from __future__ import annotations

import re

# RFC 9651 section 3.3.4: a Token. RFC 9209 section 2 lets the name be a Token or a String.
_SF_TOKEN = re.compile(r"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*").fullmatch


def proxy_status(name: str, error: str) -> bytes:
    """The field's value for an error of ours. ``name`` is our Via pseudonym, printable ASCII."""
    if not _SF_TOKEN(name):
        name = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{name}; error={error}".encode("ascii")

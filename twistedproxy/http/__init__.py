"""HTTP/1 grammar, messages, readers, writers and forwarding rules; no I/O (RFC 9110, RFC 9112)."""

"""Opaque relays between two connections: zero-copy splice, and the copying fallback."""

"""HTTP/2 (RFC 9113) without I/O, for both sides."""

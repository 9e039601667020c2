"""TLS as the proxy meets it: what a client wants, read without a reactor, and certificates of the proxy's own."""

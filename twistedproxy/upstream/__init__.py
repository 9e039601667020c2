"""The origin-facing side: resolver, connector, connection pool and HTTP/1.1 client."""

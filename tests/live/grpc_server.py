"""A gRPC server on loopback, with TLS, for the live tests: ``grpc_server.py KEY-AND-CERTIFICATES``.

It prints its port, and ends when its standard input does. Messages are bytes, without protocol buffers.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc


def echo(message: bytes, context: grpc.ServicerContext) -> bytes:
    """The same, and the metadata that came, as trailing metadata."""
    asked = dict(context.invocation_metadata())
    context.set_trailing_metadata((("x-asked", asked.get("x-ask", "nothing")), ("x-bytes-bin", b"\x00\xff")))
    return message


def count(message: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
    """The numbers up to the one that was asked for."""
    for number in range(int(message)):
        yield b"%d" % number


def chat(messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    """An answer to each message, as soon as it comes."""
    for message in messages:
        yield message.upper()


def total(messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
    """How many bytes came in all."""
    return b"%d" % sum(map(len, messages))


def refuse(message: bytes, context: grpc.ServicerContext) -> bytes:
    """An error, which is told in the trailers alone."""
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today: ü")
    raise AssertionError("abort does not return")


HANDLERS = {
    "echo": grpc.unary_unary_rpc_method_handler(echo),
    "count": grpc.unary_stream_rpc_method_handler(count),
    "chat": grpc.stream_stream_rpc_method_handler(chat),
    "total": grpc.stream_unary_rpc_method_handler(total),
    "refuse": grpc.unary_unary_rpc_method_handler(refuse),
}


def main() -> None:
    """Serve until standard input ends."""
    pem = Path(sys.argv[1]).read_bytes()
    # The key first, then the certificates, as `trustme` writes them.
    start = pem.index(b"-----BEGIN CERTIFICATE-----")
    server = grpc.server(ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Bytes", HANDLERS),))
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(pem[:start], pem[start:])]))
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(0).wait()


main()

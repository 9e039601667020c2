"""The origins behind every proxy: nginx for HTTP, and a small program for what goes through tunnels."""

from __future__ import annotations

import shutil
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmark.processes import Process, free_ports

NGINX_HEAD = """
daemon off;
master_process off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid nginx.pid;
error_log error.log;
events { worker_connections 10000; }
http {
    access_log off;
    server_tokens off;
    # One write for head and body, as origins of small bodies do.
    sendfile off;
    output_buffers 1 64k;
    tcp_nodelay on;
    open_file_cache max=16 inactive=1h;
    open_file_cache_valid 1h;
    keepalive_timeout 1h;
    keepalive_requests 1000000000;
    types { }
    default_type text/plain;
    client_body_temp_path body; proxy_temp_path proxied; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
"""
NGINX_PLAIN = """
    server {
        listen 127.0.0.1:%(port)d backlog=4096;
        root files;
    }
}
"""
SIZES = {"100": 100, "10k": 10 * 1024}


@dataclass(frozen=True, slots=True)
class TLSOrigin:
    """The origin with TLS: its port for HTTP/1.1 alone, that for HTTP/2 too, and the authority's certificate.

    At the first of them it has ``addresses`` of 127.1.0.0/16.
    """

    http1: int
    http2: int
    authority: Path
    addresses: int


@dataclass(frozen=True, slots=True)
class Origins:
    """The loopback ports of the HTTP origin and of the one for tunnels; with ``tls`` where tunnels are opened."""

    http: int
    stream: int
    tls: TLSOrigin | None = None


def write_files(directory: Path) -> None:
    """Make the directory of an nginx, with what it serves."""
    files = directory / "files"
    files.mkdir(parents=True)
    directory.chmod(0o755)
    for name, size in SIZES.items():
        (files / name).write_bytes((b"0123456789abcdef" * (size // 16 + 1))[:size])


def start_nginx(directory: Path, port: int, stack: ExitStack) -> None:
    """Start the nginx whose configuration is in ``directory``; ``stack`` stops it."""
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    _start([nginx, "-p", f"{directory}/", "-e", "error.log", "-c", "nginx.conf"], directory, port, stack)


def start_origins(directory: Path, stack: ExitStack) -> Origins:
    """Start both; ``stack`` stops them."""
    http, stream = free_ports(2)
    write_files(directory)
    (directory / "nginx.conf").write_text(NGINX_HEAD + NGINX_PLAIN % {"port": http})
    start_nginx(directory, http, stack)
    _start([sys.executable, str(Path(__file__).with_name("stream_origin.py")), str(stream)], directory, stream, stack)
    return Origins(http, stream)


def _start(argv: list[str], directory: Path, port: int, stack: ExitStack) -> None:
    process = stack.enter_context(Process(argv, output=directory / "output", cwd=directory))
    process.await_port(port)

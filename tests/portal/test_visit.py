"""Requests that are meant for the proxy itself, and their answers, byte by byte.

In memory a client has reached the proxy at 10.0.0.1 port 12345.
"""

from __future__ import annotations

import re

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs12
from twisted.internet.address import IPv4Address

from tests.memory import DATE, MemoryTransport, Wire
from twistedproxy.portal.html import POLICY

ALL_BUT = ("intercept.mode", "all-but")
PAGE = b"http://pyproxy.internal/"
KIND = b"text/plain; charset=utf-8"
HTML = b"Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n"


@pytest.fixture
def wire() -> Wire:
    return Wire(ALL_BUT)


def ask(wire: Wire, target: bytes, *, method: bytes = b"GET", host: bytes = b"x", lines: bytes = b"") -> bytes:
    """What a client of its own is answered; the connection is still good for another request."""
    client = wire.client()
    client.receive(b"%b %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (method, target, host, lines))
    return client.take()


def fields(kind: bytes) -> bytes:
    """The lines that every answer has."""
    return (
        b"Content-Type: %b\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
        b"Referrer-Policy: no-referrer\r\nCross-Origin-Resource-Policy: same-origin\r\n"
        b"Content-Security-Policy: %b\r\n" % (kind, POLICY.encode())
    )


def parted(answer: bytes) -> tuple[bytes, bytes]:
    head, _, content = answer.partition(b"\r\n\r\n")
    assert b"Content-Length: %d" % len(content) in head.split(b"\r\n")
    return head, content


def told(wire: Wire) -> list[tuple[str, int, str]]:
    return [(record.kind, record.status, record.reason) for record in wire.records.all]


# ---------------------------------------------------------------- the page


def test_page(wire: Wire) -> None:
    head, content = parted(ask(wire, PAGE))
    assert head + b"\r\n" == (
        b"HTTP/1.1 200 OK\r\n" + fields(KIND) + b"Content-Length: %d\r\nDate: %b\r\n" % (len(content), DATE)
    )
    assert wire.issuer.made_now().authority.fingerprint.encode() in content
    assert b'export http_proxy="http://10.0.0.1:12345"\n' in content
    assert told(wire) == [("answer", 200, "")]
    (record,) = wire.records.all
    assert record.bytes_to_client == len(head) + 4 + len(content)


def test_page_for_a_browser(wire: Wire) -> None:
    head, content = parted(ask(wire, PAGE, lines=HTML + b"User-Agent: Firefox/140\r\n"))
    assert head.startswith(b"HTTP/1.1 200 OK\r\n" + fields(b"text/html; charset=utf-8"))
    assert content.startswith(b"<!doctype html>\n")
    assert b"<details open>\n<summary>Firefox</summary>" in content


@pytest.mark.parametrize("accept", [b"", b"Accept: */*\r\n", b"Accept: text/plain\r\n", b"Accept: text/html;q=0\r\n"])
def test_text_for_everybody_else(wire: Wire, accept: bytes) -> None:
    assert b"\r\nContent-Type: " + KIND + b"\r\n" in ask(wire, PAGE, lines=accept)


@pytest.mark.parametrize("path", [b"", b"ca.pem", b"ca.cer", b"nowhere"])
def test_head(wire: Wire, path: bytes) -> None:
    """RFC 9110 section 9.3.2: the same without the content."""
    assert ask(wire, PAGE + path, method=b"HEAD") == parted(ask(wire, PAGE + path))[0] + b"\r\n\r\n"


@pytest.mark.parametrize(
    "target",
    [
        b"http://pyproxy.internal",
        b"http://PyProxy.Internal/",
        b"http://pyproxy.internal./",
        b"http://pyproxy.internal:80/",
        b"http://pyproxy.internal/?a=b",
        b"http://pyproxy.internal?a=b",
    ],
)
def test_spellings(wire: Wire, target: bytes) -> None:
    assert ask(wire, target).startswith(b"HTTP/1.1 200 OK\r\n")
    assert wire.dialer.dials == []


def test_connection_goes_on(wire: Wire) -> None:
    """As after any other answer, and pipelined."""
    client = wire.client()
    request = b"GET http://pyproxy.internal/nowhere HTTP/1.1\r\nHost: x\r\n\r\n"
    client.receive(request * 2)
    assert client.take().count(b"HTTP/1.1 404 Not Found\r\n") == 2
    client.receive(b"GET http://origin.test/ HTTP/1.1\r\nHost: x\r\n\r\n")
    assert wire.origins[0].take().startswith(b"GET / HTTP/1.1\r\n")


def test_of_http_1_0(wire: Wire) -> None:
    client = wire.client()
    client.receive(b"GET http://pyproxy.internal/ HTTP/1.0\r\n\r\n")
    assert client.take().startswith(b"HTTP/1.1 200 OK\r\n")


# ---------------------------------------------------------------- the certificate


@pytest.mark.parametrize(
    ("path", "kind", "file"),
    [
        (b"ca.pem", b"application/x-pem-file", b"twistedproxy-ca-cert.pem"),
        (b"ca.cer", b"application/x-x509-ca-cert", b"twistedproxy-ca-cert.cer"),
        (b"ca.p12", b"application/x-pkcs12", b"twistedproxy-ca-cert.p12"),
        (b"ca.pem?x", b"application/x-pem-file", b"twistedproxy-ca-cert.pem"),
    ],
)
def test_certificate(wire: Wire, path: bytes, kind: bytes, file: bytes) -> None:
    head, content = parted(ask(wire, PAGE + path))
    disposition = b'Content-Disposition: attachment; filename="%b"\r\n' % file
    assert head.startswith(b"HTTP/1.1 200 OK\r\n" + fields(kind) + disposition)
    if file.endswith(b"pem"):
        found = x509.load_pem_x509_certificate(content)
    elif file.endswith(b"cer"):
        found = x509.load_der_x509_certificate(content)
    else:
        held = pkcs12.load_pkcs12(content, None)
        assert (held.key, held.cert) == (None, None)
        (only,) = held.additional_certs
        found = only.certificate
    assert found == wire.issuer.made_now().authority.certificate
    assert told(wire) == [("answer", 200, "")]


@pytest.mark.parametrize("accept", [b"", HTML])
def test_the_key_stays_here(wire: Wire, accept: bytes) -> None:
    """In none of its forms, nor the number that it is made of."""
    key = wire.issuer.made_now().authority.key
    number = key.private_numbers().private_value.to_bytes(32, "big")  # type: ignore[union-attr]  # ours is an EC key
    forms = [
        key.private_bytes(encoding, form, NoEncryption())
        for encoding in (Encoding.DER, Encoding.PEM)
        for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL)
    ]
    inside = [b"".join(form.splitlines()[1:-1]) for form in forms[2:]]
    said = b"".join(ask(wire, PAGE + path, lines=accept) for path in (b"", b"ca.pem", b"ca.cer", b"ca.p12", b"nowhere"))
    folded = said.replace(b"\n", b"").replace(b"\r", b"")
    for secret in (number, number.hex().encode(), *forms, *inside):
        assert secret not in said
        assert secret not in folded
    assert b"PRIVATE KEY" not in said


@pytest.mark.parametrize(
    "settings", [[], [("intercept.mode", "listed")], [("intercept.mode", "off"), ("intercept.hosts", "a.test")]]
)
def test_nothing_is_looked_into(settings: list[tuple[str, str]]) -> None:
    """Then nobody's request makes an authority, and there is nothing to trust."""
    wire = Wire(*settings)
    assert b"It does not look inside" in ask(wire, PAGE)
    for path in (b"ca.pem", b"ca.cer", b"ca.p12"):
        head, content = parted(ask(wire, PAGE + path))
        assert head.startswith(b"HTTP/1.1 404 Not Found\r\n" + fields(KIND))
        assert content.startswith(b"There is no certificate\n\n")
    assert wire.issuer.made is None


def test_client_that_is_not_looked_at() -> None:
    wire = Wire(ALL_BUT, ("intercept.clients", "192.0.2.0/24"))
    assert b"your connections (your address is 127.0.0.1)" in ask(wire, PAGE)


def test_authority_that_cannot_be_used(wire: Wire) -> None:
    wire.issuer.error = "/secret/place: it has ended"
    answer = ask(wire, PAGE)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"its certificate authority cannot be used" in answer
    assert b"ca.pem" not in answer
    assert b"secret" not in answer
    answer = ask(wire, PAGE + b"ca.pem")
    assert answer.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert b"secret" not in answer
    assert told(wire) == [("answer", 200, ""), ("answer", 500, "authority_unusable")]


@pytest.mark.parametrize("path", [b"", b"ca.pem"])
def test_the_authority_is_waited_for(wire: Wire, path: bytes) -> None:
    wire.issuer.waiting = []
    clients = [wire.client() for _ in range(3)]
    for client in clients:
        client.receive(b"GET %b%b HTTP/1.1\r\nHost: x\r\n\r\n" % (PAGE, path))
        assert client.take() == b""
    clients[2].peer_closes()
    wire.connection(clients[1]).stop("stopped")
    for one in wire.issuer.waiting:
        one.callback(wire.issuer.made_now())
    assert clients[0].take().startswith(b"HTTP/1.1 200 OK\r\n")
    assert clients[1].take() == clients[2].take() == b""
    assert wire.records.reasons == ["client_left", "stopped", ""]


def test_authority_that_breaks(wire: Wire, logged_errors: object) -> None:
    wire.issuer.waiting = []
    client = wire.client()
    client.receive(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % PAGE)
    wire.issuer.waiting[0].errback(ZeroDivisionError())
    assert client.take().startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert wire.records.reasons == ["internal_error"]
    assert len(logged_errors.flush(ZeroDivisionError)) == 1  # type: ignore[attr-defined]  # the fixture's own type


# ---------------------------------------------------------------- other paths, other methods


@pytest.mark.parametrize("path", [b"nowhere", b"ca", b"ca.pem/", b"CA.PEM", b"../ca.pem", b"%63a.pem", b"ca.key", b"/"])
def test_other_paths(wire: Wire, path: bytes) -> None:
    head, content = parted(ask(wire, PAGE + path))
    assert head.startswith(b"HTTP/1.1 404 Not Found\r\n" + fields(KIND))
    assert content == (
        b"Nothing is here\n\nThis proxy has no page of that name.\n\nAbout this proxy: http://pyproxy.internal/\n"
    )
    assert told(wire) == [("answer", 404, "")]


def test_other_paths_for_a_browser(wire: Wire) -> None:
    head, content = parted(ask(wire, PAGE + b"<script>", lines=HTML))
    assert head.startswith(b"HTTP/1.1 404 Not Found\r\n" + fields(b"text/html; charset=utf-8"))
    assert b"<h1>Nothing is here</h1>" in content
    assert b"script" not in content


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"PATCH", b"get", b"PROPFIND"])
def test_other_methods(wire: Wire, method: bytes) -> None:
    """RFC 9110 section 15.5.6."""
    answer = ask(wire, PAGE, method=method, lines=b"Cookie: secret\r\n")
    assert answer.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n" + fields(KIND) + b"Allow: GET, HEAD\r\n")
    assert b"secret" not in answer
    assert told(wire) == [("answer", 405, "")]
    assert wire.issuer.made is None


@pytest.mark.parametrize("waiting", [False, True])
def test_content_is_not_wanted(wire: Wire, waiting: bool) -> None:
    """It is answered before it has come, and the connection closed after that (RFC 9110 section 10.1.1)."""
    if waiting:
        wire.issuer.waiting = []
    client = wire.client()
    client.receive(b"GET %b HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" % PAGE + b"a" * 1000)
    for one in wire.issuer.waiting or []:
        client.receive(b"a" * 1000)
        one.callback(wire.issuer.made_now())
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nConnection: close\r\n" in answer
    assert wire.dialer.dials == []


# ---------------------------------------------------------------- the name leads nowhere else


@pytest.mark.parametrize(
    ("method", "target"),
    [
        (b"GET", b"https://pyproxy.internal/"),
        (b"GET", b"https://pyproxy.internal./ca.pem"),
        (b"GET", b"http://pyproxy.internal:8080/"),
        (b"POST", b"http://pyproxy.internal:443/"),
        (b"CONNECT", b"pyproxy.internal:443"),
        (b"CONNECT", b"pyproxy.internal:80"),
        (b"CONNECT", b"PYPROXY.internal.:8080"),
    ],
)
@pytest.mark.parametrize("settings", [[ALL_BUT], []])
def test_nothing_else_has_the_name(settings: list[tuple[str, str]], method: bytes, target: bytes) -> None:
    wire = Wire(*settings)
    answer = ask(wire, target, method=method)
    assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert b"This name stands for the proxy itself, which has a page at http://pyproxy.internal/" in answer
    assert told(wire) == [("answer", 403, "own_name")]
    assert wire.dialer.dials == []


@pytest.mark.parametrize("target", [PAGE, b"http://pyproxy.internal/ca.pem", b"https://pyproxy.internal/"])
def test_switched_off(target: bytes) -> None:
    """It is refused, and does not become a name like others: whoever had it could hand out an authority."""
    wire = Wire(ALL_BUT, ("intercept.portal", "false"))
    assert ask(wire, target).startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert wire.records.reasons == ["own_name"]
    assert ask(wire, b"/", host=b"10.0.0.1:12345").startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert wire.records.reasons[1:] == ["not_a_proxy_request"]
    assert wire.dialer.dials == []
    assert wire.issuer.made is None


@pytest.mark.parametrize("host", [b"a.pyproxy.internal", b"pyproxy.internal.test", b"internal"])
def test_other_names_are_forwarded(wire: Wire, host: bytes) -> None:
    ask(wire, b"http://%b/" % host)
    assert [dial.host for dial in wire.dialer.dials] == [host.decode()]


@pytest.mark.parametrize("path", [b"", b"ca.pem", b"nowhere"])
def test_only_those_who_may_use_the_proxy(path: bytes) -> None:
    wire = Wire(ALL_BUT, ("access.clients", "192.0.2.0/24"))
    for target, host in ((PAGE + path, b"x"), (b"/" + path, b"10.0.0.1:12345")):
        assert ask(wire, target, host=host).startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert wire.records.reasons == ["client_denied"] * 2
    assert wire.issuer.made is None


def test_a_loop_is_one(wire: Wire) -> None:
    assert ask(wire, PAGE, lines=b"Via: 1.1 proxy.test\r\n").startswith(b"HTTP/1.1 502 Bad Gateway\r\n")


# ---------------------------------------------------------------- as to a web server


@pytest.mark.parametrize(
    ("host", "base", "proxy"),
    [
        (b"10.0.0.1:12345", "http://10.0.0.1:12345/", "http://10.0.0.1:12345"),
        (b"localhost:12345", "http://localhost:12345/", "http://localhost:12345"),
        (b"pyproxy.internal", "http://pyproxy.internal/", "http://10.0.0.1:12345"),
        (b"pyproxy.internal:12345", "http://pyproxy.internal:12345/", "http://10.0.0.1:12345"),
    ],
)
def test_asked_as_a_web_server(wire: Wire, host: bytes, base: str, proxy: str) -> None:
    content = parted(ask(wire, b"/", host=host))[1].decode()
    assert f"\n  {base}ca.pem  PEM: " in content
    assert f'\n  export http_proxy="{proxy}"\n' in content
    assert ask(wire, b"/ca.cer", host=host).startswith(b"HTTP/1.1 200 OK\r\n")
    assert ask(wire, b"/nowhere?", host=host).startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert ask(wire, b"/", method=b"POST", host=host).startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
    assert told(wire) == [("answer", status, "") for status in (200, 200, 404, 405)]


@pytest.mark.parametrize(
    "host",
    [b"rebound.example", b"rebound.example:12345", b"10.0.0.1", b"10.0.0.2:12345", b"localhost", b"origin.test", b""],
)
@pytest.mark.parametrize("path", [b"/", b"/ca.pem", b"//pyproxy.internal/", b"/http://pyproxy.internal/"])
def test_meant_for_others(wire: Wire, host: bytes, path: bytes) -> None:
    """Rebound names, and what a router has redirected: neither was meant for us."""
    answer = ask(wire, path, host=host, lines=b"X-Forwarded-Host: pyproxy.internal\r\n")
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"who uses the proxy finds its own page at http://pyproxy.internal/." in answer
    assert wire.records.reasons == ["not_a_proxy_request"]
    assert wire.issuer.made is None
    assert wire.dialer.dials == []


def test_without_a_host(wire: Wire) -> None:
    client = wire.client()
    client.receive(b"GET / HTTP/1.0\r\n\r\n")
    assert client.take().startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_two_hosts(wire: Wire) -> None:
    client = wire.client()
    client.receive(b"GET / HTTP/1.1\r\nHost: 10.0.0.1:12345\r\nHost: pyproxy.internal\r\n\r\n")
    assert client.take().startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert wire.records.reasons == ["invalid_host"]


def test_absolute_form_goes_first(wire: Wire) -> None:
    """RFC 9112 section 3.2.2: the Host field says nothing beside it."""
    ask(wire, b"http://origin.test/", host=b"pyproxy.internal")
    assert [dial.host for dial in wire.dialer.dials] == ["origin.test"]


def test_client_of_another_address(wire: Wire) -> None:
    """Its own address is told to it only where that explains something."""
    wire.reload(ALL_BUT, ("access.clients", "192.0.2.0/24"), ("intercept.clients", "127.0.0.1"))
    client: MemoryTransport = wire.client(IPv4Address("TCP", "192.0.2.7", 1))
    client.receive(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % PAGE)
    assert re.findall(rb"192\.0\.2\.7", client.take()) == [b"192.0.2.7"]

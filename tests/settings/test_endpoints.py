"""Endpoint descriptions: who can reach them, and which ones are refused; held against Twisted's own reading."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import endpoints as twisted_endpoints
from twisted.internet.testing import MemoryReactorClock

from twistedproxy.settings.endpoints import KINDS, expand_credentials, loopback_only, parse_endpoint
from twistedproxy.settings.problems import Unfit


@pytest.mark.parametrize(
    ("description", "local", "sentence"),
    [
        ("tcp:8080", False, "port 8080 of every IPv4 address"),
        ("tcp:0", False, "port 0 of every IPv4 address"),
        ("tcp:port=8080:interface=0.0.0.0", False, "port 8080 of every IPv4 address"),
        ("tcp:8080:interface=127.0.0.1", True, "port 8080 of 127.0.0.1"),
        ("tcp:8080:127.0.0.1", True, "port 8080 of 127.0.0.1"),
        ("tcp:interface=127.8.8.8:port=8080:backlog=100", True, "port 8080 of 127.8.8.8"),
        ("tcp:8080:interface=192.168.1.1", False, "port 8080 of 192.168.1.1"),
        (r"tcp:8080:interface=\:\:1", True, "port 8080 of ::1"),
        (r"tcp:8080:interface=\:\:", False, "port 8080 of every address"),
        (r"tcp:8080:interface=\:\:ffff\:127.0.0.1", True, "port 8080 of ::ffff:127.0.0.1"),
        (r"tcp:8080:interface=\:\:ffff\:10.0.0.1", False, "port 8080 of ::ffff:10.0.0.1"),
        (r"tcp:8080:interface=fe80\:\:1%eth0", False, "port 8080 of fe80::1%eth0"),
        ("tcp:8080:interface=localhost", True, "port 8080 of localhost"),
        ("tcp:8080:interface=proxy.example", None, "port 8080 of proxy.example"),
        ("tcp6:8080", False, "port 8080 of every address"),
        (r"tcp6:8080:interface=\:\:1", True, "port 8080 of ::1"),
        ("ssl:8443:privateKey=key.pem:interface=127.0.0.1", True, "port 8443 of 127.0.0.1 with TLS"),
        ("ssl:8443", False, "port 8443 of every IPv4 address with TLS"),
        (
            "ssl:8443:clientCA=/etc/ca.pem",
            False,
            "port 8443 of every IPv4 address with TLS and required certificates of clients",
        ),
        (
            "haproxy:ssl:8443:clientCA=/etc/ca.pem:clientCertificate=optional:clientCRL=/etc/crl.pem",
            False,
            "port 8443 of every IPv4 address with TLS and optional certificates of clients",
        ),
        ("tls:/etc/keys", False, "port 443 of every address with TLS"),
        (r"tls:path=/etc/a\:b:port=8443:interface=\:\:1", True, "port 8443 of ::1 with TLS"),
        ("unix:/run/proxy.sock", True, "the Unix socket /run/proxy.sock"),
        ("unix:address=/run/a=b.sock:mode=660:lockfile=0", True, "the Unix socket /run/a=b.sock"),
        ("systemd:domain=INET:name=proxy", None, "the INET socket proxy that systemd passes on"),
        ("systemd:domain=INET6:index=0", None, "the INET6 socket 0 that systemd passes on"),
        ("systemd:UNIX:name=proxy", True, "the UNIX socket proxy that systemd passes on"),
        ("haproxy:tcp:8080:interface=127.0.0.1", True, "port 8080 of 127.0.0.1"),
        ("haproxy:tcp:8080", False, "port 8080 of every IPv4 address"),
        ("onion:80", None, 'an endpoint of the kind "onion"'),
    ],
)
def test_who_can_reach_an_endpoint(description: str, local: bool | None, sentence: str) -> None:
    assert loopback_only(description) is local
    assert parse_endpoint(description).sentence == sentence


@pytest.mark.parametrize(
    ("description", "expected", "hint"),
    [
        ("", 'an endpoint such as "tcp:8080" or "unix:/run/proxy.sock"', ""),
        ("8080", 'an endpoint such as "tcp:8080" or "unix:/run/proxy.sock"', 'did you mean "tcp:8080"?'),
        (
            "0.0.0.0:8080",
            'an endpoint such as "tcp:8080" or "unix:/run/proxy.sock"',
            'did you mean "tcp:8080:interface=0.0.0.0"?',
        ),
        (
            "[::1]:8080",
            'an endpoint such as "tcp:8080" or "unix:/run/proxy.sock"',
            r'did you mean "tcp:8080:interface=\:\:1"?',
        ),
        ("tcp", 'an endpoint such as "tcp:8080" or "unix:/run/proxy.sock"', ""),
        ("name=tcp:8080", 'an endpoint such as "tcp:8080" or "unix:/run/proxy.sock"', ""),
        ("127.0.0.1", 'an endpoint such as "tcp:8080" or "unix:/run/proxy.sock"', ""),
        ("*:8080", 'an endpoint such as "tcp:8080" or "unix:/run/proxy.sock"', ""),
        ("haproxy:haproxy:tcp:80", 'an endpoint such as "tcp:8080" or "unix:/run/proxy.sock"', ""),
        ("TCP:8080", 'the kind in lower case: "tcp:..."', ""),
        ("tcp:", 'the port after "tcp:"', ""),
        ("unix:", 'the address after "unix:"', ""),
        ("tcp:interface=127.0.0.1", 'the port after "tcp:"', ""),
        ("tcp:65536", "a port from 0 to 65535 (0: any that is free)", ""),
        ("tcp:-1", "a port from 0 to 65535 (0: any that is free)", ""),
        ("tcp:http", "a port from 0 to 65535 (0: any that is free)", ""),
        ("tcp:8_0", "a port from 0 to 65535 (0: any that is free)", ""),
        ("tcp:٨٠", "a port from 0 to 65535 (0: any that is free)", ""),
        ("tcp:80:interface=300.1.1.1", "the address of an interface", ""),
        ("tcp:80:interface=a b", "the address of an interface", ""),
        ("tcp:80:backlog=many", "a number as backlog", ""),
        ("tcp:80:port=81", '"port" only once', ""),
        ("tcp:80:intrface=127.0.0.1", "no argument of tcp but port, interface, backlog", ""),
        (
            "tcp:80:interface=::1",
            "fewer arguments of tcp",
            r'a colon inside an argument, as in an IPv6 address, is written "\:"',
        ),
        (
            "tcp:80:::1",
            "fewer arguments of tcp",
            r'a colon inside an argument, as in an IPv6 address, is written "\:"',
        ),
        ("unix:/x:mode=999", 'the mode of the socket in octal, such as "mode=660"', ""),
        ("unix:/x:lockfile=yes", '"lockfile=0" or "lockfile=1"', ""),
        ("systemd:domain=IPX:name=x", "the domain INET, INET6 or UNIX", ""),
        ("systemd:domain=INET", 'either "name=" or "index=", to say which of systemd\'s sockets', ""),
        ("systemd:INET:index=0:name=x", 'either "name=" or "index=", to say which of systemd\'s sockets', ""),
        ("systemd:INET:index=x", "a number as index", ""),
        ("unix:/x\\", "a character after the last backslash", ""),
        ("unix:/x\ny", "an endpoint of printable characters", ""),
        ("unix:/\udcff", "an endpoint of printable characters", ""),
    ],
)
def test_what_twisted_could_not_listen_on_is_refused(description: str, expected: str, hint: str) -> None:
    with pytest.raises(Unfit) as refused:
        parse_endpoint(description)
    assert (refused.value.expected, refused.value.hint) == (expected, hint)


@pytest.mark.parametrize(
    ("kind", "parse"),
    [
        ("tcp", twisted_endpoints._parseTCP),
        ("ssl", twisted_endpoints._parseSSL),
        ("unix", twisted_endpoints._parseUNIX),
        ("tcp6", twisted_endpoints._TCP6ServerParser()._parseServer),
        ("systemd", twisted_endpoints._SystemdParser()._parseServer),
        ("tls", twisted_endpoints._TLSServerEndpointParser()._actualParseStreamServer),
    ],
)
def test_the_arguments_of_each_kind_are_twisteds(kind: str, parse: object) -> None:
    names = [name for name in inspect.signature(parse).parameters if name not in ("factory", "reactor")]
    ours = ("clientCA", "clientCertificate", "clientCRL") if kind == "ssl" else ()
    assert (*names, *ours) == KINDS[kind]


@pytest.mark.parametrize(
    ("description", "expanded"),
    [
        (
            "ssl:8443:privateKey=$CREDENTIALS_DIRECTORY/key.pem:certKey=$CREDENTIALS_DIRECTORY/cert.pem",
            "ssl:8443:privateKey=/run/c/key.pem:certKey=/run/c/cert.pem",
        ),
        (
            "ssl:8443:$CREDENTIALS_DIRECTORY/key.pem:$CREDENTIALS_DIRECTORY/cert.pem:interface=127.0.0.1",
            "ssl:8443:/run/c/key.pem:/run/c/cert.pem:interface=127.0.0.1",
        ),
        (
            "ssl:extraCertChain=$CREDENTIALS_DIRECTORY/a:dhParameters=$CREDENTIALS_DIRECTORY/b:port=1",
            "ssl:extraCertChain=/run/c/a:dhParameters=/run/c/b:port=1",
        ),
        (r"ssl:1:private\Key=$CREDENTIALS_DIRECTORY/a\:b=c", r"ssl:1:private\Key=/run/c/a\:b=c"),
        (r"haproxy:s\sl:1:$CREDENTIALS_DIRECTORY/a", r"haproxy:s\sl:1:/run/c/a"),
        ("tls:$CREDENTIALS_DIRECTORY/", "tls:/run/c/"),
        ("tls:$CREDENTIALS_DIRECTORY:443", "tls:/run/c:443"),
        ("tls:port=443:path=$CREDENTIALS_DIRECTORY/keys", "tls:port=443:path=/run/c/keys"),
        # Not the beginning, not the name, or not an argument that may have it.
        ("ssl:1:/$CREDENTIALS_DIRECTORY/key", "ssl:1:/$CREDENTIALS_DIRECTORY/key"),
        ("ssl:1:$CREDENTIALS_DIRECTORYS/key", "ssl:1:$CREDENTIALS_DIRECTORYS/key"),
        (r"ssl:1:\$CREDENTIALS_DIRECTORY/key", r"ssl:1:\$CREDENTIALS_DIRECTORY/key"),
        ("ssl:1:sslmethod=$CREDENTIALS_DIRECTORY/x", "ssl:1:sslmethod=$CREDENTIALS_DIRECTORY/x"),
        ("unix:$CREDENTIALS_DIRECTORY/x", "unix:$CREDENTIALS_DIRECTORY/x"),
        ("tcp:8080", "tcp:8080"),
        ("onion:$CREDENTIALS_DIRECTORY/x", "onion:$CREDENTIALS_DIRECTORY/x"),
    ],
)
def test_systemds_credentials_are_found(description: str, expanded: str) -> None:
    assert expand_credentials(description, {"CREDENTIALS_DIRECTORY": "/run/c"}) == expanded


@pytest.mark.parametrize("environment", [{}, {"CREDENTIALS_DIRECTORY": ""}])
def test_credentials_that_are_not_there(environment: dict[str, str]) -> None:
    with pytest.raises(Unfit) as refused:
        expand_credentials("ssl:1:certKey=$CREDENTIALS_DIRECTORY/cert.pem", environment)
    assert refused.value.expected == (
        "the variable CREDENTIALS_DIRECTORY to be set, as systemd does for LoadCredential="
    )
    assert refused.value.hint == "certKey begins with $CREDENTIALS_DIRECTORY"
    assert expand_credentials("ssl:1:certKey=cert.pem", environment) == "ssl:1:certKey=cert.pem"


@given(
    st.text(st.characters(exclude_categories=("C", "Z")), min_size=1),
    st.sampled_from(
        [
            "ssl:8443:privateKey=$CREDENTIALS_DIRECTORY/key.pem:certKey=$CREDENTIALS_DIRECTORY/cert.pem",
            "ssl:8443:$CREDENTIALS_DIRECTORY/key.pem:backlog=5",
            "tls:$CREDENTIALS_DIRECTORY",
        ]
    ),
)
def test_twisted_reads_any_directory_of_credentials(directory: str, description: str) -> None:
    def with_directory(value: str) -> str:
        return value.replace("$CREDENTIALS_DIRECTORY", directory, 1)

    expanded = expand_credentials(description, {"CREDENTIALS_DIRECTORY": directory})
    arguments, named = twisted_endpoints._parse(description)
    assert twisted_endpoints._parse(expanded) == (
        [*map(with_directory, arguments)],
        {name: with_directory(value) for name, value in named.items()},
    )


@given(
    st.sampled_from(["tcp:8080", "tcp:port=8080", "tcp:0"]),
    st.sampled_from(["", ":interface=127.0.0.1", r":interface=\:\:1", ":127.0.0.1", ":interface=", ":intf=x"]),
    st.sampled_from(["", ":backlog=5", ":::1"]),
)
def test_twisted_listens_where_it_is_said_to_and_refuses_what_is_refused(
    port: str, interface: str, backlog: str
) -> None:
    description = port + interface + backlog
    reactor = MemoryReactorClock()
    try:
        parsed = parse_endpoint(description)
    except Unfit:
        with pytest.raises(TypeError):
            twisted_endpoints.serverFromString(reactor, description)
        return
    twisted_endpoints.serverFromString(reactor, description).listen(object())
    [(number, _, _, address)] = reactor.tcpServers
    assert (parsed.arguments["port"], parsed.interface) == (str(number), address)


@given(st.one_of(st.text(), st.text(st.sampled_from("tcpunixsystemd:=\\0189. /")).map("tcp:".__add__)))
def test_no_text_does_worse_than_to_be_refused(description: str) -> None:
    try:
        endpoint = parse_endpoint(description)
    except Unfit:
        return
    assert isinstance(endpoint.arguments, Mapping)
    assert endpoint.loopback_only in (True, False, None)
    assert endpoint.sentence
    expanded = expand_credentials(description, {"CREDENTIALS_DIRECTORY": "/run/c"})
    assert expanded == description or "$CREDENTIALS_DIRECTORY" in description


def test_a_very_long_description_takes_no_longer_than_it_is() -> None:
    with pytest.raises(Unfit):
        parse_endpoint("haproxy:" * 100_000 + "tcp:80")
    with pytest.raises(Unfit):
        parse_endpoint("tcp:80" + ":x=" * 100_000)


@pytest.mark.parametrize(
    ("description", "plain"),
    [
        ("ssl:8443:privateKey=key.pem", "tcp:8443"),
        (r"ssl:8443:/key.pem:/cert.pem::\:\:1:7", r"tcp:8443:interface=\:\:1:backlog=7"),
        ("haproxy:ssl:port=1:backlog=2:interface=a", "tcp:1:interface=a:backlog=2"),
    ],
)
def test_the_same_place_without_tls(description: str, plain: str) -> None:
    assert parse_endpoint(description).plain == plain


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("clientCertificate=optional", '"clientCA=" with a file of authorities, since there is "clientCertificate="'),
        ("clientCRL=/crl.pem", '"clientCA=" with a file of authorities, since there is "clientCRL="'),
        ("clientCA=", '"clientCA=" with a file of authorities, since there is "clientCA="'),
        ("clientCA=/ca:clientCertificate=yes", '"clientCertificate=required" or "clientCertificate=optional"'),
    ],
)
def test_clients_certificates_need_authorities(arguments: str, expected: str) -> None:
    with pytest.raises(Unfit) as refused:
        parse_endpoint(f"ssl:8443:{arguments}")
    assert refused.value.expected == expected


def test_only_listeners_with_tls_ask_for_certificates() -> None:
    assert [parse_endpoint(one).client_certificates for one in ("tcp:1", "ssl:1", "ssl:1:clientCA=a")] == [
        "",
        "",
        "required",
    ]

"""Connections to servers, as the settings want them: policies, versions, sessions, and what is learned of a server."""

from __future__ import annotations

import gc
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from OpenSSL import SSL
from OpenSSL._util import lib

from tests.tls.certificates import pem_of
from tests.tls.peers import Server, meet, reason
from tests.tls.zoo import CASES, DAY, NOW, Case, authorities, make, names
from twistedproxy.errors import TLSFailed
from twistedproxy.settings.upstream_tls import UpstreamHost, UpstreamTLSSettings
from twistedproxy.tls.client_side import ClientSide
from twistedproxy.tls.handshakes import key_digest
from twistedproxy.tls.names import LeafNames
from twistedproxy.tls.trust import Trust

Make = Callable[..., ClientSide]
WALL = NOW.timestamp()


@pytest.fixture
def make_side(tmp_path: Path) -> Make:
    """Makes one that trusts the zoo's root, by settings."""
    root = tmp_path / "root.pem"
    root.write_bytes(pem_of(authorities().root.certificate))

    def side(seconds: Callable[[], float] = lambda: WALL, **settings: Any) -> ClientSide:
        wanted = {"anchors": (str(root),), "system_anchors": False} | settings
        return ClientSide(Trust.of(UpstreamTLSSettings(**wanted)), seconds=seconds)

    return side


def resumed(connection: SSL.Connection) -> bool:
    """Whether the server took up a session."""
    return bool(lib.SSL_session_reused(connection._ssl))


def server_named(*hosts: str, version: int = SSL.TLS1_3_VERSION, **how: Any) -> Server:
    return Server(authorities().case(host=hosts[0], changed=[(names(*hosts), False)], **how), version)


# ---------------------------------------------------------------- sessions


@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
def test_sessions_are_resumed(make_side: Make, version: int) -> None:
    """Also after a connection that ended without the closure alert."""
    side, server = make_side(), server_named("a.example", version=version)
    for number in range(5):
        client, there = meet(side, server)
        assert resumed(there) == (number > 0)
        del client, there
        gc.collect()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("a.example", 443, ()), ("b.example", 443, ())),
        (("a.example", 443, ()), ("a.example", 8443, ())),
        (("a.example", 443, ()), ("a.example", 443, (b"http/1.1",))),
    ],
)
def test_sessions_belong_to_one_origin(make_side: Make, first: Any, second: Any) -> None:
    side, server = make_side(), server_named("a.example", "b.example")
    assert not resumed(meet(side, server, *first)[1])
    assert not resumed(meet(side, server, *second)[1])
    assert resumed(meet(side, server, *first)[1])


def test_sessions_end_with_the_settings(make_side: Make) -> None:
    side, server = make_side(), server_named("a.example")
    meet(side, server)
    assert not resumed(meet(side.under(side.trust), server)[1])


def test_sessions_end_with_the_certificate(make_side: Make) -> None:
    now = [WALL]
    side, server = make_side(seconds=lambda: now[0]), server_named("a.example", ends=NOW + DAY)
    meet(side, server)
    now[0] = WALL + 600
    assert resumed(meet(side, server)[1])
    now[0] = WALL + 86400
    assert not resumed(meet(side, server)[1])


def test_no_sessions(make_side: Make) -> None:
    side, server = make_side(session_cache=0), server_named("a.example")
    meet(side, server)
    assert not resumed(meet(side, server)[1])


def test_what_was_refused_is_not_resumed(make_side: Make) -> None:
    side, server = make_side(), server_named("a.example")
    for _ in range(2):
        assert reason(side, server, host="c.example") == "certificate_wrong_host"


# ---------------------------------------------------------------- what is negotiated


def test_server_name(make_side: Make) -> None:
    server = server_named("xn--bcher-kva.example", "192.0.2.1")
    assert meet(make_side(), server, "Bücher.example.")[1].get_servername() == b"xn--bcher-kva.example"
    assert meet(make_side(), server, "192.0.2.1")[1].get_servername() is None


def test_versions(make_side: Make) -> None:
    old = server_named("a.example", version=SSL.TLS1_2_VERSION)
    new = server_named("a.example")
    assert meet(make_side(), old)[0].get_protocol_version_name() == "TLSv1.2"
    assert meet(make_side(), new)[0].get_protocol_version_name() == "TLSv1.3"
    assert meet(make_side(max_version="1.2"), new)[0].get_protocol_version_name() == "TLSv1.2"
    with pytest.raises(TLSFailed, match="protocol"):
        meet(make_side(min_version="1.3"), old)


def test_protocols(make_side: Make) -> None:
    server = Server(authorities().case(), protocols=(b"h2", b"http/1.1"))
    side = make_side()
    assert meet(side, server, protocols=(b"h2", b"http/1.1"))[0].get_alpn_proto_negotiated() == b"h2"
    assert meet(side, server, protocols=(b"http/1.1",))[0].get_alpn_proto_negotiated() == b"http/1.1"
    assert meet(side, server)[0].get_alpn_proto_negotiated() == b""


def test_one_context_for_all(make_side: Make) -> None:
    side = make_side()
    first = meet(side, server_named("a.example"))[0]
    second = meet(side, server_named("b.example"))[0]
    assert first.get_context() is second.get_context()
    assert "contexts=1 " in repr(side)


# ---------------------------------------------------------------- hosts that are named


def host(*of: str, **how: Any) -> dict[str, Any]:
    return {"hosts": (UpstreamHost(names=of, **how),)}


def pin(digest: bytes) -> str:
    return f"sha256/{b64encode(digest).decode()}"


def test_exempt(make_side: Make) -> None:
    """Whatever is wrong, for the host that is named and no other."""
    side = make_side(**host("localhost", verify=False))
    for name in ("expired", "self-signed", "wrong-host", "rsa-1024", "sha1", "excluded-name", "common-name-only"):
        server = Server(CASES[name]())
        assert reason(side, server, host="localhost") == ""
        assert reason(side, server, host="127.0.0.1") != ""
    # What nobody has verified is no model for a leaf.
    assert side.leaf_names("localhost", 443) is None


def test_pins(make_side: Make) -> None:
    """One of several, anywhere in the chain."""
    server, zoo = server_named("a.example"), authorities()
    wrong = pin(bytes(32))
    for one in (server.case.leaf, zoo.between, zoo.root):
        right = pin(key_digest(one.certificate))
        assert reason(make_side(**host("a.example", pins=(wrong, right))), server) == ""
        assert reason(make_side(**host("b.example", pins=(wrong,))), server) == ""
    side = make_side(**host("a.example", pins=(wrong,)))
    assert reason(side, server) == "certificate_pin_mismatch"
    # It is verified besides.
    expired = Server(CASES["expired"]())
    right = pin(key_digest(expired.case.leaf.certificate))
    assert reason(make_side(**host("localhost", pins=(right,))), expired) == "certificate_expired"


def test_pins_of_who_is_not_verified(make_side: Make) -> None:
    """Then it is the server's own key, since nobody vouches for those above it."""
    server, other = Server(CASES["self-signed"]()), Server(CASES["self-signed"]())
    right = pin(key_digest(server.case.leaf.certificate))
    side = make_side(**host("localhost", verify=False, pins=(right,)))
    assert reason(side, server) == ""
    # Nor does the session help that is kept of the first.
    assert reason(side, other) == "certificate_pin_mismatch"
    below = Server(CASES["intermediate"]())
    above = pin(key_digest(authorities().between.certificate))
    assert reason(make_side(**host("localhost", verify=False, pins=(above,))), below) == "certificate_pin_mismatch"


def test_anchors_of_a_host(make_side: Make, tmp_path: Path) -> None:
    own = make("Own Root", ca=True)
    file = tmp_path / "own.pem"
    file.write_bytes(pem_of(own.certificate))
    leaf = make("a", own, changed=[(names("a.example", "b.example"), False)])
    server = server_named("a.example")
    server.case.leaf, server.case.sent = leaf, [own]
    server = Server(server.case)
    side = make_side(**host("a.example", anchors=(str(file),)))
    assert reason(side, server, host="a.example") == ""
    assert reason(side, server, host="b.example") == "certificate_unknown_root"
    # Those for all hosts still count.
    assert reason(side, server_named("a.example")) == ""


@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
def test_client_certificate(make_side: Make, tmp_path: Path, version: int) -> None:
    """With those above it, to the servers that are named."""
    zoo = authorities()
    shown = make("client", zoo.between)
    file = tmp_path / "client.pem"
    file.write_bytes(pem_of(shown.certificate, zoo.between.certificate, shown.key))
    file.chmod(0o600)
    server = Server(zoo.case(), version, asks=True)
    side = make_side(**host("localhost", certificate=str(file)))
    _, there = meet(side, server)
    assert there.get_peer_certificate(as_cryptography=True) == shown.certificate
    # To a server, the chain is what is above that.
    assert there.get_peer_cert_chain(as_cryptography=True) == [zoo.between.certificate]
    with pytest.raises(TLSFailed, match="certificate"):
        meet(side, server, "127.0.0.1")


def test_server_that_is_trusted_itself(make_side: Make, tmp_path: Path) -> None:
    """Signed with its own key, and an authority by what it says of itself, as openssl makes them."""
    shown = make("a", ca=True, left_out=[x509.KeyUsage], changed=[(names("a.example"), False)])
    file = tmp_path / "own.pem"
    file.write_bytes(pem_of(shown.certificate))
    server = Server(Case(shown, [], []))
    assert reason(make_side(**host("a.example", anchors=(str(file),))), server, host="a.example") == ""
    assert reason(make_side(), server, host="a.example") == "certificate_self_signed"


@pytest.mark.parametrize("name", ["x.zoo.example", "X.Zoo.Example.", "bücher.zoo.example"])
def test_wildcards(make_side: Make, name: str) -> None:
    server = server_named("*.zoo.example")
    assert reason(make_side(), server, host=name) == ""
    assert reason(make_side(), server, host="zoo.example") == "certificate_wrong_host"


def test_first_entry_counts(make_side: Make) -> None:
    wrong = pin(bytes(32))
    entries = (
        UpstreamHost(names=("a.example",)),
        UpstreamHost(names=(".example",), pins=(wrong,)),
    )
    side, server = make_side(hosts=entries), server_named("a.example", "b.example")
    assert reason(side, server, host="a.example") == ""
    assert reason(side, server, host="b.example") == "certificate_pin_mismatch"


# ---------------------------------------------------------------- form and length


def test_strictness(make_side: Make) -> None:
    for name in ("no-authority-key-identifier", "intermediate-without-key-identifier", "serial-zero"):
        server = Server(CASES[name]())
        assert reason(make_side(), server) == "certificate_malformed"
        assert reason(make_side(strict=False), server) == ""


def test_intermediates(make_side: Make) -> None:
    server = server_named("a.example")
    assert reason(make_side(max_intermediates=1), server) == ""
    assert reason(make_side(max_intermediates=0), server) == "certificate_chain_too_long"


# ---------------------------------------------------------------- names for leaves


def test_names_are_remembered(make_side: Make) -> None:
    side, server = make_side(), server_named("a.example", "*.a.example", "b.example")
    assert side.leaf_names("a.example", 443) is None
    meet(side, server)
    assert side.leaf_names("A.example.", 443) == LeafNames(("*.a.example", "a.example", "b.example"))
    assert side.leaf_names("a.example", 8443) is None
    assert side.leaf_names("b.example", 443) is None
    assert reason(side, server, host="c.example") != ""
    assert side.leaf_names("c.example", 443) is None


def test_names_of_few_are_remembered(make_side: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twistedproxy.tls.client_side.MOST_NAMED", 2)
    side = make_side()
    for one in ("a.example", "b.example", "c.example"):
        meet(side, server_named(one))
    assert side.leaf_names("a.example", 443) is None
    assert side.leaf_names("c.example", 443) == LeafNames(("c.example",))

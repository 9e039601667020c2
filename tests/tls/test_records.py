"""What passes through TLS, several records at a time, between two connections of pyOpenSSL's in memory."""

from __future__ import annotations

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL

from twistedproxy.tls.records import CONTENT, WIRE, Records

RECORD = 16 * 1024


class Pair:
    """A client and a server, after their handshake."""

    def __init__(self) -> None:
        serving = SSL.Context(SSL.TLS_SERVER_METHOD)
        certificate = trustme.CA().issue_cert("localhost")
        with certificate.private_key_and_cert_chain_pem.tempfile() as path:
            serving.use_privatekey_file(path)
            serving.use_certificate_file(path)
        self.client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
        self.client.set_connect_state()
        self.server = SSL.Connection(serving, None)
        self.server.set_accept_state()
        for side in (self.client, self.server, self.client, self.server):
            try:
                side.do_handshake()
            except SSL.WantReadError:
                pass
            self.bring(side)
        with pytest.raises(SSL.WantReadError):
            self.client.recv(1)
        self.records = Records()

    def bring(self, side: SSL.Connection) -> None:
        """Give what ``side`` has said to the other one."""
        other = self.server if side is self.client else self.client
        try:
            while True:
                other.bio_write(side.bio_read(1 << 20))
        except SSL.WantReadError:
            pass


@pytest.fixture
def pair() -> Pair:
    return Pair()


def test_all_records_that_are_there_are_one_piece(pair: Pair) -> None:
    for piece in (b"one", b"two", b"x" * RECORD):
        pair.client.send(piece)
    pair.bring(pair.client)
    content, why = pair.records.receive(pair.server)
    assert content == b"onetwo" + b"x" * RECORD
    assert type(why) is SSL.WantReadError
    assert pair.records.receive(pair.server)[0] == b""


def test_more_than_there_is_room_for_comes_in_pieces(pair: Pair) -> None:
    sent = bytes(range(256)) * (4 * CONTENT // 256)
    assert pair.records.send(pair.client, sent + b"rest") == len(sent) + 4
    pair.bring(pair.client)
    for number in range(4):
        content, why = pair.records.receive(pair.server)
        assert (content, why) == (sent[number * CONTENT : (number + 1) * CONTENT], None)
    content, why = pair.records.receive(pair.server)
    assert (content, type(why)) == (b"rest", SSL.WantReadError)


def test_what_is_to_be_sent_is_taken_in_pieces(pair: Pair) -> None:
    pair.records.send(pair.server, b"x" * (WIRE + 1))
    first, second = pair.records.take_said(pair.server), pair.records.take_said(pair.server)
    # Eight full records and one of a byte, with 22 bytes around each.
    assert (len(first), len(first) + len(second)) == (WIRE, WIRE + 1 + 9 * 22)
    assert pair.records.take_said(pair.server) == b""
    pair.client.bio_write(first + second)
    assert pair.records.receive(pair.client) == (b"x" * CONTENT, None)


def test_nothing_of_one_connection_is_told_to_another(pair: Pair) -> None:
    other = Pair()
    other.records = pair.records
    pair.client.send(b"secret of the first")
    pair.bring(pair.client)
    assert pair.records.receive(pair.server)[0] == b"secret of the first"
    other.client.send(b"second")
    other.bring(other.client)
    assert other.records.receive(other.server)[0] == b"second"
    assert other.records.take_said(other.server) == b""


def test_content_and_then_the_end(pair: Pair) -> None:
    pair.client.send(b"last words")
    pair.client.shutdown()
    pair.bring(pair.client)
    content, why = pair.records.receive(pair.server)
    assert (content, type(why)) == (b"last words", SSL.ZeroReturnError)
    assert type(pair.records.receive(pair.server)[1]) is SSL.ZeroReturnError


def test_content_and_then_an_end_without_an_alert(pair: Pair) -> None:
    pair.client.send(b"cut")
    pair.bring(pair.client)
    pair.server.bio_shutdown()
    content, why = pair.records.receive(pair.server)
    assert content == b"cut"
    assert isinstance(why, SSL.SysCallError)
    assert why.args == (-1, "Unexpected EOF")


def test_content_and_then_a_record_that_was_tampered_with(pair: Pair) -> None:
    pair.client.send(b"good")
    pair.bring(pair.client)
    pair.client.send(b"bad")
    said = bytearray(pair.client.bio_read(1 << 16))
    said[-1] ^= 1
    pair.server.bio_write(bytes(said))
    content, why = pair.records.receive(pair.server)
    assert (content, type(why)) == (b"good", SSL.Error)
    assert "decryption failed or bad record mac" in str(why)
    # The alert about it is there to be sent.
    assert len(pair.records.take_said(pair.server)) == 24
    # No error is left for the next connection.
    other = Pair()
    assert type(other.records.receive(other.server)[1]) is SSL.WantReadError


def test_before_the_handshake_nothing_is_taken() -> None:
    client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
    client.set_connect_state()
    records = Records()
    assert records.send(client, b"too early") == 0
    assert records.take_said(client).startswith(b"\x16\x03\x01")


def test_after_the_end_nothing_can_be_said(pair: Pair) -> None:
    pair.server.shutdown()
    with pytest.raises(SSL.Error, match="protocol is shutdown"):
        pair.records.send(pair.server, b"more")


@given(st.lists(st.binary(max_size=3 * RECORD), max_size=8))
def test_bytes_come_out_as_they_went_in(pieces: list[bytes]) -> None:
    pair = Pair()
    for piece in pieces:
        assert pair.records.send(pair.client, piece) == len(piece)
    while said := pair.records.take_said(pair.client):
        pair.server.bio_write(said)
    received = b""
    why: SSL.Error | None = None
    while why is None:
        content, why = pair.records.receive(pair.server)
        received += content
    assert received == b"".join(pieces)
    assert repr(pair.records) == "<Records 248 KiB>"

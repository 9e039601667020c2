"""What the two sides of an HTTP/2 connection make of any bytes."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from tests.fuzz.messages import cuts
from tests.fuzz.reading import Reading, octets, pieces
from tests.http2.peers import POST, Owner
from twistedproxy.errors import RequestError
from twistedproxy.http2.session import SessionError


def read_session(received: Iterable[bytes], client: bool) -> tuple[Reading, object]:
    """What comes of bytes in pieces, with the error that ended it; and everything in a form that can be compared."""
    owner = Owner(client)
    if client:
        for _ in range(4):
            owner.open(POST)
    reading = Reading(closed="in between")
    try:
        for data in received:
            owner.received(data)
    except SessionError as error:
        reading.error = RequestError(f"{error.code}: {error.detail}")
    detail = reading.error and reading.error.detail
    calls = [call for call in owner.log if call[1] not in ("content", "turn")]
    contents = {number: stream.content for number, stream in owner.opened.items()}
    owner.session.end()
    return reading, (detail, calls, contents, owner.over, owner.out)


def check_session(data: bytes, client: bool, random: Random) -> Reading:
    """Nothing but `SessionError` comes out, and how the bytes were split makes no difference."""
    reading, expected = read_session([data] if data else [], client)
    for received in (octets(data), pieces(data, cuts(random, len(data)))):
        assert read_session(received, client)[1] == expected
    return reading

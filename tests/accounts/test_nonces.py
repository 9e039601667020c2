"""Nonces of Digest: whose they are, how long they are valid, and that no use counts twice."""

from __future__ import annotations

import base64

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from twistedproxy.accounts import nonces as module
from twistedproxy.accounts.nonces import LIFETIME, Nonces


def test_a_use_counts_once() -> None:
    nonces = Nonces(Clock().seconds)
    nonce = nonces.new()
    assert nonces.fresh(nonce, 1)
    assert nonces.fresh(nonce, 1), "looking at it is no use"
    nonces.use(nonce, 1)
    assert not nonces.fresh(nonce, 1)
    assert not nonces.fresh(nonce, 0)
    assert nonces.fresh(nonce, 2)


def test_uses_may_overtake_each_other() -> None:
    nonces = Nonces(Clock().seconds)
    nonce = nonces.new()
    nonces.use(nonce, 5)
    assert nonces.fresh(nonce, 3)
    nonces.use(nonce, 3)
    assert [count for count in range(1, 7) if nonces.fresh(nonce, count)] == [1, 2, 4, 6]
    nonces.use(nonce, 100)
    assert not nonces.fresh(nonce, 36)
    assert nonces.fresh(nonce, 37)
    nonces.use(nonce, 0xFFFFFFFF)
    assert not nonces.fresh(nonce, 101)


def test_they_grow_old() -> None:
    clock = Clock()
    nonces = Nonces(clock.seconds)
    nonce = nonces.new()
    clock.advance(LIFETIME - 1)
    assert nonces.fresh(nonce, 1)
    clock.advance(1)
    assert not nonces.fresh(nonce, 1)


def test_others_nonces_are_not_valid() -> None:
    clock = Clock()
    nonces = Nonces(clock.seconds)
    nonce = nonces.new()
    assert not Nonces(clock.seconds).fresh(nonce, 1)
    assert not nonces.fresh(nonce[:-1], 1)
    assert not nonces.fresh(b"", 1)
    assert not nonces.fresh(b"!" * len(nonce), 1)
    assert nonces.new() != nonce


def test_a_nonce_has_one_spelling() -> None:
    """The last character of base64 has bits to spare, which would make it another key with the same MAC."""
    nonces = Nonces(Clock().seconds)
    nonce = nonces.new()
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = nonce[:-2] + alphabet[alphabet.index(nonce[-2:-1]) ^ 1 :][:1] + b"="
    assert base64.b64decode(other) == base64.b64decode(nonce)
    assert not nonces.fresh(other, 1)


def test_what_has_to_make_room_is_not_valid_any_more() -> None:
    clock = Clock()
    nonces = Nonces(clock.seconds)
    clock.advance(1)
    first, idle = nonces.new(), nonces.new()
    nonces.use(first, 1)
    for _ in range(module.MOST):
        clock.advance(0.001)
        nonces.use(nonces.new(), 1)
    assert not nonces.fresh(first, 1), "or it could be used a second time"
    assert not nonces.fresh(first, 2)
    assert nonces.fresh(nonces.new(), 1)
    assert repr(nonces) == f"<Nonces used={module.MOST}>"
    assert nonces.fresh(idle, 1) == (module_time(idle) > module_time(first))


def module_time(nonce: bytes) -> int:
    return int.from_bytes(base64.b64decode(nonce)[:8], "big")


@given(st.lists(st.integers(1, 200), max_size=300))
def test_never_twice(counts: list[int]) -> None:
    nonces = Nonces(Clock().seconds)
    nonce = nonces.new()
    taken = []
    for count in counts:
        if nonces.fresh(nonce, count):
            nonces.use(nonce, count)
            taken.append(count)
    assert len(taken) == len(set(taken))


@given(st.binary(max_size=60), st.integers(0, 0xFFFFFFFF))
def test_any_bytes_are_judged(nonce: bytes, count: int) -> None:
    assert not Nonces(Clock().seconds).fresh(nonce, count)

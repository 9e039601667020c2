"""CONNECT from the client's side: what is said, and what comes of every answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy import errors
from twistedproxy.http.head import HeadLimits
from twistedproxy.routes.http_connect import HTTPConnect

LIMITS = HeadLimits(8192, 100)


def asked(via: bytes = b"", authorization: bytes = b"") -> HTTPConnect:
    return HTTPConnect(b"origin.test:443", via, authorization, LIMITS)


def test_what_is_said() -> None:
    assert asked().begin() == b"CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n"
    assert asked(b"us", b"Basic eA==").begin() == (
        b"CONNECT origin.test:443 HTTP/1.1\r\n"
        b"Host: origin.test:443\r\n"
        b"Via: 1.1 us\r\n"
        b"Proxy-Authorization: Basic eA==\r\n"
        b"\r\n"
    )


OPEN = [
    b"HTTP/1.1 200 Connection established\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nProxy-Agent: x\r\n\r\n",
    b"HTTP/1.1 299\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    # RFC 9110 section 9.3.6: these mean nothing here.
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: nine\r\n\r\n",
]


@pytest.mark.parametrize("answer", OPEN)
@pytest.mark.parametrize("rest", [b"", b"SSH-2.0-x\r\n", b"\r\n\r\nHTTP/1.1 403 Forbidden\r\n\r\n"])
def test_the_tunnel_begins_right_after_the_answer(answer: bytes, rest: bytes) -> None:
    connect = asked()
    assert connect.take(answer + rest) == (len(answer), b"")
    assert connect.done
    assert repr(connect) == "<HTTPConnect origin.test:443 done>"


@given(st.sampled_from(OPEN), st.lists(st.integers(1, 40)), st.binary(max_size=20))
def test_however_it_is_cut(answer: bytes, cuts: list[int], rest: bytes) -> None:
    connect = asked()
    stream, taken = answer + rest, 0
    for size in [*cuts, len(stream)]:
        if not connect.done:
            used, said = connect.take(stream[taken : taken + size])
            taken += used
            assert said == b""
    assert connect.done
    assert taken == len(answer)


@pytest.mark.parametrize(
    ("status", "error", "ours"),
    [
        (400, errors.ParentFailed, 502),
        (403, errors.ParentRefused, 403),
        (404, errors.ParentFailed, 502),
        (407, errors.ParentUnauthorized, 502),
        (451, errors.ParentRefused, 451),
        (500, errors.ParentFailed, 502),
        (502, errors.ParentFailed, 502),
        (503, errors.ParentFailed, 503),
        (504, errors.ParentFailed, 504),
        (101, errors.ParentFailed, 502),
        (302, errors.ParentFailed, 502),
    ],
)
def test_there_is_no_tunnel(status: int, error: type[errors.ProxyError], ours: int) -> None:
    connect = asked()
    with pytest.raises(error) as raised:
        connect.take(b"HTTP/1.1 %d Whatever\r\nContent-Length: 3\r\n\r\nno." % status)
    assert type(raised.value) is error
    assert raised.value.detail == f"it answered {status} to CONNECT"
    assert raised.value.status == ours
    assert not connect.done


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (b"SSH-2.0-x\r\n", "the status line is not valid"),
        (b"\x05\xff", "the status line is not valid"),
        (b"HTTP/2.0 200 OK\r\n\r\n", "the answer's version is 2.0"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 2000, "it is larger than 8192 bytes"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 21, "there are more than 20 interim answers"),
    ],
)
def test_it_is_no_such_proxy(answer: bytes, detail: str) -> None:
    with pytest.raises(errors.ParentBroken) as raised:
        asked().take(answer)
    assert raised.value.detail.startswith(f"its answer to CONNECT cannot be read: {detail}")


def test_it_is_under_way() -> None:
    assert repr(asked()) == "<HTTPConnect origin.test:443 under way>"

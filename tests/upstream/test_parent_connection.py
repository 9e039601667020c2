"""The client of another proxy: what its exchanges in `test_exchange_routes` do not show."""

from __future__ import annotations

from tests.memory import Wire

ROUTES = (
    ("routes.tables", '[{ name = "office", parents = ["http://a.test:3128"] }]'),
    ("routes.default", "office"),
)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def test_repr() -> None:
    wire = Wire(*ROUTES)
    client = wire.client()
    client.receive(b"GET http://origin.test/ HTTP/1.1\r\nHost: x\r\n\r\n")
    wire.origins[0].receive(OK)
    assert repr(wire.origins[0].protocol) == (
        "<ParentConnection the parents of the route office at 192.0.2.1:0 idle exchanges=1>"
    )


def test_content_and_trailers_go_on() -> None:
    wire = Wire(*ROUTES)
    client = wire.client()
    client.receive(
        b"PUT http://origin.test/a?b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n"
        b"3\r\nabc\r\n0\r\nX: y\r\n\r\n"
    )
    assert wire.origins[0].take() == (
        b"PUT http://origin.test/a?b HTTP/1.1\r\nHost: origin.test\r\nTrailer: X\r\nTransfer-Encoding: chunked\r\n"
        b"Via: 1.1 proxy.test\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n"
    )
    wire.origins[0].receive(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)
    assert client.take().endswith(b"hi")


def test_as_many_as_to_one_origin() -> None:
    wire = Wire(*ROUTES, ("upstream.max_connections_per_origin", "2"), ("upstream.wait_timeout", "1"))
    clients = [wire.client() for _ in range(3)]
    for number, client in enumerate(clients):
        client.receive(b"GET http://origin%d.test/ HTTP/1.1\r\nHost: x\r\n\r\n" % number)
    assert len(wire.origins) == 2
    wire.pass_time(2)
    answer = clients[2].take()
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"no connection to the parents of the route office came free" in answer


def test_a_request_on_an_old_connection_is_tried_again() -> None:
    wire = Wire(*ROUTES)
    client = wire.client()
    client.receive(b"GET http://origin.test/ HTTP/1.1\r\nHost: x\r\n\r\n")
    wire.origins[0].receive(OK)
    client.take()
    client.receive(b"GET http://other.test/ HTTP/1.1\r\nHost: x\r\n\r\n")
    wire.origins[0].peer_closes()
    assert wire.origins[1].take().startswith(b"GET http://other.test/ HTTP/1.1\r\n")
    wire.origins[1].receive(OK)
    assert client.take().endswith(b"hi")


def judged_by(wire: Wire) -> list[bool]:
    """What the dialer is told of its connections."""
    told: list[bool] = []
    wire.dialer.judged = told.append
    return told


def test_a_new_connection_that_breaks_off_is_told_of_and_another_one_asked() -> None:
    wire = Wire(*ROUTES)
    told = judged_by(wire)
    client = wire.client()
    client.receive(b"GET http://origin.test/ HTTP/1.1\r\nHost: x\r\n\r\n")
    wire.origins[0].peer_closes()
    assert told == [False]
    assert wire.origins[1].take().startswith(b"GET http://origin.test/ HTTP/1.1\r\n")
    wire.origins[1].receive(OK)
    assert client.take().endswith(b"hi")
    client.receive(b"GET http://origin.test/ HTTP/1.1\r\nHost: x\r\n\r\n")
    wire.origins[1].receive(OK)
    assert told == [False, True]


def test_it_is_not_asked_a_third_time_nor_with_what_must_not_be_sent_twice() -> None:
    wire = Wire(*ROUTES)
    told = judged_by(wire)
    get, post = wire.client(), wire.client()
    get.receive(b"GET http://origin.test/ HTTP/1.1\r\nHost: x\r\n\r\n")
    wire.origins[0].peer_closes()
    wire.origins[1].peer_closes()
    post.receive(b"POST http://origin.test/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    wire.origins[2].peer_closes()
    for client in (get, post):
        assert client.take().startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert wire.records.reasons == ["no_response", "no_response"]
    assert told == [False, False, False]


def test_a_connection_that_breaks_off_in_an_answer_has_answered() -> None:
    wire = Wire(*ROUTES)
    told = judged_by(wire)
    client = wire.client()
    client.receive(b"GET http://origin.test/ HTTP/1.1\r\nHost: x\r\n\r\n")
    wire.origins[0].receive(OK[:-1])
    wire.origins[0].peer_closes()
    assert wire.records.reasons == ["response_cut"]
    assert told == [True]

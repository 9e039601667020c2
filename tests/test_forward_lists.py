"""Requests for what is on a list of what is blocked."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme
from OpenSSL import SSL

from tests.memory import Wire, opened_list
from tests.secure_origin import SecureOrigin
from twistedproxy.record.formats import JSONFormat
from twistedproxy.record.statistics import Statistics, added_up

ADS = opened_list("ads", "ads.example\n||path.example/bad\n192.0.2.66", category="advertising")


@pytest.fixture
def wire() -> Wire:
    wire = Wire()
    wire.block(opened_list("seen", "seen.example\nads.example", action="log"), ADS)
    return wire


def get(wire: Wire, url: str) -> bytes:
    """What a client is answered."""
    client = wire.client()
    client.receive(f"GET {url} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return client.take()


@pytest.mark.parametrize(
    "url",
    [
        "http://ads.example/",
        "http://x.ADS.example.:8080/",
        "http://path.example/bad/x",
        "http://192.0.2.66/",
        "http://3221226050/",
        "http://0xc0.0.2.66/",
    ],
)
def test_what_is_blocked_is_refused_with_a_page(wire: Wire, url: str) -> None:
    answer = get(wire, url)
    assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert b"\r\nProxy-Status: proxy.test; error=http_request_denied\r\n" in answer
    assert b"is on the list ads (category advertising)." in answer
    assert wire.dialer.dials == []
    (record,) = wire.records.all
    assert (record.kind, record.status, record.reason) == ("answer", 403, "blocked")


@pytest.mark.parametrize(
    "url", ["http://example/", "http://path.example/", "http://xads.example/", "http://192.0.2.6/"]
)
def test_what_is_not_listed_passes(wire: Wire, url: str) -> None:
    assert get(wire, url) == b""
    assert len(wire.origins) == 1


def test_a_match_can_be_only_noted(wire: Wire) -> None:
    assert get(wire, "http://seen.example/") == b""
    (exchange,) = next(iter(wire.factory)).exchanges
    assert exchange.listed is not None
    assert (exchange.listed.list, exchange.listed.blocks) == ("seen", False)
    wire.origins[0].receive(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert [record.reason for record in wire.records.all] == [""]


def test_the_log_names_the_list(wire: Wire) -> None:
    lines: list[bytes] = []
    real = wire.records.finished
    wire.plane.access_log = type(  # type: ignore[assignment]  # a double
        "Log", (), {"finished": lambda _, exchange: (lines.append(JSONFormat()(exchange)), real(exchange))}
    )()
    get(wire, "http://ads.example/")
    get(wire, "http://other.example/")
    assert b'"list":"ads","category":"advertising"' in lines[0]
    assert len(lines) == 1


def test_matches_are_counted_by_list(wire: Wire) -> None:
    for host in ("ads.example", "x.ads.example", "seen.example", "other.example"):
        get(wire, f"http://{host}/")
    statistics = Statistics()
    wire.plane.tally.read_into(statistics)
    assert statistics.listed == {"ads": 2, "seen": 1}
    assert added_up([statistics, statistics]).listed == {"ads": 4, "seen": 2}


def test_other_lists_count_from_the_next_request_on(wire: Wire) -> None:
    wire.plane.use(wire.plane.snapshot.with_lists(None))
    assert get(wire, "http://ads.example/") == b""


def test_the_proxys_own_name_is_on_no_list() -> None:
    wire = Wire()
    wire.block(opened_list("all", "pyproxy.internal"))
    assert get(wire, "http://pyproxy.internal/").startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("host", "names", "blocked"),
    [
        ("192.0.2.7", ("www.ads.example", "192.0.2.7"), True),
        ("192.0.2.7", ("fine.example", "seen.example", "192.0.2.7"), False),
        ("fine.example", ("fine.example", "ads.example"), False),
    ],
)
def test_a_certificate_says_who_an_address_is(host: str, names: tuple[str, ...], blocked: bool, tmp_path: Path) -> None:
    """Where no name was asked for, those of the server's certificate count, before it is asked for anything."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    wire = Wire(("upstream_tls.anchors", str(tmp_path / "ca.pem")), ("upstream_tls.strict", "false"))
    wire.block(opened_list("seen", "seen.example", action="log"), ADS)
    client = wire.client()
    client.receive(f"GET https://{host}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    server = SSL.Context(SSL.TLS_SERVER_METHOD)
    authority.issue_cert(*names).configure_cert(server)
    origin = SecureOrigin(wire, wire.origins[0], server)
    origin.pump()
    if blocked:
        assert client.take().startswith(b"HTTP/1.1 403 ")
        assert origin.plain == b""
        assert wire.records.reasons == ["blocked"]
        assert wire.pool.open_connections == 0
    else:
        assert origin.plain.startswith(b"GET / HTTP/1.1\r\n")
        assert client.take() == b""


def test_a_rule_chooses_the_lists() -> None:
    wire = Wire(("access.rules", '{ hosts = ["ads.example"], action = "set", blocklists = ["other"] }'))
    wire.block(ADS, opened_list("other", "x.ads.example"), opened_list("local", "own.ads.example"))
    assert get(wire, "http://www.ads.example/").startswith(b"HTTP/1.1 403 ")
    assert get(wire, "http://ads.example/") == b""
    wire.reload(("access.rules", '{ action = "set", blocklists = ["other"] }'))
    wire.block(ADS, opened_list("other", "x.ads.example"), opened_list("local", "own.ads.example"))
    assert get(wire, "http://ads.example:8080/") == b""
    assert b"on the list other." in get(wire, "http://x.ads.example/")
    assert b"on the list local." in get(wire, "http://own.ads.example/")

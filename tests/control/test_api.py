"""What the API answers to each request, as its own description says it must, and everything that can go wrong."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import msgspec
import pytest
from twisted.internet.defer import Deferred

from twistedproxy.control.api import (
    CERTIFICATE_PATH,
    JSON,
    METRICS_PATH,
    OPEN_PATHS,
    OPENAPI_PATH,
    PHRASES,
    PROBLEM,
    Answer,
    Api,
    Asked,
    problem,
)
from twistedproxy.control.openapi import document, openapi
from twistedproxy.control.types import ROUTES, Candidate, Drain, Inquiry, LogLevel, Verdict

DOCUMENT = openapi()


def ask(steered: Any, method: str, target: str, content: bytes = b"", content_type: str = JSON) -> Answer:
    """The answer, after a check that the description allows it."""
    answers: list[Answer] = []
    asked = Asked(method, target, content_type if content else "", "", content)
    Deferred.fromCoroutine(Api(steered).answer(asked)).addCallback(answers.append)
    [answer] = answers
    check(method, target.partition("?")[0], answer)
    return answer


def check(method: str, path: str, answer: Answer) -> None:
    described = DOCUMENT["paths"].get(path) or DOCUMENT["paths"].get(f"{path.rpartition('/')[0]}/{{id}}")
    operation = (described or {}).get("get" if method == "HEAD" else method.lower())
    if operation is None:
        assert answer.status in (404, 405)
        schema = {"$ref": "#/components/schemas/Problem"}
    else:
        [schema] = [
            one["schema"]
            for media_type, one in operation["responses"][str(answer.status)]["content"].items()
            if media_type == answer.media_type.partition(";")[0]
        ]
    if answer.media_type in (JSON, PROBLEM):
        jsonschema.Draft202012Validator({**DOCUMENT, **schema}).validate(json.loads(answer.content))


def said(answer: Answer, status: int = 200) -> Any:
    assert (answer.status, answer.media_type) == (status, JSON)
    return json.loads(answer.content)


def refused(answer: Answer, status: int) -> Any:
    assert (answer.status, answer.media_type) == (status, PROBLEM)
    problem = json.loads(answer.content)
    assert (problem.pop("status"), problem.pop("title")) == (status, PHRASES[status])
    return problem


# ---------------------------------------------------------------- what goes well


def test_status(steered: Any) -> None:
    assert said(ask(steered, "GET", "/api/v1/status")) == msgspec.to_builtins(steered.now)


@pytest.mark.parametrize(
    ("query", "arguments"),
    [
        ("", (1000, "", "")),
        ("?limit=1", (1, "", "")),
        ("?limit=10000&state=tunnel", (10000, "", "tunnel")),
        ("?client=192.0.2.7", (1000, "192.0.2.7", "")),
        ("?client=2001:DB8:0::1", (1000, "2001:db8::1", "")),
        ("?client=2001%3adb8%3a%3a1&state=&limit=5", (5, "2001:db8::1", "")),
    ],
)
def test_connections(steered: Any, query: str, arguments: Any) -> None:
    listed = said(ask(steered, "GET", f"/api/v1/connections{query}"))
    assert steered.asked == [arguments]
    assert listed["total"] == 7
    assert listed["connections"][0]["id"] == "0-17"


def test_close_a_connection(steered: Any) -> None:
    assert said(ask(steered, "DELETE", "/api/v1/connections/0-17")) == {"detail": "connection 0-17 is being closed"}
    assert steered.asked == ["0-17"]


@pytest.mark.parametrize(("query", "host"), [("", ""), ("?host=a.test", "a.test"), ("?host=", "")])
def test_learned(steered: Any, query: str, host: str) -> None:
    told = said(ask(steered, "GET", f"/api/v1/intercept/learned{query}"))
    assert steered.asked == [(host, False)]
    assert [one["host"] for one in told["learned"]] == ["a.test"]


@pytest.mark.parametrize(("query", "host"), [("", ""), ("?host=a.test", "a.test")])
def test_forget_learned(steered: Any, query: str, host: str) -> None:
    assert said(ask(steered, "DELETE", f"/api/v1/intercept/learned{query}")) == {"detail": "1 forgotten"}
    assert steered.asked == [(host, True)]


def test_nothing_is_forgotten_by_mistake(steered: Any) -> None:
    """A script whose variable was empty does not mean all of them."""
    assert ask(steered, "DELETE", "/api/v1/intercept/learned?host=").status == 400
    assert steered.asked == []


def test_explain(steered: Any) -> None:
    content = b'{"url": "http://a.test/", "client": "0:0::1", "user": "ann"}'
    told = said(ask(steered, "POST", "/api/v1/explain", content))
    assert steered.asked == [Inquiry("http://a.test/", "::1", "ann")]
    assert told["allowed"] is False
    assert told["requests"][0]["steps"] == [
        {
            "stage": "rule",
            "decision": "denied",
            "by": "games",
            "key": "access.rules[1]",
            "source": "pyproxy.toml:9",
            "detail": "",
        }
    ]
    steered.against = "there is no such listener"
    assert ask(steered, "POST", "/api/v1/explain", b'{"url": "a"}').status == 409


@pytest.mark.parametrize("content", [b"", b'{"url": "a", "client": "me"}', b'{"url": "a", "usr": "x"}', b'{"url": 1}'])
def test_what_cannot_be_explained(steered: Any, content: bytes) -> None:
    assert ask(steered, "POST", "/api/v1/explain", content).status == 400
    assert steered.asked == []


def test_settings(steered: Any) -> None:
    assert said(ask(steered, "GET", "/api/v1/settings")) == msgspec.to_builtins(steered.in_force)


@pytest.mark.parametrize("what", ["validate", "diff", "apply"])
def test_candidates(steered: Any, what: str) -> None:
    content = b'{"toml": "[log]\\nlevel = \\"warn\\"\\n", "persist": true}'
    verdict = said(ask(steered, "POST", f"/api/v1/settings/{what}", content))
    assert verdict == msgspec.to_builtins(steered.verdict)
    assert steered.asked == [Candidate('[log]\nlevel = "warn"\n', True)]


@pytest.mark.parametrize("what", ["validate", "diff"])
def test_a_verdict_on_invalid_settings_is_an_answer(steered: Any, what: str) -> None:
    steered.verdict = Verdict(False, ["line 3: no such key"], [], [])
    assert said(ask(steered, "POST", f"/api/v1/settings/{what}"))["problems"] == ["line 3: no such key"]
    assert steered.asked == [Candidate()]


def test_reload(steered: Any) -> None:
    assert said(ask(steered, "POST", "/api/v1/reload")) == {"detail": "the settings have been reloaded"}
    assert steered.asked == ["reload"]


@pytest.mark.parametrize(
    ("content", "drain"),
    [(b"", Drain()), (b"{}", Drain()), (b'{"timeout": null}', Drain()), (b'{"timeout": 2}', Drain(2))],
)
def test_drain(steered: Any, content: bytes, drain: Drain) -> None:
    assert said(ask(steered, "POST", "/api/v1/drain", content)) == {"detail": "draining"}
    assert steered.asked == [("drain", drain.timeout)]


def test_upgrade(steered: Any) -> None:
    assert said(ask(steered, "POST", "/api/v1/upgrade")) == {"detail": "process 4711 goes on"}


def test_log_level(steered: Any) -> None:
    assert said(ask(steered, "GET", "/api/v1/log-level")) == {"level": "info"}
    assert said(ask(steered, "PUT", "/api/v1/log-level", b'{"level": "debug"}')) == {"level": "debug"}
    assert steered.asked == [LogLevel("debug").level]


def test_certificate_authority(steered: Any) -> None:
    expected = msgspec.to_builtins(steered.authority)
    assert said(ask(steered, "GET", "/api/v1/ca")) == expected
    assert said(ask(steered, "POST", "/api/v1/ca/renew")) == expected
    assert steered.asked == ["authority", "renew"]


@pytest.mark.parametrize(
    ("query", "format", "media_type"),
    [
        ("", "pem", "application/x-pem-file"),
        ("?format=pem", "pem", "application/x-pem-file"),
        ("?format=der", "der", "application/pkix-cert"),
        ("?format=p12", "p12", "application/x-pkcs12"),
    ],
)
def test_certificate(steered: Any, query: str, format: str, media_type: str) -> None:
    answer = ask(steered, "GET", f"{CERTIFICATE_PATH}{query}")
    assert answer == Answer(200, media_type, b"\xff" + format.encode())
    assert steered.asked == [format]


@pytest.mark.parametrize("state", ["starting", "ready", "reloading", "draining", "stopping"])
def test_health(steered: Any, state: Any) -> None:
    steered.state = state
    assert said(ask(steered, "GET", "/healthz")) == {"status": "ok"}
    ready = state in ("ready", "reloading")
    assert said(ask(steered, "GET", "/readyz"), 200 if ready else 503) == {"status": "ok" if ready else state}


def test_description(steered: Any) -> None:
    answer = ask(steered, "GET", OPENAPI_PATH)
    assert answer == Answer(200, JSON, document())


def test_metrics(steered: Any) -> None:
    answer = ask(steered, "GET", f"{METRICS_PATH}?name[]=pyproxy_ready")
    assert answer.media_type == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.content.startswith(b"# HELP pyproxy_info The version that runs.\n")
    assert steered.asked == ["status"]


@pytest.mark.parametrize(("method", "path"), [(method, path) for method, path, *_ in ROUTES if method == "GET"])
def test_head(steered: Any, method: str, path: str) -> None:
    """RFC 9110 section 9.3.2: as GET; whoever sends the answer leaves its content out."""
    assert ask(steered, "HEAD", path) == ask(steered, method, path)


def test_absolute_form(steered: Any) -> None:
    """RFC 9112 section 3.2.2."""
    assert said(ask(steered, "GET", "/healthz")) == {"status": "ok"}
    for target in ("http://localhost/healthz", "HTTP://any.test:80/healthz?a"):
        answers: list[Answer] = []
        Deferred.fromCoroutine(Api(steered).answer(Asked("GET", target))).addCallback(answers.append)
        assert said(answers[0]) == {"status": "ok"}


def test_a_slow_answer(steered: Any) -> None:
    steered.waiting = Deferred()
    answers: list[Answer] = []
    Deferred.fromCoroutine(Api(steered).answer(Asked("POST", "/api/v1/reload"))).addCallback(answers.append)
    assert answers == []
    steered.waiting.callback(None)
    assert said(answers[0]) == {"detail": "the settings have been reloaded"}


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        "*",
        "/api",
        "/api/v1/status/",
        "/api/v1/nothing",
        "/api/v2/status",
        "/api/v1/connections/a/b",
        "ftp://a/healthz",
    ],
)
def test_nothing_there(steered: Any, path: str) -> None:
    assert refused(ask(steered, "GET", path), 404) == {"detail": "there is nothing at this path"}


@pytest.mark.parametrize("id", ["0-18", "x", "0-17%20", "%7Bid%7D", "", "9" * 40])
def test_no_such_connection(steered: Any, id: str) -> None:
    answer = ask(steered, "DELETE", f"/api/v1/connections/{id}")
    assert refused(answer, 404) == {"detail": "there is no connection of this id"}
    assert steered.asked == (["0-18"] if id == "0-18" else [])


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/api/v1/status", "GET, HEAD"),
        ("DELETE", "/healthz", "GET, HEAD"),
        ("POST", "/metrics", "GET, HEAD"),
        ("GET", "/api/v1/reload", "POST"),
        ("HEAD", "/api/v1/reload", "POST"),
        ("DELETE", "/api/v1/log-level", "GET, HEAD, PUT"),
        ("OPTIONS", "/api/v1/connections/0-17", "DELETE"),
        ("BREW", "/api/v1/connections", "GET, HEAD"),
    ],
)
def test_another_method(steered: Any, method: str, path: str, allow: str) -> None:
    """RFC 9110 section 15.5.6: Allow says which there are."""
    answer = ask(steered, method, path)
    assert answer.allow == allow
    assert refused(answer, 405) == {"detail": f"this path takes {allow.replace(', ', ' and ')}"}
    assert steered.asked == []


@pytest.mark.parametrize(
    ("path", "content", "detail"),
    [
        ("settings/validate", b"{", "Input data was truncated"),
        ("settings/validate", b"[]", "Expected `object`, got `array`"),
        ("settings/diff", b"{}x", "JSON is malformed: trailing characters"),
        ("settings/apply", b'{"tolm": ""}', "Object contains unknown field `tolm`"),
        ("settings/apply", b'{"persist": 1}', "Expected `bool`, got `int` - at `$.persist`"),
        (
            "settings/apply",
            b'{"toml": "\xff"}',
            "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
        ),
        ("drain", b'{"timeout": -1}', "Expected `float` >= 0.0 - at `$.timeout`"),
        ("drain", b'{"timeout": 1e99}', "Expected `float` <= 86400.0 - at `$.timeout`"),
        ("drain", b'{"timeout": 1e999}', "Number out of range - at `$.timeout`"),
        ("drain", b"[" * 100_000, "Expected `object`, got `array`"),
        ("drain", b'{"a":' * 100_000, "Object contains unknown field `a`"),
        ("reload", b"{}", "nothing is taken here, and the request has content"),
    ],
)
def test_content_that_is_not_taken(steered: Any, path: str, content: bytes, detail: str) -> None:
    assert refused(ask(steered, "POST", f"/api/v1/{path}", content), 400)["detail"].startswith(detail)
    assert steered.asked == []


@pytest.mark.parametrize("content", [b"", b"{}", b'{"level": "loud"}', b'{"level": "info", "until": 1}'])
def test_a_level_that_is_none(steered: Any, content: bytes) -> None:
    assert "level" in refused(ask(steered, "PUT", "/api/v1/log-level", content), 400)["detail"] or b"until" in content
    assert steered.asked == []


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp"])
def test_content_of_another_type(steered: Any, content_type: str) -> None:
    answer = ask(steered, "POST", "/api/v1/drain", b"{}", content_type)
    assert refused(answer, 415) == {"detail": "content is taken as application/json"}
    assert steered.asked == []


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8"])
def test_content_of_the_type(steered: Any, content_type: str) -> None:
    assert said(ask(steered, "POST", "/api/v1/drain", b"{}", content_type))


@pytest.mark.parametrize(
    ("target", "detail"),
    [
        ("/api/v1/connections?limit=0", "limit is a number from 1 to 10000"),
        ("/api/v1/connections?limit=10001", "limit is a number from 1 to 10000"),
        ("/api/v1/connections?limit=", "limit is a number from 1 to 10000"),
        ("/api/v1/connections?limit=%D9%A1", "limit is a number from 1 to 10000"),
        ("/api/v1/connections?client=a.test", "client is an IP address"),
        ("/api/v1/connections?state=odd", "state is one of idle, request, tunnel, closing"),
        ("/api/v1/connections?limit=1&limit=2", "limit is there more than once"),
        ("/api/v1/connections?host=a", "no argument 'host' is known here"),
        ("/api/v1/ca/certificate?format=cer", "format is one of pem, der, p12"),
        ("/api/v1/ca/certificate?format=", "format is one of pem, der, p12"),
        ("/api/v1/ca/certificate?limit=1", "no argument 'limit' is known here"),
        ("/api/v1/status?limit=1", "no argument 'limit' is known here"),
        ("/api/v1/status?%ff=1", "no argument '\ufffd' is known here"),
    ],
)
def test_arguments_that_are_not_taken(steered: Any, target: str, detail: str) -> None:
    assert refused(ask(steered, "GET", target), 400) == {"detail": detail}
    assert steered.asked == []


def test_settings_that_are_not_valid_are_not_applied(steered: Any) -> None:
    steered.verdict = Verdict(False, ["line 3: no such key", "line 5: no such key"], [], [])
    assert refused(ask(steered, "POST", "/api/v1/settings/apply"), 422) == {
        "detail": "the settings are not valid, and have not been applied",
        "problems": ["line 3: no such key", "line 5: no such key"],
    }


@pytest.mark.parametrize("path", ["/api/v1/ca", CERTIFICATE_PATH])
def test_there_is_no_authority(steered: Any, path: str) -> None:
    steered.against = "ca.pem has a private key that other users can read"
    assert refused(ask(steered, "GET", path), 409)["detail"] == steered.against


@pytest.mark.parametrize("path", ["settings/apply", "reload", "upgrade", "ca/renew"])
def test_it_cannot_be_done(steered: Any, path: str) -> None:
    steered.against = "cannot listen on tcp:80: Permission denied\nthe settings were not reloaded"
    assert refused(ask(steered, "POST", f"/api/v1/{path}"), 409) == {
        "detail": "cannot listen on tcp:80: Permission denied",
        "problems": ["cannot listen on tcp:80: Permission denied", "the settings were not reloaded"],
    }


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/v1/status"), ("GET", "/api/v1/settings"), ("GET", "/metrics"), ("POST", "/api/v1/reload")],
)
def test_a_fault(steered: Any, logged_errors: Any, method: str, path: str) -> None:
    steered.fault = ZeroDivisionError("secret")
    assert refused(ask(steered, method, path), 500) == {"detail": "the fault is in the operational log"}
    assert len(logged_errors.flush(ZeroDivisionError)) == 1


def test_an_answer_that_cannot_be_encoded(steered: Any, logged_errors: Any) -> None:
    steered.in_force = object()
    refused(ask(steered, "GET", "/api/v1/settings"), 500)
    assert len(logged_errors.flush(TypeError)) == 1


# ---------------------------------------------------------------- the door for everybody


@pytest.mark.parametrize(
    ("method", "path"),
    [(method, path) for method, path, *_ in ROUTES] + [("GET", OPENAPI_PATH), ("GET", CERTIFICATE_PATH)],
)
def test_what_is_open_to_everybody(steered: Any, method: str, path: str) -> None:
    answers: list[Answer] = []
    api = Api(steered, OPEN_PATHS)
    Deferred.fromCoroutine(api.answer(Asked(method, path.replace("{id}", "0-17")))).addCallback(answers.append)
    assert answers[0].status == (200 if path in OPEN_PATHS else 404)
    assert steered.asked == []


def test_every_status_has_its_words() -> None:
    described = {
        int(status)
        for item in DOCUMENT["paths"].values()
        for operation in item.values()
        for status in operation["responses"]
    }
    assert described | {405} == set(PHRASES)
    assert problem(413, "").content == b'{"title":"Content Too Large","status":413}'


def test_repr(steered: Any) -> None:
    assert repr(Api(steered, OPEN_PATHS)).startswith("<Api 3 paths of <")


# ---------------------------------------------------------------- lists of what is blocked


def test_lists_of_what_is_blocked(steered: Any) -> None:
    (one,) = said(ask(steered, "GET", "/api/v1/blocklists"))["lists"]
    assert (one["name"], one["names"], one["faults"][0]["line"]) == ("ads", 1000, 12)


@pytest.mark.parametrize(
    ("content", "asked", "detail"),
    [
        (b"", ("", False), "nothing changed"),
        (b'{"name": "ads", "force": true}', ("ads", True), "ads changed"),
    ],
)
def test_lists_are_refreshed(steered: Any, content: bytes, asked: tuple[str, bool], detail: str) -> None:
    answer = ask(steered, "POST", "/api/v1/blocklists/refresh", content)
    assert said(answer) == {"detail": detail}
    assert steered.asked == [asked]


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b'{"host": "a.test"}', "a.test is blocked from now on"),
        (b'{"host": "a.test", "allow": true}', "a.test is never blocked from now on"),
        (b'{"host": "known.test"}', "it was there"),
    ],
)
def test_entries_are_added(steered: Any, content: bytes, detail: str) -> None:
    assert said(ask(steered, "POST", "/api/v1/blocklists/entries", content)) == {"detail": detail}
    assert steered.asked[0][2] is True


@pytest.mark.parametrize(
    ("query", "status", "asked"),
    [
        ("?host=a.test", 200, [("a.test", False, False)]),
        ("?host=a.test&allow=true", 200, [("a.test", True, False)]),
        ("?host=known.test", 404, [("known.test", False, False)]),
        ("?host=a.test&allow=yes", 400, []),
        ("?allow=true", 400, []),
        ("", 400, []),
    ],
)
def test_entries_are_removed(steered: Any, query: str, status: int, asked: list[Any]) -> None:
    assert ask(steered, "DELETE", f"/api/v1/blocklists/entries{query}").status == status
    assert steered.asked == asked


def test_a_host_or_url_is_tested(steered: Any) -> None:
    told = said(ask(steered, "GET", "/api/v1/blocklists/test?target=http%3A%2F%2Fa.test%2Fx"))
    assert told == {
        "target": "http://a.test/x",
        "blocked": True,
        "list": "ads",
        "category": "advertising",
        "rule": "a.test",
    }
    assert ask(steered, "GET", "/api/v1/blocklists/test").status == 400
    steered.against = "it is neither a host nor a URL"
    assert ask(steered, "GET", "/api/v1/blocklists/test?target=x").status == 409


# ---------------------------------------------------------------- limits


@pytest.mark.parametrize(
    ("query", "asked"),
    [("", (20, "")), ("?limit=3&name=guests", (3, "guests")), ("?limit=10000", (10_000, ""))],
)
def test_limits(steered: Any, query: str, asked: tuple[int, str]) -> None:
    told = said(ask(steered, "GET", f"/api/v1/limits{query}"))
    assert [one["name"] for one in told["limits"]] == ["guests", "night"]
    assert told["shares"][0]["key"] == "192.0.2.7"
    assert steered.asked == [asked]


@pytest.mark.parametrize("query", ["?limit=0", "?limit=10001", "?limit=x", "?most=1"])
def test_limits_that_are_not_understood(steered: Any, query: str) -> None:
    assert ask(steered, "GET", f"/api/v1/limits{query}").status == 400
    assert steered.asked == []


@pytest.mark.parametrize(
    ("content", "asked", "whose"),
    [
        (b'{"name": "guests"}', ("guests", ""), "everybody"),
        (b'{"name": "guests", "key": "user ann"}', ("guests", "user ann"), "user ann"),
    ],
)
def test_limits_are_filled_again(steered: Any, content: bytes, asked: tuple[str, str], whose: str) -> None:
    answer = ask(steered, "POST", "/api/v1/limits/reset", content)
    assert said(answer) == {"detail": f"{whose} begins anew under the limit guests"}
    assert steered.asked == [asked]
    steered.against = "there is no limit guests"
    assert ask(steered, "POST", "/api/v1/limits/reset", content).status == 409

"""The tree of errors: each has what a page, a Proxy-Status field and a log line need."""

from __future__ import annotations

import re
from http import HTTPStatus

import pytest

from tests.error_tree import MODULES, every_error
from twistedproxy.errors import ProxyError

# RFC 9209 section 2.3, with the section of each.
PROXY_ERROR_TYPES = {
    "dns_timeout": 1,
    "dns_error": 2,
    "destination_not_found": 3,
    "destination_unavailable": 4,
    "destination_ip_prohibited": 5,
    "destination_ip_unroutable": 6,
    "connection_refused": 7,
    "connection_terminated": 8,
    "connection_timeout": 9,
    "connection_read_timeout": 10,
    "connection_write_timeout": 11,
    "connection_limit_reached": 12,
    "tls_protocol_error": 13,
    "tls_certificate_error": 14,
    "tls_alert_received": 15,
    "http_request_error": 16,
    "http_request_denied": 17,
    "http_response_incomplete": 18,
    "http_response_header_section_size": 19,
    "http_response_header_size": 20,
    "http_response_body_size": 21,
    "http_response_trailer_section_size": 22,
    "http_response_trailer_size": 23,
    "http_response_transfer_coding": 24,
    "http_response_content_coding": 25,
    "http_response_timeout": 26,
    "http_upgrade_failed": 27,
    "http_protocol_error": 28,
    "proxy_internal_response": 29,
    "proxy_internal_error": 30,
    "proxy_configuration_error": 31,
    "proxy_loop_detected": 32,
}


@pytest.mark.parametrize("kind", list(every_error()), ids=lambda kind: kind.__name__)
def test_each_says_what_a_client_and_an_operator_need(kind: type[ProxyError]) -> None:
    error = kind("what was wrong")
    assert 400 <= HTTPStatus(kind.status) < 600
    assert kind.proxy_status in PROXY_ERROR_TYPES
    assert re.fullmatch("[a-z_]+", kind.reason)
    assert re.fullmatch(r"[A-Z][^\n]+\.", error.sentence)
    assert error.detail == "what was wrong"


def test_reasons_tell_errors_apart() -> None:
    reasons = [kind.reason for kind in every_error()]
    assert len(reasons) == len(set(reasons))


def test_every_error_is_in_the_every_error() -> None:
    things = [thing for module in MODULES for thing in vars(module).values()]
    names = {thing.__name__ for thing in things if isinstance(thing, type) and issubclass(thing, Exception)}
    assert names == {kind.__name__ for kind in every_error()}

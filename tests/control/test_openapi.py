"""The description of the API: valid, complete, and the one in docs/."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from twistedproxy.control.api import CERTIFICATE_PATH, METRICS_PATH, OPENAPI_PATH
from twistedproxy.control.openapi import document, openapi
from twistedproxy.control.types import ROUTES

DOCUMENT = openapi()
OPERATIONS = {
    (method.upper(), path): operation for path, item in DOCUMENT["paths"].items() for method, operation in item.items()
}


def test_it_is_valid() -> None:
    assert list(OpenAPIV31SpecValidator(json.loads(document())).iter_errors()) == []


def test_the_file_in_the_repository_is_current() -> None:
    assert (Path(__file__).parents[2] / "docs" / "openapi.json").read_bytes() == document()


def test_every_route_is_described_and_nothing_else() -> None:
    routes = {(method, path) for method, path, *_ in ROUTES}
    assert set(OPERATIONS) == routes | {("GET", path) for path in (OPENAPI_PATH, METRICS_PATH, CERTIFICATE_PATH)}


@pytest.mark.parametrize(("method", "path", "takes", "gives", "purpose"), ROUTES)
def test_route(method: str, path: str, takes: type | None, gives: type, purpose: str) -> None:
    operation = OPERATIONS[method, path]
    assert operation["summary"] == purpose
    answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer == {"$ref": f"#/components/schemas/{gives.__name__}"}
    body = operation.get("requestBody")
    if takes is None:
        assert body is None
    else:
        assert body["content"]["application/json"]["schema"] == {"$ref": f"#/components/schemas/{takes.__name__}"}
        assert body["required"] is (takes.__name__ in ("LogLevel", "Inquiry", "Entry", "Refill"))


def test_names_of_operations() -> None:
    names = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(set(names)) == len(names)
    assert {"get_status", "delete_connections", "post_settings_apply", "put_log_level", "get_healthz"} <= set(names)


def test_every_problem_is_a_problem() -> None:
    wrong = [
        (name, status)
        for name, operation in OPERATIONS.items()
        for status, response in operation["responses"].items()
        if status not in ("200", "503") and list(response["content"]) != ["application/problem+json"]
    ]
    assert wrong == []


def test_what_comes_in_is_closed() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    for name in ("Candidate", "Drain", "LogLevel"):
        assert schemas[name]["additionalProperties"] is False


def test_every_type_says_what_it_is() -> None:
    def descriptions(schema: Any) -> str:
        return str(schema.get("description", ""))

    schemas = DOCUMENT["components"]["schemas"]
    assert [name for name, schema in schemas.items() if not descriptions(schema)] == []
    assert [name for name, schema in schemas.items() if "``" in descriptions(schema)] == []
    assert [name for name, schema in schemas.items() if "\n " in descriptions(schema)] == []

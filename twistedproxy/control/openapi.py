"""The API as OpenAPI 3.1 describes it, made from `ROUTES` and the types that go in and out."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from functools import cache
from typing import Any, Final, get_args

import msgspec

from twistedproxy.control.types import (
    CERTIFICATE_TYPES,
    CONNECTION_ID,
    LISTED_CONNECTIONS,
    LISTED_SHARES,
    MOST_CONNECTIONS,
    MOST_SHARES,
    ROUTES,
    ConnectionState,
    Problem,
)

_VERSION: Final = "1"
"""The API's, which is the one in its paths; it changes when a client has to."""

_PROBLEMS: Final = {
    "400": "The request is not what is taken here.",
    "404": "There is no such connection, or entry.",
    "409": "It cannot be done now; nothing has changed.",
    "413": "The content is too large.",
    "415": "The content is not JSON.",
    "422": "The settings are not valid; nothing has changed.",
    "500": "A fault, which the operational log has.",
}

_MAY_FAIL: Final = (
    "/api/v1/settings/apply",
    "/api/v1/reload",
    "/api/v1/upgrade",
    "/api/v1/ca",
    "/api/v1/ca/renew",
    "/api/v1/explain",
    "/api/v1/blocklists/refresh",
    "/api/v1/blocklists/entries",
    "/api/v1/blocklists/test",
    "/api/v1/limits/reset",
)
"""Where the state of the daemon may be against it."""

_ENTRIES: Final = "/api/v1/blocklists/entries"
_QUERY: Final[dict[str, tuple[dict[str, Any], ...]]] = {
    "/api/v1/connections": (
        {
            "name": "limit",
            "in": "query",
            "description": "How many are listed; the oldest go first.",
            "schema": {"type": "integer", "minimum": 1, "maximum": MOST_CONNECTIONS, "default": LISTED_CONNECTIONS},
        },
        {
            "name": "client",
            "in": "query",
            "description": "Only those of the client with this IP address.",
            "schema": {"type": "string"},
        },
        {
            "name": "state",
            "in": "query",
            "description": "Only those in this state.",
            "schema": {"enum": list(get_args(ConnectionState))},
        },
    ),
    "/api/v1/limits": (
        {
            "name": "limit",
            "in": "query",
            "description": "How many of those who are limited are listed.",
            "schema": {"type": "integer", "minimum": 1, "maximum": MOST_SHARES, "default": LISTED_SHARES},
        },
        {"name": "name", "in": "query", "description": "Only this limit.", "schema": {"type": "string"}},
    ),
    "/api/v1/intercept/learned": (
        {
            "name": "host",
            "in": "query",
            "description": "Only this host; without it, all of them.",
            "schema": {"type": "string"},
        },
    ),
    _ENTRIES: (
        {"name": "host", "in": "query", "description": "The entry.", "required": True, "schema": {"type": "string"}},
        {
            "name": "allow",
            "in": "query",
            "description": "Whether it is on the list of what is never blocked.",
            "schema": {"type": "boolean", "default": False},
        },
    ),
    "/api/v1/blocklists/test": (
        {
            "name": "target",
            "in": "query",
            "description": "A host, or a URL.",
            "required": True,
            "schema": {"type": "string"},
        },
    ),
}
"""What the query of a path may have, where nothing else is taken there."""

_ID: Final = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "Worker and number of the connection.",
    "schema": {"type": "string", "pattern": f"^{CONNECTION_ID}$"},
}


@cache
def document() -> bytes:
    """The document, as JSON that people can read too."""
    encoded = msgspec.json.encode(openapi())
    return msgspec.json.format(encoded, indent=2) + b"\n"


def openapi() -> dict[str, Any]:
    """The document."""
    kinds = {kind: None for _method, _path, takes, gives, _purpose in ROUTES for kind in (takes, gives) if kind}
    _references, schemas = msgspec.json.schema_components([*kinds, Problem], ref_template="#/components/schemas/{name}")
    paths: dict[str, dict[str, Any]] = {}
    for method, path, takes, gives, purpose in ROUTES:
        paths.setdefault(path, {})[method.lower()] = _operation(method, path, takes, gives, purpose)
    paths["/api/v1/openapi.json"] = {"get": _plain("get_openapi", "This document.", {"application/json": "object"})}
    certificate = _plain(
        "get_ca_certificate",
        "The certificate of the authority, for clients to trust; the key stays where it is.",
        dict.fromkeys(CERTIFICATE_TYPES.values(), "string"),
        ("400", "409", "500"),
    )
    description = "As text, as bytes, or in PKCS #12 without a password."
    schema = {"enum": list(CERTIFICATE_TYPES), "default": "pem"}
    certificate["parameters"] = [{"name": "format", "in": "query", "description": description, "schema": schema}]
    paths["/api/v1/ca/certificate"] = {"get": certificate}
    texts = {"text/plain": "string", "application/openmetrics-text": "string"}
    paths["/metrics"] = {"get": _plain("get_metrics", "The numbers, as Prometheus reads them.", texts)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "pyproxy",
            "version": _VERSION,
            "description": "The control plane of the daemon, at its Unix socket. An endpoint of `control.metrics` has "
            "`/healthz`, `/readyz` and `/metrics` only. Every GET answers HEAD too, and no answer may be stored.",
        },
        "servers": [{"url": "http://localhost"}],
        "paths": paths,
        "components": {"schemas": {name: _tidied(schema) for name, schema in schemas.items()}},
    }


def _operation(method: str, path: str, takes: type | None, gives: type, purpose: str) -> dict[str, Any]:
    words = re.findall(r"[a-z]+", path.removeprefix("/api/v1").replace("{id}", ""))
    operation: dict[str, Any] = {"operationId": "_".join([method.lower(), *words]), "summary": purpose}
    parameters = [*(_QUERY.get(path, ()) if takes is None else ()), *([_ID] if "{id}" in path else [])]
    if parameters:
        operation["parameters"] = parameters
    if takes is not None:
        required = any(field.required for field in msgspec.structs.fields(takes))
        operation["requestBody"] = {"required": required, "content": _content("application/json", takes)}
    responses: dict[str, Any] = {"200": _response("It has been done." if method != "GET" else "Here it is.", gives)}
    if path == "/readyz":
        responses["503"] = _response("It takes no new connections; `status` says what it does.", gives)
    statuses = {"400", "500"}
    statuses |= {"413", "415"} if takes is not None else set()
    statuses |= {"404"} if method == "DELETE" and ("{id}" in path or path == _ENTRIES) else set()
    statuses |= {"409"} if path in _MAY_FAIL else set()
    statuses |= {"422"} if path == "/api/v1/settings/apply" else set()
    for status in sorted(statuses):
        responses[status] = _response(_PROBLEMS[status], Problem, "application/problem+json")
    operation["responses"] = responses
    return operation


def _plain(name: str, purpose: str, kinds: dict[str, str], statuses: Sequence[str] = ("400", "500")) -> dict[str, Any]:
    """An operation whose answer is not one of our types; ``kinds`` has JSON's type by media type."""
    content = {media_type: {"schema": {"type": kind}} for media_type, kind in kinds.items()}
    responses: dict[str, Any] = {"200": {"description": "Here it is.", "content": content}}
    for status in statuses:
        responses[status] = _response(_PROBLEMS[status], Problem, "application/problem+json")
    return {"operationId": name, "summary": purpose, "responses": responses}


def _response(description: str, kind: type, media_type: str = "application/json") -> dict[str, Any]:
    return {"description": description, "content": _content(media_type, kind)}


def _content(media_type: str, kind: type) -> dict[str, Any]:
    return {media_type: {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}}


def _tidied(schema: Any) -> Any:
    """The schema with its docstrings as they are meant to be read."""
    if isinstance(schema, list):
        return [_tidied(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    tidied = {name: _tidied(value) for name, value in schema.items()}
    if isinstance(description := tidied.get("description"), str):
        tidied["description"] = inspect.cleandoc(description).replace("``", "`")
    return tidied

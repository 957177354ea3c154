"""`/openapi.json`: what the server offers, made of the records that it reads and writes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.routing import Route

from edgellm.records.openai.base import ErrorBody

JSON = "application/json"
EVENTS = "text/event-stream"
REF = "#/components/schemas/{model}"
ERROR = {"$ref": "#/components/responses/Error"}
REQUEST_ID = {
    "name": "x-request-id",
    "in": "header",
    "description": "Comes back with the answer; at most 128 printable ASCII characters.",
    "schema": {"type": "string", "maxLength": 128},
}
SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}


@dataclass(frozen=True)
class Operation:
    """One path of the server and all that clients need to know of it."""

    path: str  # as starlette writes it
    endpoint: Any  # a function from request to response, or an ASGI application
    summary: str
    answer: type[BaseModel] | None = None  # the body of a 200; None: text of the kind `media`
    body: type[BaseModel] | None = None  # POST takes it; None: GET
    media: str = JSON
    streams: bool = False  # whether `"stream": true` gives events instead
    public: bool = False  # whether it needs no key

    @property
    def method(self) -> Literal["get", "post"]:
        return "get" if self.body is None else "post"

    def route(self) -> Route:
        return Route(self.path, self.endpoint, methods=[self.method.upper()])


def document(operations: Sequence[Operation], version: str) -> dict[str, Any]:
    """An OpenAPI 3.1 document of the operations."""
    shapes = {shape for each in operations for shape in (each.body, each.answer) if shape is not None} | {ErrorBody}
    ordered = sorted(shapes, key=lambda shape: shape.__name__)
    # All as they are validated: how records that leave out what is None are serialised cannot be told as a schema.
    _, schemas = models_json_schema([(shape, "validation") for shape in ordered], ref_template=REF)
    paths: dict[str, dict[str, Any]] = {}
    for each in operations:
        paths.setdefault(plain_path(each.path), {})[each.method] = described(each)
    return {
        "openapi": "3.1.0",
        "info": {"title": "edgellm", "version": version, "summary": "A language model on this machine"},
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "responses": {"Error": {"description": "What went wrong", "content": content(ErrorBody)}},
            "securitySchemes": SECURITY,
        },
        "security": [{name: []} for name in SECURITY] + [{}],  # a server without keys asks for none
    }


def plain_path(path: str) -> str:
    """Without starlette's converters, such as `:path`."""
    return re.sub(r":\w+}", "}", path)


def described(operation: Operation) -> dict[str, Any]:
    names = re.findall(r"{(\w+)", operation.path)
    path = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
    found: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{operation.method}{operation.path}").strip("_"),
        "summary": operation.summary,
        "parameters": [*path, REQUEST_ID],
        "responses": {"200": success(operation), "default": ERROR} | errors(operation),
    }
    if operation.body is not None:
        found["requestBody"] = {"required": True, "content": content(operation.body)}
    if operation.public:
        found["security"] = []
    return found


def success(operation: Operation) -> dict[str, Any]:
    kinds = content(operation.answer) if operation.answer else {operation.media: {"schema": {"type": "string"}}}
    if operation.streams:
        kinds |= {EVENTS: {"schema": {"type": "string"}}}
    return {"description": HTTPStatus.OK.phrase, "content": kinds}


def errors(operation: Operation) -> dict[str, Any]:
    codes = [] if operation.public else [401]
    if operation.body is not None:
        codes += [400, 404, 413, 429, 500, 503]
    elif "{" in operation.path:
        codes += [404]
    return {str(code): ERROR for code in sorted(codes)}


def content(shape: type[BaseModel]) -> dict[str, Any]:
    return {JSON: {"schema": {"$ref": REF.format(model=shape.__name__)}}}

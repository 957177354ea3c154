"""`/openapi.json` is complete, and the server keeps to it whatever is sent.

EDGELLM_SCHEMATHESIS_EXAMPLES sets how many requests are made for each operation; a longer run takes 200.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.routing import Route

from edgellm.serve.app import create_app
from scripted_server import Scripted, scripted_server, serving

EXAMPLES = int(os.environ.get("EDGELLM_SCHEMATHESIS_EXAMPLES", "5"))
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
PAGES = {"/", "/openapi.json"}  # for people, and the description itself


@pytest.fixture(scope="module")
def server() -> Iterator[Scripted]:
    with scripted_server("はい<|return|>", context=64) as server:
        yield server


def test_every_path_that_is_served_is_in_the_description(server: Scripted) -> None:
    described = server.http.get("/openapi.json").json()
    served = {
        (route.path.replace(":path", ""), method.lower())
        for route in create_app(serving(server.chat, ())).routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
        if route.path not in PAGES
    }
    told = {(path, method) for path, item in described["paths"].items() for method in item}
    assert told == served


def test_every_body_and_answer_has_a_shape_and_every_error_openais(server: Scripted) -> None:
    described = server.http.get("/openapi.json").json()
    assert set(described["components"]["securitySchemes"]) == {"bearer", "key"}
    for path, item in described["paths"].items():
        for method, operation in item.items():
            assert operation["responses"]["default"] == {"$ref": "#/components/responses/Error"}, path
            assert operation["responses"]["200"]["content"], path
            assert (method == "post") == ("requestBody" in operation), path
    assert described["paths"]["/health"]["get"]["security"] == []


def test_no_request_that_the_description_allows_makes_the_server_fail_or_answer_in_another_shape(
    server: Scripted,
) -> None:
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    bounded = settings(
        max_examples=EXAMPLES, derandomize=True, database=None, deadline=None, phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    tried = 0
    for found in schema.get_all_operations():
        operation = found.ok()

        @given(case=operation.as_strategy())
        @bounded
        def try_it(case: schemathesis.Case) -> None:
            nonlocal tried
            tried += 1
            case.call_and_validate(checks=CHECKS, timeout=20)

        try_it()
    assert tried >= 10
    assert server.http.get("/health").json()["running"] == 0

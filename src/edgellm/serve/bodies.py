"""From the bytes of a request to a checked record, with one sentence where that fails."""

from __future__ import annotations

import json
from typing import TypeVar

from pydantic import ValidationError
from starlette.requests import Request

from edgellm.records.openai import IGNORED, REFUSED, GenerationBody
from edgellm.serve.problems import Problem

BODY_LIMIT_BYTES = 16 * 1024 * 1024
STOP_STRINGS_LIMIT = 16

B = TypeVar("B", bound=GenerationBody)


async def read_body(request: Request, shape: type[B]) -> B:
    """Read, parse and check the body of a request; raises Problem (400, or 413 for too many bytes)."""
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > BODY_LIMIT_BYTES:
            raise Problem(413, f"the request is larger than {BODY_LIMIT_BYTES} bytes; shorten it")
    return parse_body(bytes(raw), shape)


def parse_body(raw: bytes, shape: type[B]) -> B:
    try:
        fields = json.loads(raw)
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError
        raise Problem(400, f"the request is not JSON in UTF-8: {error}", code="invalid_json") from None
    except RecursionError:
        raise Problem(400, "the request is nested too deeply to be read", code="invalid_json") from None
    if not isinstance(fields, dict):
        raise Problem(400, "the request must be a JSON object", code="invalid_json")
    try:
        body = shape.model_validate(asked_for(fields))
    except ValidationError as error:
        raise problem_of_validation(error) from None
    check_stop(body.stop_strings)
    return body


def asked_for(fields: dict[str, object]) -> dict[str, object]:
    """The fields that ask for something: without nulls, ignored ones, and refused ones at a neutral value."""
    kept: dict[str, object] = {}
    for name, value in fields.items():
        if value is None or name in IGNORED:
            continue
        if name not in REFUSED:
            kept[name] = value
        elif value not in REFUSED[name]:
            raise Problem(
                400,
                f"this server cannot do {name} yet; send the request without it",
                param=name,
                code="unsupported_parameter",
            )
    return kept


def check_stop(strings: list[str]) -> None:
    if len(strings) > STOP_STRINGS_LIMIT:
        raise Problem(400, f"stop holds more than {STOP_STRINGS_LIMIT} strings; give fewer", param="stop")
    if not all(strings):
        raise Problem(400, "stop holds an empty string, which would stop every answer; leave it out", param="stop")


def problem_of_validation(error: ValidationError) -> Problem:
    """The deepest fault, with the path of its field: where a field may have several shapes, that is a fault
    of the shape that came nearest. pydantic's names of shapes, such as `list[str]`, are left out."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    fault = max(faults, key=lambda each: len(each["loc"]))
    path = [str(part) for part in fault["loc"] if isinstance(part, int) or (part.isidentifier() and part != "str")]
    name = ".".join(path) or "the request"
    if fault["type"] == "extra_forbidden":
        message = f"{name} is not a field that this server knows; check its spelling or leave it out"
        return Problem(400, message, param=name, code="unknown_parameter")
    return Problem(400, f"{name} is not as it must be: {fault['msg']}", param=name, code="invalid_value")

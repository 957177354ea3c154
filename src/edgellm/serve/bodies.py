"""From the bytes of a request to a checked record, with one sentence where that fails."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Mapping
from typing import TypeVar

from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from edgellm.records.openai.base import Body, unknown_fields
from edgellm.serve.problems import Problem

LARGE_BYTES = 64 * 1024  # more than this is parsed beside the event loop
HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")  # how a lone surrogate, and half of a pair, is written in JSON
LOG = logging.getLogger("edgellm.serve")
MOST_NOTES = 256

B = TypeVar("B", bound=Body)
Refused = Mapping[str, tuple[object, ...]]


async def read_body(
    request: Request, shape: type[B], *, ignored: frozenset[str] = frozenset(), refused: Refused | None = None
) -> B:
    """Read, parse and check the body of a request; raises Problem 400.

    Fields called in `ignored` are left out. Those in `refused` ask for what the server does not do, unless their value
    is one of those given. Any other field that `shape` does not have is noted in the log.
    """
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
    if len(raw) > LARGE_BYTES:
        body = await run_in_threadpool(parse_body, bytes(raw), shape, ignored, refused or {})
    else:
        body = parse_body(bytes(raw), shape, ignored, refused or {})
    NOTES.note(request.url.path, body)
    return body


def parse_body(raw: bytes, shape: type[B], ignored: frozenset[str], refused: Refused) -> B:
    try:
        text = raw.decode("utf-8")
        fields = json.loads(text, parse_float=finite, parse_constant=finite)
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, numbers of thousands of digits
        raise Problem(400, f"the request is not JSON in UTF-8: {error}", code="invalid_json") from None
    except RecursionError:
        raise too_deep() from None
    if not isinstance(fields, dict):
        raise Problem(400, "the request must be a JSON object", code="invalid_json")
    if HALF_CHARACTER.search(text):
        check_unicode(fields)
    try:
        return shape.model_validate(asked_for(fields, ignored, refused))
    except ValidationError as error:
        raise problem_of_validation(error) from None
    except RecursionError:
        raise too_deep() from None


def finite(number: str) -> float:
    """Raises ValueError for NaN and Infinity, which Python reads and JSON has not, and for 1e999."""
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number} is not a number that can be calculated with")
    return value


def check_unicode(fields: Mapping[str, object]) -> None:
    """Raises Problem for text with half a character, which could neither be answered nor logged."""
    for name, value in fields.items():
        try:
            json.dumps([name, value], ensure_ascii=False).encode()
        except UnicodeEncodeError:
            message = "the request holds half a character (a lone surrogate); send whole Unicode text"
            raise Problem(400, message, param=ascii(name)[1:-1], code="invalid_unicode") from None


def too_deep() -> Problem:
    return Problem(400, "the request is nested too deeply to be read", code="invalid_json")


def asked_for(fields: dict[str, object], ignored: frozenset[str], refused: Refused) -> dict[str, object]:
    """The fields that ask for something: without nulls, ignored ones, and refused ones at a neutral value."""
    kept: dict[str, object] = {}
    for name, value in fields.items():
        if value is None or name in ignored:
            continue
        if name not in refused:
            kept[name] = value
        elif value not in refused[name]:
            message = f"this server cannot do {name}; send the request without it"
            raise Problem(400, message, param=name, code="unsupported_parameter")
    return kept


def problem_of_validation(error: ValidationError) -> Problem:
    """The deepest fault, with the path of its field: where a field may have several shapes, that is a fault
    of the shape that came nearest. pydantic's names of shapes, such as `list[str]`, are left out."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    fault = max(faults, key=lambda each: len(each["loc"]))
    path = [str(part) for part in fault["loc"] if isinstance(part, int) or is_field(part)]
    name = ".".join(path) or "the request"
    message = fault["msg"].removeprefix("Value error, ")
    return Problem(400, f"{name} is not as it must be: {message}", param=name, code="invalid_value")


def is_field(part: str) -> bool:
    return part.isidentifier() and part == part.lower() and part not in ("str", "int", "bool")


class Notes:
    """Says of each unknown field once, in the log, that it changes nothing; a client may send one with every request,
    and an attacker may send many."""

    def __init__(self) -> None:
        self._said: set[tuple[str, str]] = set()

    def note(self, path: str, body: Body) -> None:
        for name in unknown_fields(body):
            short = ascii(name[:64])[1:-1]
            if (path, short) not in self._said and len(self._said) < MOST_NOTES:
                self._said.add((path, short))
                LOG.warning("%s: the field %s is not known here and changes nothing", path, short)


NOTES = Notes()

"""JSON Schemas of requests: what can be enforced is passed on, what cannot is refused by name, never ignored.

llguidance refuses keywords of JSON Schema that it does not implement, but passes over words that it does not know and
drops control characters from constants. So only keywords listed here get that far.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from edgellm.errors import UsageError

MAPS = ("properties", "patternProperties", "$defs", "definitions")  # of names to schemas
LISTS = ("anyOf", "allOf", "oneOf", "prefixItems")  # of schemas
SCHEMAS = ("items", "additionalProperties")
VALUES = ("enum", "const")
RULES = (
    "type", "$ref", "required", "minItems", "maxItems", "minProperties", "maxProperties", "minLength", "maxLength",
    "pattern", "format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
)  # fmt: skip
NOTES = ("title", "description", "default", "examples", "$schema", "$comment", "deprecated", "readOnly", "writeOnly")
DEEPEST = 64
NAME_SHOWN = 64  # characters of a name in the place that an error tells
# What a schema costs to compile grows with the square of what it names: at these limits it is about a second.
LONGEST = 256 * 1024  # characters as JSON
MOST_NAMED = 3000  # schemas in all of a request; names that one object requires
MOST_PATTERNS = 16  # patternProperties of one object, each of which is compared with all others
EXACT = 2**53  # whole numbers beyond it are not what they seem in double precision
UNSPEAKABLE = re.compile("[\0-\x1f\x7f\ud800-\udfff]")
# Strings are characters as themselves: of all escapes only those that have no other spelling, and never \u. At most
# one space, or one line end with its indentation, between two parts, so that no answer is spent on blanks.
SPELLING = {
    "json_allowed_escapes": '"\\bfnrt',
    "whitespace_flexible": True,
    "whitespace_pattern": r"(\n[ ]{0,32}|[ ])",
}


def as_grammar(schema: Any, field: str, named: Iterator[int]) -> str:
    """The right side of a grammar rule for JSON values of a schema, on one line.

    `named` counts the parts of all schemas of a request, from 1.

    Raises UsageError, naming the place under `field`, for keywords that cannot be enforced and for schemas too large
    to compile while others wait.
    """
    if schema is True:
        schema = {}
    if (size := len(json.dumps(schema, ensure_ascii=False))) > LONGEST:
        raise UsageError(f"{field} has {size:,} characters, more than {LONGEST:,}; send a smaller schema")
    checked = _checked(schema, field, 0, named)
    if not isinstance(checked, dict):
        raise UsageError(f"{field} is {json.dumps(schema)[:40]}, no JSON Schema; send an object")
    return "%json " + json.dumps({**checked, "x-guidance": SPELLING}, ensure_ascii=False)


def _checked(schema: Any, field: str, depth: int, named: Iterator[int]) -> Any:
    """A copy with the same meaning that llguidance can read."""
    if next(named) > MOST_NAMED:
        raise UsageError(f"{field[:80]}… is past the {MOST_NAMED:,} parts that all schemas may have; send less")
    if isinstance(schema, bool):
        return schema
    if not isinstance(schema, Mapping):
        raise UsageError(f"{field} is {json.dumps(schema)[:40]}, no JSON Schema; send an object")
    if depth > DEEPEST:
        raise UsageError(f"{field[:80]}… nests deeper than {DEEPEST} schemas; send a flatter one")
    return {
        key: _keyword(key, value, f"{field}.{key[:NAME_SHOWN]}", depth + 1, named)
        for key, value in schema.items()
        if key not in NOTES
    }


def _keyword(key: str, value: Any, field: str, depth: int, named: Iterator[int]) -> Any:
    if key == "patternProperties" and isinstance(value, Mapping) and len(value) > MOST_PATTERNS:
        raise UsageError(f"{field} has {len(value)} patterns, more than {MOST_PATTERNS}; join some with |")
    if key == "required" and isinstance(value, list) and len(value) > MOST_NAMED:
        raise UsageError(f"{field} has {len(value):,} names, more than {MOST_NAMED:,}; send a smaller schema")
    if key in MAPS and isinstance(value, Mapping):
        _check_values(list(value), field)
        return {name: _checked(part, f"{field}.{name[:NAME_SHOWN]}", depth, named) for name, part in value.items()}
    if key in (*LISTS, "items") and isinstance(value, list):
        return [_checked(part, f"{field}[{n}]", depth, named) for n, part in enumerate(value)]
    if key in SCHEMAS:
        return _checked(value, field, depth, named)
    if key in VALUES or key in RULES:
        _check_values(value, field)
        return quote(value, safe="#/$~%") if key == "$ref" and isinstance(value, str) else value
    raise UsageError(
        f"{field} is not supported, so answers could not be held to it; leave {key[:NAME_SHOWN]} out of the schema"
    )


def _check_values(value: Any, field: str) -> None:
    """Raises UsageError for what cannot be written exactly: control characters, halves of characters, numbers past
    double precision."""
    if isinstance(value, Mapping):
        _check_values([*value, *value.values()], field)
    elif isinstance(value, list):
        for each in value:
            _check_values(each, field)
    elif isinstance(value, str) and UNSPEAKABLE.search(_without_named(value)):
        raise UsageError(f"{field} holds a control character or half a character; leave it out")
    elif isinstance(value, (int, float)) and not (math.isfinite(value) and abs(value) <= EXACT):
        raise UsageError(f"{field} holds a number beyond ±2^53, which JSON readers round; use a smaller one")


def _without_named(text: str) -> str:
    """Text without the control characters that have an escape of their own."""
    return text.translate({ord(character): None for character in "\b\f\n\r\t"})

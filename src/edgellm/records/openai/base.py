"""What all requests and answers of the interface are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, SerializerFunctionWrapHandler, model_serializer
from pydantic_core import CoreSchema

from edgellm.records.base import Record


class Sparse(Record):
    """A record that leaves out the fields that are None."""

    @model_serializer(mode="wrap")
    def _without_none(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value is not None}


@dataclass(frozen=True)
class FirstFault:
    """Checking a list or table ends at the first thing in it that is wrong: a request may hold millions of them, and
    each would become an error of its own."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema: Any = handler(source)
        schema["fail_fast"] = True
        return schema  # type: ignore[no-any-return]


T = TypeVar("T")
Many = Annotated[list[T], FirstFault()]
Table = Annotated[dict[str, T], FirstFault()]


class Body(Record):
    """The base of what requests hold: no silent conversion, such as of "5" to 5.

    Fields that it does not have are kept aside: clients send what other servers understand, and who runs this one
    reads in the log that they change nothing here.
    """

    model_config = ConfigDict(strict=True, extra="allow")


def unknown_fields(body: BaseModel, path: str = "") -> Iterator[str]:
    """The paths of the fields of a request, at any depth, that this server does not know."""
    for name in body.model_extra or {}:
        yield f"{path}{name}"
    for name in body.model_fields_set & type(body).model_fields.keys():
        value = getattr(body, name)
        # A list holds records or none: one of millions of token ids is not gone through.
        many = isinstance(value, list) and len(value) > 0 and isinstance(value[0], BaseModel)
        for part in value if many else [value]:
            if isinstance(part, BaseModel):
                yield from unknown_fields(part, f"{path}{name}.")


class PromptDetails(Record):
    cached_tokens: int = 0  # computed for an earlier request


class CompletionDetails(Record):
    reasoning_tokens: int = 0


class UsageBody(Record):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails = PromptDetails()
    completion_tokens_details: CompletionDetails = CompletionDetails()


class ErrorDetail(Record):
    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(Record):
    error: ErrorDetail


class Function(Body):
    """A tool that the model may call; `parameters` is a JSON schema of its arguments."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Body):
    type: Literal["function"]
    function: Function

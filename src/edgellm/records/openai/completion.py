"""`/v1/completions`, OpenAI's older interface: text in, text on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edgellm.records.base import Record
from edgellm.records.openai.base import Many, Sparse, UsageBody
from edgellm.records.openai.settings import MOST_TOP_LOGPROBS, GenerationBody, ResponseFormat

TokenId = Annotated[int, Field(ge=0, le=2**31 - 1)]


class CompletionRequest(GenerationBody):
    """One text, several, or token ids."""

    prompt: str | Many[str] | Many[TokenId] | Many[Many[TokenId]]
    logprobs: int | None = Field(default=None, ge=0, le=MOST_TOP_LOGPROBS)
    response_format: ResponseFormat | None = None


class CompletionLogprobs(Record):
    """One entry a token of the text; `text_offset` counts characters from the start of the answer."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class CompletionChoice(Record):
    index: int
    text: str
    logprobs: CompletionLogprobs | None = None
    finish_reason: str | None


class Completion(Sparse):
    """A whole answer or a chunk of one: this interface gives both the same shape."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: UsageBody | None = None

"""What `/v1/responses` gives: a response, or the events of a stream that tell how it came about."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from edgellm.records.base import Record
from edgellm.records.openai.base import Sparse
from edgellm.records.openai.chat import ContentLogprob
from edgellm.records.openai.responses import FunctionTool, NamedTool, PlainFormat, SchemaFormat

Status = Literal["in_progress", "completed", "incomplete", "failed"]


class OutputText(Record):
    type: Literal["output_text"] = "output_text"
    text: str
    annotations: list[dict[str, Any]] = Field(default_factory=list)
    logprobs: list[ContentLogprob] = Field(default_factory=list)


class ReasoningText(Record):
    type: Literal["reasoning_text"] = "reasoning_text"
    text: str


class ReasoningItem(Record):
    id: str
    type: Literal["reasoning"] = "reasoning"
    summary: list[dict[str, Any]] = Field(default_factory=list)
    content: list[ReasoningText]
    status: Status


class MessageItem(Record):
    id: str
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    content: list[OutputText]
    status: Status


class CallItem(Record):
    id: str
    type: Literal["function_call"] = "function_call"
    call_id: str
    name: str
    arguments: str
    status: Status


OutputItem = ReasoningItem | MessageItem | CallItem


class InputDetails(Record):
    cached_tokens: int
    cache_write_tokens: Literal[0] = 0  # of a cache that is paid for; this one is not


class OutputDetails(Record):
    reasoning_tokens: int


class ResponseUsage(Record):
    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int


class ResponseError(Record):
    code: str
    message: str


class IncompleteDetails(Record):
    reason: Literal["max_output_tokens"]


class ReasoningOut(Record):
    effort: str | None
    summary: None = None


class TextOut(Record):
    format: PlainFormat | SchemaFormat


class Response(Record):
    id: str
    object: Literal["response"] = "response"
    created_at: int  # Unix time in seconds
    status: Status
    model: str
    output: list[OutputItem]
    usage: ResponseUsage | None
    error: ResponseError | None = None
    incomplete_details: IncompleteDetails | None = None
    instructions: str | None
    max_output_tokens: int | None
    metadata: dict[str, str]
    parallel_tool_calls: bool
    previous_response_id: None = None
    reasoning: ReasoningOut
    store: Literal[False] = False
    temperature: float
    text: TextOut
    tool_choice: Literal["none", "auto", "required"] | NamedTool
    tools: list[FunctionTool]
    top_p: float
    truncation: Literal["disabled"] = "disabled"


class ResponseEvent(Sparse):
    """One event of a stream; which fields it has depends on its type."""

    type: str
    response: Response | None = None
    output_index: int | None = None
    item: OutputItem | None = None
    item_id: str | None = None
    content_index: int | None = None
    part: OutputText | ReasoningText | None = None
    text: str | None = None
    name: str | None = None
    arguments: str | None = None
    logprobs: list[ContentLogprob] | None = None
    delta: str | None = None
    sequence_number: int  # the last field, so that a frame may be prepared up to it

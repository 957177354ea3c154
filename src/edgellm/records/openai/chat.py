"""`/v1/chat/completions`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from edgellm.records.base import Record
from edgellm.records.openai.base import Body, Many, Sparse, Tool, UsageBody
from edgellm.records.openai.settings import MOST_TOP_LOGPROBS, Effort, GenerationBody, ResponseFormat, Tokens


class TextPart(Body):
    type: Literal["text"]
    text: str


class CalledFunction(Body):
    name: str
    arguments: str  # JSON


class ToolCall(Body):
    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class ChatMessage(Body):
    """One turn. An assistant's `reasoning_content`, sent back by some clients, is not shown to the model."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Many[TextPart] | None = None
    name: str | None = None
    refusal: None = None
    reasoning_content: str | None = None
    tool_calls: Many[ToolCall] | None = None
    tool_call_id: str | None = None

    @model_validator(mode="after")
    def _says_something(self) -> ChatMessage:
        if self.content is None and not (self.role == "assistant" and self.tool_calls):
            raise ValueError("a message needs a content, unless it is an assistant's with tool_calls")
        if self.tool_calls and self.role != "assistant":
            raise ValueError("only an assistant's message has tool_calls")
        if self.role == "tool" and not self.tool_call_id:
            raise ValueError("a tool's message needs the tool_call_id that it answers")
        return self

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class NamedFunction(Body):
    name: str


class NamedTool(Body):
    type: Literal["function"]
    function: NamedFunction


ToolChoice = Literal["none", "auto", "required"] | NamedTool


class ChatRequest(GenerationBody):
    messages: Many[ChatMessage] = Field(min_length=1)
    max_completion_tokens: Tokens | None = None
    reasoning_effort: Effort | None = None
    logprobs: bool = False
    top_logprobs: int | None = Field(default=None, ge=0, le=MOST_TOP_LOGPROBS)
    response_format: ResponseFormat | None = None
    tools: Many[Tool] = Field(default_factory=list)
    tool_choice: ToolChoice = "auto"
    parallel_tool_calls: bool = True


class TopLogprob(Record):
    token: str
    logprob: float
    bytes: list[int] | None


class ContentLogprob(TopLogprob):
    top_logprobs: list[TopLogprob]


class ChatLogprobs(Record):
    content: list[ContentLogprob]
    refusal: None = None


class AnswerCall(Record):
    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class AnswerMessage(Record):
    """`content` is null where the model did nothing but call tools, as OpenAI has it."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    reasoning_content: str | None = None
    tool_calls: list[AnswerCall] | None = None

    @model_serializer(mode="wrap")
    def _without_none(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value is not None or name == "content"}


class ChatChoice(Record):
    index: int
    message: AnswerMessage
    logprobs: ChatLogprobs | None = None
    finish_reason: str


class ChatAnswer(Record):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int  # Unix time in seconds
    model: str
    choices: list[ChatChoice]
    usage: UsageBody


class FunctionDelta(Sparse):
    name: str | None = None
    arguments: str | None = None


class CallDelta(Sparse):
    index: int
    id: str | None = None
    type: Literal["function"] | None = None
    function: FunctionDelta


class DeltaBody(Sparse):
    role: Literal["assistant"] | None = None
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[CallDelta] | None = None


class ChatChunkChoice(Record):
    index: int
    delta: DeltaBody
    logprobs: ChatLogprobs | None = None
    finish_reason: str | None = None


class ChatChunk(Sparse):
    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChatChunkChoice]
    usage: UsageBody | None = None

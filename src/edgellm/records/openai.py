"""The shapes of OpenAI's HTTP interface that edgellm speaks, with the extensions other local servers share.

Requests are closed: a field that is in none of the tables below is an error, because an ignored setting is a
wrong answer. Fields that OpenAI's clients send and that cannot change an answer here are in IGNORED; fields
of things not built are in REFUSED with the values that ask for nothing.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from edgellm.records.base import Record

IGNORED = frozenset({
    "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key",
    "prompt_cache_retention", "parallel_tool_calls",
})  # fmt: skip
REFUSED: dict[str, tuple[object, ...]] = {
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "n": (1,),
    "best_of": (1,),
    "logprobs": (False, 0),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "repetition_penalty": (1,),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "web_search_options": (),
    "verbosity": ("medium",),
    "echo": (False,),
    "suffix": ("",),
}


class Sparse(Record):
    """A record that leaves out the fields that are None."""

    @model_serializer(mode="wrap")
    def _without_none(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value is not None}


class Body(Record):
    """The base of request bodies: no silent conversion, such as of "5" to 5."""

    model_config = ConfigDict(strict=True)


class StreamOptions(Body):
    include_usage: bool = False
    include_obfuscation: bool = False  # padding against eavesdroppers, which this server does not add


class GenerationBody(Body):
    """What both kinds of request have in common. A missing model means the one that is served."""

    model: str | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    seed: int | None = Field(default=None, ge=0)
    stop: str | list[str] = Field(default_factory=list)
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    # Extensions, with the names that llama.cpp's server and vLLM use.
    top_k: int | None = Field(default=None, ge=0)
    min_p: float | None = Field(default=None, ge=0, le=1)
    ignore_eos: bool = False

    @property
    def stop_strings(self) -> list[str]:
        return [self.stop] if isinstance(self.stop, str) else self.stop


class TextPart(Body):
    type: Literal["text"]
    text: str


class ChatMessage(Body):
    """One turn. An assistant's `reasoning_content`, sent back by some clients, is not shown to the model."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    name: str | None = None
    refusal: None = None
    reasoning_content: str | None = None

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class ChatRequest(GenerationBody):
    messages: list[ChatMessage] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    reasoning_effort: Literal["low", "medium", "high"] | None = None


class CompletionRequest(GenerationBody):
    """OpenAI's older interface: text in, text on; also a list of texts, or token ids."""

    prompt: str | list[str] | list[int] | list[list[int]]


class UsageBody(Record):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class AnswerMessage(Sparse):
    role: Literal["assistant"] = "assistant"
    content: str
    reasoning_content: str | None = None


class ChatChoice(Record):
    index: int
    message: AnswerMessage
    logprobs: None = None
    finish_reason: str


class ChatAnswer(Record):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int  # Unix time in seconds
    model: str
    choices: list[ChatChoice]
    usage: UsageBody


class DeltaBody(Sparse):
    role: Literal["assistant"] | None = None
    content: str | None = None
    reasoning_content: str | None = None


class ChatChunkChoice(Record):
    index: int
    delta: DeltaBody
    logprobs: None = None
    finish_reason: str | None = None


class ChatChunk(Sparse):
    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChatChunkChoice]
    usage: UsageBody | None = None


class CompletionChoice(Record):
    index: int
    text: str
    logprobs: None = None
    finish_reason: str | None


class Completion(Sparse):
    """A whole answer or a chunk of one: this interface gives both the same shape."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: UsageBody | None = None


class Model(Record):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "edgellm"
    context_tokens: int


class ModelList(Record):
    object: Literal["list"] = "list"
    data: list[Model]


class ErrorDetail(Record):
    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(Record):
    error: ErrorDetail


class Health(Record):
    """Whether the server answers, and how busy it is."""

    status: Literal["ok", "failed"]
    model: str
    running: int
    waiting: int
    sequences: int
    batch_invariant: bool  # whether an answer is the same alone and in company
    steps: int
    widest_step: int  # the most requests that one step has served
    prompt_tokens: int
    completion_tokens: int
    failed_steps: int

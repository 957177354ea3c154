"""The settings that requests for text share, and the fields that ask for what this server does not do."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from edgellm.records.openai.base import Body, FirstFault, Many

# Sent by OpenAI's clients; they cannot change an answer here.
IGNORED = frozenset({
    "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
})  # fmt: skip
# Would change the answer and are not built, with the values that ask for nothing.
REFUSED: dict[str, tuple[object, ...]] = {
    "functions": ([],),
    "function_call": ("none", "auto"),
    "best_of": (1,),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "web_search_options": (),
    "verbosity": ("medium",),
    "echo": (False,),
    "suffix": ("",),
}

Effort = Literal["low", "medium", "high"]
Tokens = Annotated[int, Field(ge=1, le=2**31 - 1)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
LogitBias = Annotated[
    dict[Annotated[str, Field(pattern=r"^[0-9]{1,9}$")], Annotated[float, Field(ge=-100, le=100)]], FirstFault()
]
MOST_CHOICES = 128
MOST_TOP_LOGPROBS = 20


class StreamOptions(Body):
    include_usage: bool = False
    include_obfuscation: bool = False  # padding against eavesdroppers, which this server does not add


class JsonSchema(Body):
    name: str | None = None
    description: str | None = None
    schema_: dict[str, Any] | bool = Field(alias="schema")
    strict: bool | None = None


class TextFormat(Body):
    type: Literal["text"]


class JsonObjectFormat(Body):
    type: Literal["json_object"]


class JsonSchemaFormat(Body):
    type: Literal["json_schema"]
    json_schema: JsonSchema


ResponseFormat = Annotated[TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")]


class SamplingBody(Body):
    """How tokens are drawn. A missing model means the first that is served."""

    model: str | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    seed: int | None = Field(default=None, ge=0, le=2**63 - 1)
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    logit_bias: LogitBias = Field(default_factory=dict)
    stream: bool = False
    # Extensions, with the names that llama.cpp's server and vLLM use.
    top_k: int | None = Field(default=None, ge=0, le=2**31 - 1)
    min_p: float | None = Field(default=None, ge=0, le=1)
    repetition_penalty: float | None = Field(default=None, gt=0, le=10)
    repeat_penalty: float | None = Field(default=None, gt=0, le=10)
    ignore_eos: bool = False


class GenerationBody(SamplingBody):
    """What both kinds of completions have in common."""

    max_tokens: Tokens | None = None
    n: int = Field(default=1, ge=1, le=MOST_CHOICES)
    stop: str | Many[str] = Field(default_factory=list)
    stream_options: StreamOptions = StreamOptions()

    @property
    def stop_strings(self) -> list[str]:
        return [self.stop] if isinstance(self.stop, str) else self.stop

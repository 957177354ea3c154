"""What `/v1/responses` takes. Nothing is stored, so whatever refers to an earlier response is refused."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from edgellm.records.openai.base import Body, Many, Table
from edgellm.records.openai.settings import MOST_TOP_LOGPROBS, Effort, SamplingBody, Tokens

REFUSED: dict[str, tuple[object, ...]] = {
    "previous_response_id": (),
    "conversation": (),
    "prompt": (),
    "background": (False,),
    "max_tool_calls": (),
    "truncation": ("disabled",),
    "context_management": ([],),
}
LOGPROBS = "message.output_text.logprobs"


class TextPart(Body):
    type: Literal["input_text", "output_text", "text"]
    text: str


class InputMessage(Body):
    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: str | Many[TextPart]

    @property
    def text(self) -> str:
        return text_of(self.content)


class InputCall(Body):
    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str  # JSON


class InputCallOutput(Body):
    type: Literal["function_call_output"]
    call_id: str
    output: str | Many[TextPart]

    @property
    def text(self) -> str:
        return text_of(self.output)


class InputReasoning(Body):
    """Sent back by clients; it is not shown to the model."""

    type: Literal["reasoning"]


def text_of(content: str | list[TextPart]) -> str:
    return content if isinstance(content, str) else "".join(part.text for part in content)


class FunctionTool(Body):
    type: Literal["function"]
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class NamedTool(Body):
    type: Literal["function"]
    name: str


class PlainFormat(Body):
    type: Literal["text", "json_object"]


class SchemaFormat(Body):
    type: Literal["json_schema"]
    name: str | None = None
    description: str | None = None
    schema_: dict[str, Any] | bool = Field(alias="schema")
    strict: bool | None = None


class TextSettings(Body):
    format: PlainFormat | SchemaFormat = PlainFormat(type="text")


class ReasoningSettings(Body):
    effort: Effort | None = None


class ResponsesRequest(SamplingBody):
    input: str | Many[InputMessage | InputCall | InputCallOutput | InputReasoning] = Field(min_length=1)
    instructions: str | None = None
    max_output_tokens: Tokens | None = None
    reasoning: ReasoningSettings = ReasoningSettings()
    text: TextSettings = TextSettings()
    tools: Many[FunctionTool] = Field(default_factory=list)
    tool_choice: Literal["none", "auto", "required"] | NamedTool = "auto"
    parallel_tool_calls: bool = True
    include: Many[Literal["message.output_text.logprobs"]] = Field(default_factory=list)
    top_logprobs: int | None = Field(default=None, ge=0, le=MOST_TOP_LOGPROBS)
    metadata: Table[str] = Field(default_factory=dict)

"""A request to `/v1/responses` as the chat request that asks the same."""

from __future__ import annotations

from edgellm.records.openai import chat, responses
from edgellm.records.openai.base import Function, Tool
from edgellm.records.openai.settings import (
    JsonObjectFormat,
    JsonSchema,
    JsonSchemaFormat,
    ResponseFormat,
    SamplingBody,
)

SETTINGS = SamplingBody.model_fields.keys()


def chat_request(body: responses.ResponsesRequest) -> chat.ChatRequest:
    settings = {name: getattr(body, name) for name in SETTINGS & body.model_fields_set}
    wants_logprobs = body.top_logprobs is not None or responses.LOGPROBS in body.include
    return chat.ChatRequest(
        **settings,
        messages=messages_of(body),
        max_completion_tokens=body.max_output_tokens,
        reasoning_effort=body.reasoning.effort,
        logprobs=wants_logprobs,
        top_logprobs=body.top_logprobs,
        response_format=format_of(body.text.format),
        tools=[tool_of(tool) for tool in body.tools],
        tool_choice=choice_of(body.tool_choice),
        parallel_tool_calls=body.parallel_tool_calls,
    )


def messages_of(body: responses.ResponsesRequest) -> list[chat.ChatMessage]:
    """The turns. Calls that follow one another, or what the assistant said, are one turn with it."""
    items = [responses.InputMessage(role="user", content=body.input)] if isinstance(body.input, str) else body.input
    turns: list[chat.ChatMessage] = []
    if body.instructions is not None:
        turns.append(chat.ChatMessage(role="system", content=body.instructions))
    for item in items:
        if isinstance(item, responses.InputMessage):
            turns.append(chat.ChatMessage(role=item.role, content=item.text))
        elif isinstance(item, responses.InputCallOutput):
            turns.append(chat.ChatMessage(role="tool", content=item.text, tool_call_id=item.call_id))
        elif isinstance(item, responses.InputCall):
            function = chat.CalledFunction(name=item.name, arguments=item.arguments)
            call = chat.ToolCall(id=item.call_id, function=function)
            before = turns.pop() if turns and turns[-1].role == "assistant" else chat.ChatMessage(
                role="assistant", tool_calls=[call]
            )  # fmt: skip
            calls = [*(each for each in before.tool_calls or [] if each is not call), call]
            turns.append(before.model_copy(update={"tool_calls": calls}))
    return turns


def tool_of(tool: responses.FunctionTool) -> Tool:
    function = Function(
        name=tool.name, description=tool.description, parameters=tool.parameters, strict=tool.strict
    )  # fmt: skip
    return Tool(type="function", function=function)


def choice_of(choice: str | responses.NamedTool) -> chat.ToolChoice:
    if isinstance(choice, responses.NamedTool):
        return chat.NamedTool(type="function", function=chat.NamedFunction(name=choice.name))
    return choice  # type: ignore[return-value]


def format_of(asked: responses.PlainFormat | responses.SchemaFormat) -> ResponseFormat | None:
    if isinstance(asked, responses.SchemaFormat):
        schema = JsonSchema(
            name=asked.name, description=asked.description, schema=asked.schema_, strict=asked.strict
        )  # fmt: skip
        return JsonSchemaFormat(type="json_schema", json_schema=schema)
    return JsonObjectFormat(type="json_object") if asked.type == "json_object" else None

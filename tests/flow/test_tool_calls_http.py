"""Tools and structured answers over HTTP, as OpenAI's client sends and reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from scripted_server import Scripted, scripted_server
from tool_models import tool_model

ASK = [{"role": "user", "content": "東京と大阪の天気は？"}]
CALLS = (
    '<|channel|>commentary to=functions.weather<|constrain|>json<|message|>{"city": "東京"}<|end|>'
    '<|start|>assistant<|channel|>commentary to=functions.weather<|constrain|>json<|message|>{"city": "大阪"}<|call|>'
)
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "天気を調べる",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tool_model(tmp_path_factory.mktemp("tools") / "model")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Scripted]:
    with scripted_server(CALLS, folder=folder) as server:
        yield server


def ask(server: Scripted, **more: Any) -> Any:
    return server.client.chat.completions.create(
        model="tiny", messages=more.pop("messages", ASK), tools=[TOOL], temperature=0, max_tokens=200, **more
    )


def test_calls_come_with_ids_names_and_arguments(server: Scripted) -> None:
    choice = ask(server).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    calls = choice.message.tool_calls
    assert [call.function.name for call in calls] == ["weather", "weather"]
    assert [json.loads(call.function.arguments) for call in calls] == [{"city": "東京"}, {"city": "大阪"}]
    assert len({call.id for call in calls}) == 2


def test_streamed_calls_open_with_id_and_name_and_go_on_with_arguments(server: Scripted) -> None:
    chunks = list(ask(server, stream=True))
    pieces = [piece for chunk in chunks for piece in chunk.choices[0].delta.tool_calls or []]
    for index, city in enumerate(("東京", "大阪")):
        first, *rest = [piece for piece in pieces if piece.index == index]
        assert (first.type, first.function.name) == ("function", "weather")
        assert first.id.startswith("call_")
        assert all(piece.id is None and piece.function.name is None for piece in rest)
        assert json.loads("".join(piece.function.arguments for piece in (first, *rest))) == {"city": city}
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_one_call_alone_where_parallel_ones_are_not_wanted(server: Scripted) -> None:
    for setting in ({"parallel_tool_calls": False}, {"tool_choice": TOOL | {"function": {"name": "weather"}}}):
        assert len(ask(server, **setting).choices[0].message.tool_calls) == 1


def test_tool_choice_none_offers_nothing(server: Scripted) -> None:
    message = ask(server, tool_choice="none").choices[0].message
    assert message.tool_calls is None


def test_a_conversation_goes_on_with_what_the_tools_said(folder: Path) -> None:
    with scripted_server("<|channel|>final<|message|>晴れです。<|return|>", folder=folder) as server:
        call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "東京"}'}}
        talk = [
            *ASK,
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": "晴れ"},
        ]
        answer = ask(server, messages=talk)
        assert answer.choices[0].message.content == "晴れです。"
        without = ask(server, messages=ASK)
        assert answer.usage.prompt_tokens > without.usage.prompt_tokens + 10


def test_an_answer_follows_its_schema_also_where_the_model_would_say_something_else(folder: Path) -> None:
    schema = {"type": "object", "properties": {"都市": {"enum": ["東京", "大阪"]}}, "required": ["都市"],
              "additionalProperties": False}  # fmt: skip
    with scripted_server("<|channel|>final<|message|>晴れです。<|return|>", folder=folder) as server:
        for stream in (False, True):
            answer = server.client.chat.completions.create(
                model="tiny", messages=ASK, temperature=1, seed=1, max_tokens=100, stream=stream,
                response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": schema}},
            )  # fmt: skip
            text = (
                "".join(chunk.choices[0].delta.content or "" for chunk in answer)
                if stream else answer.choices[0].message.content
            )  # fmt: skip
            assert json.loads(text)["都市"] in ("東京", "大阪")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tool_choice": {"type": "function", "function": {"name": "other"}}}, "tool_choice"),
        ({"tools": [TOOL, TOOL]}, "tools[1].function.name"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "nonsense"}}}},
         "response_format"),
    ],
)  # fmt: skip
def test_what_cannot_be_enforced_is_refused_and_never_ignored(
    server: Scripted, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        server.client.chat.completions.create(**({"model": "tiny", "messages": ASK, "tools": [TOOL]} | fields))
    assert caught.value.param == param

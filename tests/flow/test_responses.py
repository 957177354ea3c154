"""`/v1/responses` with OpenAI's own client, which reads every answer and event into its own shapes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.responses import Response

from scripted_server import Scripted, scripted_server
from tool_models import tool_model

THOUGHT = "<|channel|>analysis<|message|>よく考える。<|end|><|start|>assistant"
REPLY = f"{THOUGHT}<|channel|>final<|message|>青いです😀<|return|>"
CALL = f'{THOUGHT}<|channel|>commentary to=functions.weather<|constrain|>json<|message|>{{"city": "東京"}}<|call|>'
TOOL: dict[str, Any] = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "additionalProperties": False},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tool_model(tmp_path_factory.mktemp("tools") / "model")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Scripted]:
    with scripted_server(REPLY, folder=folder) as server:
        yield server


@pytest.fixture(scope="module")
def caller(folder: Path) -> Iterator[Scripted]:
    with scripted_server(CALL, folder=folder) as server:
        yield server


def create(server: Scripted, **fields: Any) -> Any:
    return server.client.responses.create(**({"model": "tiny", "input": "海の色は？", "temperature": 0} | fields))


def test_a_response_holds_reasoning_text_and_usage(server: Scripted) -> None:
    response = create(server, instructions="短く。", metadata={"a": "b"})
    assert response.status == "completed"
    assert response.output_text == "青いです😀"
    assert [item.type for item in response.output] == ["reasoning", "message"]
    assert response.output[0].content[0].text == "よく考える。"
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens
    assert response.usage.output_tokens_details.reasoning_tokens > 0
    assert response.metadata == {"a": "b"}
    assert Response.model_validate(
        json.loads(server.http.post("/v1/responses", json={"input": "海"}).content), strict=True
    )


def test_the_events_of_a_stream_build_up_to_the_same_response(server: Scripted) -> None:
    events = list(create(server, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events if "delta" not in event.type] == [
        "response.created", "response.in_progress",
        "response.output_item.added", "response.content_part.added",
        "response.reasoning_text.done", "response.content_part.done", "response.output_item.done",
        "response.output_item.added", "response.content_part.added",
        "response.output_text.done", "response.content_part.done", "response.output_item.done",
        "response.completed",
    ]  # fmt: skip
    final = events[-1].response
    deltas = [event for event in events if event.type == "response.output_text.delta"]
    assert "".join(event.delta for event in deltas) == final.output_text == create(server).output_text
    assert {event.item_id for event in deltas} == {final.output[1].id}
    done = [event.item for event in events if event.type == "response.output_item.done"]
    assert [item.model_dump() for item in done] == [item.model_dump() for item in final.output]
    with server.client.responses.stream(model="tiny", input="海の色は？", temperature=0) as stream:
        assert stream.get_final_response().output_text == "青いです😀"


def test_an_answer_that_is_cut_is_incomplete(server: Scripted) -> None:
    response = create(server, max_output_tokens=3)
    assert response.status == "incomplete"
    assert response.incomplete_details.reason == "max_output_tokens"
    assert list(create(server, max_output_tokens=3, stream=True))[-1].type == "response.incomplete"


def test_calls_of_functions_are_items_and_so_are_their_outputs(caller: Scripted, server: Scripted) -> None:
    response = create(caller, tools=[TOOL])
    call = response.output[-1]
    assert (call.type, call.name, json.loads(call.arguments)) == ("function_call", "weather", {"city": "東京"})
    events = list(create(caller, tools=[TOOL], stream=True))
    pieces = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    assert "".join(pieces) == call.arguments
    done = next(event for event in events if event.type == "response.function_call_arguments.done")
    assert (done.name, done.arguments) == ("weather", call.arguments)
    talk = [
        {"role": "user", "content": "海の色は？"},
        *(item.model_dump(exclude_none=True) for item in response.output),
        {"type": "function_call_output", "call_id": call.call_id, "output": "晴れ"},
    ]
    answer = create(server, input=talk, tools=[TOOL])
    assert answer.output_text == "青いです😀"
    assert answer.usage.input_tokens > create(server, tools=[TOOL]).usage.input_tokens + 10


def test_log_probabilities_come_with_the_text(server: Scripted) -> None:
    response = create(server, include=["message.output_text.logprobs"], top_logprobs=2)
    logprobs = response.output[1].content[0].logprobs
    assert "".join(each.token for each in logprobs).startswith("青い")
    assert all(len(each.top_logprobs) == 2 for each in logprobs)
    streamed = list(create(server, include=["message.output_text.logprobs"], top_logprobs=2, stream=True))
    parts = [event.logprobs for event in streamed if event.type == "response.output_text.delta"]
    assert [each.token for part in parts for each in part] == [each.token for each in logprobs]


def test_a_text_follows_its_schema(server: Scripted) -> None:
    schema = {"type": "object", "properties": {"色": {"enum": ["青", "緑"]}}, "required": ["色"],
              "additionalProperties": False}  # fmt: skip
    response = create(server, text={"format": {"type": "json_schema", "name": "color", "schema": schema}})
    assert json.loads(response.output_text)["色"] in ("青", "緑")
    assert response.text.format.type == "json_schema"


def test_what_would_need_a_store_is_refused(server: Scripted) -> None:
    for field in ({"previous_response_id": "resp_1"}, {"conversation": "conv_1"}, {"background": True}):
        with pytest.raises(openai.BadRequestError) as caught:
            create(server, **field)
        assert caught.value.param == next(iter(field))


def test_a_failure_in_a_stream_is_its_last_event(folder: Path) -> None:
    with scripted_server(REPLY, folder=folder, held_back=True) as server:
        server.engine.allow(6)
        stream = create(server, stream=True)
        events = [next(stream) for _ in range(5)]
        server.engine.failures = 1
        server.engine.let_go()
        events += list(stream)
        assert events[-1].type == "response.failed"
        assert events[-1].response.error.code == "engine_failed"

"""What other servers send that edgellm's own does not."""

from __future__ import annotations

import json

import pytest

from edgellm.errors import EngineFailed, UsageError
from edgellm.inference.chat import Delta, Message, SamplingOptions, Usage
from edgellm.inference.remote_chat import RemoteChat, deltas, server_sent_data


def chunk(delta: dict[str, object], finish_reason: str | None = None, **more: object) -> str:
    return json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]} | more)


def test_events_are_found_wherever_the_bytes_are_cut_and_line_separators_in_text_do_not_cut_them() -> None:
    parts = (
        'data: {"a": "x\u2028y\u0085z"}\r\n',
        ': a comment\nevent: ping\ndata:{"b": 1}\n',
        "data: [DONE]\n\n",
    )
    body = "\n".join(parts).encode()
    for size in (1, 2, 3, 7, len(body)):
        pieces = [body[n : n + size] for n in range(0, len(body), size)]
        assert list(server_sent_data(pieces)) == ['{"a": "x\u2028y\u0085z"}', '{"b": 1}', "[DONE]"]


def test_usage_may_come_with_the_last_chunk_or_after_it_or_not_at_all() -> None:
    counts = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    after = [
        chunk({"content": "a"}),
        chunk({}, "stop"),
        json.dumps({"choices": [], "usage": counts}),
        "[DONE]",
    ]
    within = [chunk({"content": "a"}), chunk({}, "stop", usage=counts), "[DONE]"]
    for events in (after, within):
        assert list(deltas("u", events)) == [
            Delta(content="a"),
            Delta(finish_reason="stop", usage=Usage(3, 2)),
        ]
    assert list(deltas("u", [chunk({"content": "a"}, "length")])) == [
        Delta(content="a"),
        Delta(finish_reason="length"),
    ]


def test_reasoning_under_either_name_is_reasoning() -> None:
    for name in ("reasoning_content", "reasoning"):
        assert next(deltas("u", [chunk({name: "考え"}), chunk({}, "stop")])) == Delta(reasoning="考え")


def test_a_reason_that_openai_does_not_know_ends_the_answer_as_stop() -> None:
    assert list(deltas("u", [chunk({}, "eos_token")]))[-1].finish_reason == "stop"


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([chunk({"content": "a"})], "before the answer was complete"),
        (["no json"], "not JSON"),
        (["[1]"], "no object"),
        ([json.dumps({"error": {"message": "out of memory"}})], "out of memory"),
    ],
)
def test_a_stream_that_breaks_is_an_engine_failure(events: list[str], words: str) -> None:
    with pytest.raises(EngineFailed, match=words):
        list(deltas("u", events))


def test_a_server_that_is_not_there_is_an_engine_failure_with_its_address() -> None:
    with RemoteChat("http://127.0.0.1:9") as chat, pytest.raises(EngineFailed, match=r"127\.0\.0\.1:9"):
        list(chat.stream([Message("user", "?")], SamplingOptions(), 1))


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="http://"):
        RemoteChat("localhost:8080")

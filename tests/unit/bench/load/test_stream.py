"""Server-sent events are read the same however the network cuts them, and each at the time of its own read."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgellm.bench.load.stream import Answer, Reads, data_lines, read_answer


def chunk(content: str = "", reason: str | None = None, **more: object) -> bytes:
    event = {"choices": [{"delta": {"content": content}, "finish_reason": reason}], **more}
    return f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode()


USAGE = {"usage": {"prompt_tokens": 7, "completion_tokens": 3}}
TEXT = ("東京", "\u2028は\u0085", "\U0001f5fe晴れ")
STREAM = b": hello\n\n" + b"".join(map(chunk, TEXT)) + chunk("", "stop", **USAGE) + b"data: [DONE]\n\n"


def read(reads: Reads) -> Answer:
    return asyncio.run(read_answer(reads))


@given(st.lists(st.integers(0, len(STREAM)), max_size=40))
def test_cuts_anywhere_change_nothing_but_the_times(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    answer = read([(float(at), STREAM[a:b]) for at, (a, b) in enumerate(pairwise(edges))])
    assert (answer.text, answer.error, answer.finish_reason) == ("".join(TEXT), "", "stop")
    assert (answer.prompt_tokens, answer.output_tokens) == (7, 3)
    assert len(answer.event_s) == 3
    assert answer.event_s == sorted(answer.event_s)


def test_an_event_has_the_time_of_the_read_that_completed_it() -> None:
    first, second, rest = chunk("一"), chunk("二"), chunk("", "stop") + b"data: [DONE]\n\n"
    reads = [(1.0, first[:9]), (2.0, first[9:] + second[:-5]), (3.0, second[-5:]), (4.0, rest)]
    answer = read(reads)
    assert answer.event_s == [2.0, 3.0]
    assert answer.end_s == 4.0


def test_carriage_returns_and_a_last_line_without_an_end_are_taken() -> None:
    body = chunk("一", "stop").replace(b"\n", b"\r\n").rstrip()
    assert [data for _, data in data_lines([(0.0, body)])] == [body[len("data: ") :]]


def test_reasoning_counts_as_text() -> None:
    event = b'data: {"choices": [{"delta": {"reasoning_content": "\xe8\x80\x83"}}]}\n\n'
    answer = read([(1.0, event), (2.0, chunk("答", "stop"))])
    assert (answer.reasoning, answer.text, answer.event_s) == ("考", "答", [1.0, 2.0])


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        (chunk("一"), "the stream ended before the answer was complete"),
        (chunk("", "stop"), "the answer has no text"),
        (chunk("一") + b"data: {oops\n\n" + chunk("", "stop"), "no JSON object: '{oops'"),
        (chunk("一") + b"data: [1]\n\n" + chunk("", "stop"), "no JSON object"),
        (chunk("一") + b'data: {"error": {"message": "out of memory"}}\n\n', "error in the stream: out of memory"),
        (chunk("一") + b'data: {"choices": [3]}\n\n' + chunk("", "stop"), "no chunk of a chat completion"),
        (chunk("一", "stop") + b'data: {"usage": {"prompt": 1}}\n\n', "no chunk of a chat completion"),
        (b"", "the stream ended before the answer was complete"),
    ],
)
def test_what_is_no_whole_answer_says_why(stream: bytes, said: str) -> None:
    assert said in read([(0.0, stream)]).error

"""What makes streams cheap: prepared events, joined deltas, one wake-up for what comes together."""

from __future__ import annotations

import asyncio
import json
import threading

from hypothesis import given
from hypothesis import strategies as st

from edgellm.inference.chat import Delta, TokenLogprob, ToolPiece
from edgellm.language.tokenizer import load_tokenizer
from edgellm.records.openai import chat, completion
from edgellm.serve.frames import event
from edgellm.serve.mailbox import Mailbox
from edgellm.serve.shapes import ChatShape, CompletionShape
from edgellm.serve.stream import join, joined
from tiny_checkpoints import TINY_JA

TOKENIZER = load_tokenizer(TINY_JA)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(TEXTS, st.sampled_from(["content", "reasoning", "arguments"]))
def test_a_prepared_event_of_a_chat_is_what_its_record_would_be(text: str, kind: str) -> None:
    shape = ChatShape("m", 1, TOKENIZER, 1, include_usage=False)
    deltas = {
        "content": Delta(content=text),
        "reasoning": Delta(reasoning=text),
        "arguments": Delta(tools=(ToolPiece(2, arguments=text),)),
    }
    for _ in range(2):  # made, and then taken again
        sent = shape.events([(3, deltas[kind])])
        record = chat.ChatChunk.model_validate_json(sent.removeprefix(b"data: "))
        assert event(record) == sent
        choice = record.choices[0]
        said = choice.delta.tool_calls[0].function.arguments if choice.delta.tool_calls else (
            choice.delta.content or choice.delta.reasoning_content
        )  # fmt: skip
        assert (choice.index, said) == (3, text)


@given(TEXTS)
def test_a_prepared_event_of_a_completion_is_what_its_record_would_be(text: str) -> None:
    shape = CompletionShape("m", 1, TOKENIZER, 1, include_usage=False, logprobs=False)
    for _ in range(2):
        sent = shape.events([(0, Delta(content=text))])
        record = completion.Completion.model_validate_json(sent.removeprefix(b"data: "))
        assert event(record) == sent
        assert record.choices[0].text == text


def test_a_text_that_holds_the_mark_of_frames_is_sent_as_it_is() -> None:
    shape = ChatShape("m", 1, TOKENIZER, 1, include_usage=False)
    for text in ("\ue000", "a\ue000b"):
        sent = shape.events([(0, Delta(content=text))])
        assert json.loads(sent.removeprefix(b"data: "))["choices"][0]["delta"]["content"] == text


def test_deltas_of_one_kind_and_answer_that_wait_together_are_joined() -> None:
    batch = [
        (0, Delta(reasoning="a")), (1, Delta(content="x")), (0, Delta(reasoning="b")), (0, Delta(content="c")),
        (1, Delta(content="y")), (0, Delta(tools=(ToolPiece(0, "id", "f"),))),
        (0, Delta(tools=(ToolPiece(0, arguments="{"),))), (0, Delta(tools=(ToolPiece(0, arguments="}"),))),
        (0, Delta(finish_reason="tool_calls")),
    ]  # fmt: skip
    assert joined(batch) == [
        (0, Delta(reasoning="ab")), (1, Delta(content="xy")), (0, Delta(content="c")),
        (0, Delta(tools=(ToolPiece(0, "id", "f", "{}"),))), (0, Delta(finish_reason="tool_calls")),
    ]  # fmt: skip


def test_what_must_stay_apart_is_not_joined() -> None:
    told = Delta(content="a", logprobs=(TokenLogprob(1, -0.1),))
    second = Delta(tools=(ToolPiece(1, "id", "g"),))
    first = Delta(tools=(ToolPiece(0, "id", "f"),))
    for one, two in ((told, told), (first, second), (first, Delta(content="a")), (told, Delta(finish_reason="stop"))):
        assert join(one, two) is None


def test_items_of_a_thread_come_in_order_and_what_comes_together_wakes_once() -> None:
    async def main() -> tuple[list[int], list[int], int]:
        boxes: list[Mailbox[int]] = [Mailbox(), Mailbox()]
        loop, wakes = asyncio.get_running_loop(), 0
        waker = boxes[0]._room._wake_loop

        def counted(*args: object) -> object:
            nonlocal wakes
            wakes += 1
            return waker(*args)  # type: ignore[arg-type]

        boxes[0]._room._wake_loop = counted  # type: ignore[assignment]

        def post() -> None:
            for n in range(1000):
                boxes[n % 2].put(n)

        thread = threading.Thread(target=post)
        thread.start()
        thread.join()  # the loop has not run in between
        got = [await box.take() for box in boxes]
        loop.call_soon(boxes[0].close)
        assert await boxes[0].take() == []
        return got[0], got[1], wakes

    even, odd, wakes = asyncio.run(main())
    assert even == list(range(0, 1000, 2))
    assert odd == list(range(1, 1000, 2))
    assert wakes == 1

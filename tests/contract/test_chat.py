"""What every Chat keeps, whether the model is on this machine or behind an OpenAI-compatible URL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing

import pytest

from edgellm.errors import EngineFailed, PromptTooLong, QueueFull, UsageError
from edgellm.inference.chat import Chat, Delta, Message, SamplingOptions
from edgellm.inference.local_chat import LocalChat
from edgellm.inference.remote_chat import RemoteChat
from edgellm.inference.scheduler import Scheduler
from edgellm.inference.scheduler_options import SchedulerOptions
from edgellm.language.chat_template import ChatTemplate
from edgellm.language.tokenizer import Part, Tokenizer, load_tokenizer
from live_server import eventually, live_server
from scripted_runtime import ScriptedRuntime, saying
from tiny_checkpoints import TINY_JA

GREEDY = SamplingOptions(temperature=0.0)
QUESTION = [Message("user", "富士山の高さは？")]
CONTENT = "三千七百七十六メートルです😀。"
REPLY = (
    "<|channel|>analysis<|message|>山の高さを聞かれた。<|end|>"
    f"<|start|>assistant<|channel|>final<|message|>{CONTENT}<|return|>"
)

Start = Callable[..., tuple[Chat, LocalChat, ScriptedRuntime]]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer(TINY_JA)


@pytest.fixture(scope="module")
def reply(tokenizer: Tokenizer) -> list[int]:
    return tokenizer.encode_parts([Part(REPLY, True)])


@pytest.fixture(params=["local", "remote"])
def start(request: pytest.FixtureRequest, tokenizer: Tokenizer) -> Iterator[Start]:
    """Opens a chat over a model that says what it is told to: (the chat, its local end, the runtime)."""
    with ExitStack() as stack:

        def make(
            answer: Sequence[int], *, max_waiting: int = 8, **runtime: object
        ) -> tuple[Chat, LocalChat, ScriptedRuntime]:
            settings = {"vocab": tokenizer.vocab_tokens, "context": 256, "step_tokens": 64} | runtime
            engine = ScriptedRuntime(rule=saying(answer), **settings)  # type: ignore[arg-type]
            local = LocalChat(
                Scheduler(engine, SchedulerOptions(max_waiting=max_waiting)), tokenizer, ChatTemplate.load(TINY_JA)
            )
            stack.callback(local.close)
            if request.param == "local":
                stack.callback(engine.let_go)
                return local, local, engine
            url = stack.enter_context(live_server(local, name="tiny"))
            stack.callback(engine.let_go)
            return stack.enter_context(RemoteChat(url, "tiny")), local, engine

        yield make


def joined(deltas: Sequence[Delta]) -> tuple[str, str]:
    return "".join(d.content for d in deltas), "".join(d.reasoning for d in deltas)


def test_reasoning_and_content_come_apart(start: Start, reply: list[int]) -> None:
    chat, _, _ = start(reply)
    deltas = list(chat.stream(QUESTION, GREEDY, None))
    assert joined(deltas) == (CONTENT, "山の高さを聞かれた。")


def test_the_last_delta_alone_says_why_it_ended_and_what_it_cost(start: Start, reply: list[int]) -> None:
    chat, local, _ = start(reply)
    *others, last = chat.stream(QUESTION, GREEDY, None)
    assert last.finish_reason == "stop"
    assert last.usage is not None
    assert last.usage.prompt_tokens == len(local.prompt(QUESTION))
    assert last.usage.completion_tokens == len(reply)
    assert others
    assert all(delta.finish_reason is None and delta.usage is None for delta in others)


def test_a_character_of_several_tokens_is_held_back_until_it_is_whole(
    start: Start, reply: list[int], tokenizer: Tokenizer
) -> None:
    assert tokenizer.token(tokenizer.encode("😀")[-1]).startswith("<0x")  # or this test shows nothing
    chat, _, _ = start(reply)
    deltas = list(chat.stream(QUESTION, GREEDY, None))
    assert all("\ufffd" not in delta.content for delta in deltas)
    assert any("😀" in delta.content for delta in deltas)


def test_an_answer_that_is_cut_inside_a_character_shows_the_cut_at_its_end(
    start: Start, reply: list[int], tokenizer: Tokenizer
) -> None:
    spelled = [tokenizer.token_bytes(token) for token in reply]
    inside = next(n for n, data in enumerate(spelled) if data == b"\xf0") + 2
    chat, _, _ = start(reply)
    deltas = list(chat.stream(QUESTION, GREEDY, inside))
    text, _ = joined(deltas)
    assert text == CONTENT[: CONTENT.index("😀")] + "\ufffd"
    assert deltas[-1].finish_reason == "length"


def test_max_tokens_ends_the_answer_with_length(start: Start, reply: list[int]) -> None:
    chat, _, _ = start(reply)
    last = list(chat.stream(QUESTION, GREEDY, 3))[-1]
    assert last.finish_reason == "length"
    assert last.usage is not None
    assert last.usage.completion_tokens == 3


@pytest.mark.parametrize(
    ("stop", "wanted"),
    [
        (["メートル"], "三千七百七十六"),
        (["十六メ"], "三千七百七"),
        (["です😀"], "三千七百七十六メートル"),
        (["ない", "七"], "三千"),
        (["メートルでした"], CONTENT),
        (["三"], ""),
    ],
)
def test_a_stop_string_ends_the_content_before_it(start: Start, reply: list[int], stop: list[str], wanted: str) -> None:
    chat, _, _ = start(reply)
    deltas = list(chat.stream(QUESTION, GREEDY, None, stop))
    assert joined(deltas)[0] == wanted
    assert deltas[-1].finish_reason == "stop"


def test_a_stop_string_is_not_looked_for_in_the_reasoning(start: Start, reply: list[int]) -> None:
    chat, _, _ = start(reply)
    deltas = list(chat.stream(QUESTION, GREEDY, None, ["山の高さ"]))
    assert joined(deltas)[0] == CONTENT


def test_tokens_drawn_after_a_stop_string_are_not_charged(start: Start, reply: list[int]) -> None:
    chat, _, _ = start(reply)
    whole = list(chat.stream(QUESTION, GREEDY, None))[-1].usage
    cut = list(chat.stream(QUESTION, GREEDY, None, ["メートル"]))[-1].usage
    assert whole is not None
    assert cut is not None
    assert 0 < cut.completion_tokens < whole.completion_tokens


def test_closing_the_iterator_early_frees_the_place(start: Start, reply: list[int]) -> None:
    endless = [*reply[:-1], reply[-2]]
    chat, local, engine = start(endless, context=100_000, held_back=True)
    engine.allow(30)
    with closing(chat.stream(QUESTION, GREEDY, None)) as deltas:
        next(deltas)
    engine.let_go()
    eventually(lambda: local.scheduler.state().running == 0)
    assert local.scheduler.state().completion_tokens < 50_000


def test_two_conversations_run_at_once(start: Start, reply: list[int]) -> None:
    chat, _, engine = start(reply, held_back=True)
    engine.allow(20)
    with (
        closing(chat.stream(QUESTION, GREEDY, None)) as first,
        closing(chat.stream(QUESTION, GREEDY, None)) as second,
    ):
        begun = [next(first)]
        engine.let_go()
        assert joined(list(second))[0] == CONTENT
        assert joined(begun + list(first))[0] == CONTENT


def test_the_same_seed_gives_the_same_answer(start: Start, reply: list[int]) -> None:
    hot = SamplingOptions(temperature=2.0, top_p=1.0, seed=5)
    chat, _, _ = start(reply)
    first, second = (joined(list(chat.stream(QUESTION, hot, 40))) for _ in range(2))
    assert first == second
    assert joined(list(chat.stream(QUESTION, SamplingOptions(2.0, 1.0, seed=6), 40))) != first


def test_a_prompt_that_fills_the_context_is_refused_as_too_long(start: Start, reply: list[int]) -> None:
    chat, _, _ = start(reply)
    with pytest.raises(PromptTooLong, match="256"):
        list(chat.stream([Message("user", "長い" * 500)], GREEDY, None))


def test_messages_that_the_template_refuses_are_a_usage_error(start: Start, reply: list[int]) -> None:
    chat, _, _ = start(reply)
    with pytest.raises(UsageError):
        list(chat.stream([Message("nobody", "？")], GREEDY, None))


def test_a_full_queue_says_so_and_when_to_come_back(start: Start, reply: list[int]) -> None:
    chat, _, engine = start(reply, sequences=1, max_waiting=0, held_back=True)
    engine.allow(20)
    with closing(chat.stream(QUESTION, GREEDY, None)) as first:
        next(first)
        with pytest.raises(QueueFull) as caught:
            list(chat.stream(QUESTION, GREEDY, None))
        assert caught.value.retry_after_s >= 1
        engine.let_go()


@pytest.mark.parametrize("steps_before", [0, 20])
def test_an_engine_failure_ends_the_answer_with_engine_failed(
    start: Start, reply: list[int], steps_before: int
) -> None:
    chat, _, engine = start(reply, held_back=True)
    engine.allow(steps_before)
    with closing(chat.stream(QUESTION, GREEDY, None)) as deltas:
        if steps_before:
            next(deltas)
        engine.failures = 1
        engine.let_go()
        with pytest.raises(EngineFailed, match="the script says so"):
            list(deltas)
    assert joined(list(chat.stream(QUESTION, GREEDY, None)))[0] == CONTENT

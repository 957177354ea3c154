"""A model behind a server is asked again where that helps, and never where it does not."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from counting_server import Counting, counting_server
from edgellm.errors import EngineFailed, QueueFull, UsageError
from edgellm.evals.chat_model import ChatModel, Patience
from edgellm.inference.chat import Message, SamplingOptions
from edgellm.inference.remote_chat import RemoteChat

ASKED = [Message("user", "日本で一番高い山は？")]
GREEDY = SamplingOptions(temperature=0.0)
QUICK = Patience(breaks=2, first_wait_s=0.01, full_s=2.0)


@pytest.fixture
def server() -> Iterator[Counting]:
    with counting_server() as counting:
        yield counting


def model_of(server: Counting, patience: Patience = QUICK, said: list[str] | None = None) -> ChatModel:
    return ChatModel("counting", RemoteChat(server.url, "counting"), patience, None if said is None else said.append)


def test_a_reply_has_words_and_counts(server: Counting) -> None:
    server.answer = lambda body: "<think>山の話だ</think>富士山です。"
    reply = model_of(server).reply(ASKED, GREEDY, 32)
    assert (reply.content, reply.reasoning) == ("富士山です。", "<think>山の話だ</think>")
    assert (reply.prompt_tokens, reply.completion_tokens, reply.finish_reason) == (7, 3, "stop")
    assert reply.seconds > 0


def test_a_full_server_is_asked_again_after_the_wait_that_it_names(server: Counting) -> None:
    server.faults = ["full"]
    said: list[str] = []
    assert model_of(server, said=said).reply(ASKED, GREEDY, 32).content == "はい。"
    assert len(server.asked) == 2
    assert "429" in said[0]
    assert "in 1 s" in said[0]


def test_patience_with_a_full_server_ends(server: Counting) -> None:
    server.faults = ["full"] * 9
    with pytest.raises(QueueFull):
        model_of(server, Patience(full_s=1.5)).reply(ASKED, GREEDY, 32)
    assert len(server.asked) == 2


@pytest.mark.parametrize("fault", ["broken", "cut"])
def test_an_answer_that_breaks_off_is_asked_for_again(server: Counting, fault: str) -> None:
    server.faults = [fault, fault]  # type: ignore[list-item]
    assert model_of(server).reply(ASKED, GREEDY, 32).content == "はい。"
    assert len(server.asked) == 3


def test_a_server_that_always_breaks_off_is_given_up(server: Counting) -> None:
    server.faults = ["broken"] * 9
    with pytest.raises(EngineFailed, match="gave no answer"):
        model_of(server).reply(ASKED, GREEDY, 32)
    assert len(server.asked) == 3


def test_what_is_refused_is_not_asked_again(server: Counting) -> None:
    model = ChatModel("x", RemoteChat(f"{server.url}/v1/chat/completions/nowhere", "x"), QUICK)
    server.faults = ["full"]
    model.close()
    with pytest.raises(QueueFull):  # a closed model does not wait
        model.reply(ASKED, GREEDY, 32)
    with pytest.raises(UsageError, match="--mode generation"):
        model.likelihoods("日本の首都は", ["東京"])


def test_settings_reach_the_server(server: Counting) -> None:
    sampling = SamplingOptions(temperature=0.5, top_p=0.9, seed=3, repetition_penalty=1.1)
    model_of(server).reply([Message("system", "簡潔に。"), *ASKED], sampling, 512)
    body = server.asked[0]
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert {key: body[key] for key in ("temperature", "top_p", "seed", "repetition_penalty", "max_tokens")} == {
        "temperature": 0.5, "top_p": 0.9, "seed": 3, "repetition_penalty": 1.1, "max_tokens": 512,
    }  # fmt: skip


def test_an_answer_can_be_held_to_a_schema(server: Counting) -> None:
    schema = {"type": "object", "properties": {"score": {"type": "integer"}}, "required": ["score"]}
    model_of(server).structured_reply(ASKED, GREEDY, 32, schema)
    asked_for = server.asked[0]["response_format"]
    assert asked_for["type"] == "json_schema"
    assert asked_for["json_schema"]["schema"] == schema


def test_several_threads_may_ask_at_once(server: Counting) -> None:
    server.hold_from = 1
    model = model_of(server)
    threads = [threading.Thread(target=model.reply, args=(ASKED, GREEDY, 8)) for _ in range(4)]
    for thread in threads:
        thread.start()
    while len(server.asked) < 4:  # all four are there before one is answered, or this never ends
        threading.Event().wait(0.01)
    server.release.set()
    for thread in threads:
        thread.join(10)
    assert server.answered == 4


def test_the_first_model_of_a_server_is_known_by_name(server: Counting) -> None:
    with RemoteChat(server.url) as chat:
        assert chat.first_model() == "counting"
    with RemoteChat("http://127.0.0.1:9") as chat, pytest.raises(EngineFailed, match="check that the server runs"):
        chat.first_model()

"""What a request to the two kinds of completions may ask for beyond a text, over a real socket."""

from __future__ import annotations

import json
import math
import socket
from collections.abc import Iterator

import pytest

from edgellm.serve.answering import ReaderLimits
from edgellm.serve.outcome import Outcome
from live_server import eventually
from scripted_server import Scripted, scripted_server

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
ASK = [{"role": "user", "content": "はい？"}]
REPLY = (
    "<|channel|>analysis<|message|>よく考える。<|end|><|start|>assistant<|channel|>final<|message|>青いです😀<|return|>"
)


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return []


@pytest.fixture(scope="module")
def server(outcomes: list[Outcome]) -> Iterator[Scripted]:
    with scripted_server(REPLY, observers=[outcomes.append]) as server:
        yield server


def test_n_answers_come_as_choices_and_the_prompt_is_counted_once(server: Scripted) -> None:
    one = server.client.chat.completions.create(model="tiny", messages=ASK)
    three = server.client.chat.completions.create(model="tiny", messages=ASK, n=3)
    assert [choice.index for choice in three.choices] == [0, 1, 2]
    assert {choice.message.content for choice in three.choices} == {"青いです😀"}
    assert one.usage
    assert three.usage
    assert three.usage.prompt_tokens == one.usage.prompt_tokens
    assert three.usage.completion_tokens == 3 * one.usage.completion_tokens


def test_n_streams_come_mixed_and_each_is_whole(server: Scripted) -> None:
    chunks = list(server.client.chat.completions.create(model="tiny", messages=ASK, n=3, stream=True))
    for index in range(3):
        own = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
        assert own[0].delta.role == "assistant"
        assert "".join(choice.delta.content or "" for choice in own) == "青いです😀"
        assert own[-1].finish_reason == "stop"


def test_answers_of_one_prompt_have_seeds_of_their_own_which_follow_from_the_one_given(server: Scripted) -> None:
    def texts(seed: int) -> list[str]:
        body = {"prompt": "海", "n": 3, "seed": seed, "temperature": 2, "top_p": 1, "logit_bias": {"5": 100}}
        # A bias that outweighs the script leaves the draw to chance.
        body |= {"max_tokens": 12, "ignore_eos": True}
        body["logit_bias"] = {str(token): 100 for token in range(300, 400)}
        return [choice["text"] for choice in server.http.post(TEXT, json=body).json()["choices"]]

    first = texts(7)
    assert len(set(first)) == 3
    assert texts(7) == first
    assert not set(texts(8)) & set(first)


def test_a_bias_bans_and_brings_tokens_and_penalties_change_what_follows(server: Scripted) -> None:
    wanted = server.chat.tokenizer.encode("駅")[-1]
    body = {"prompt": "海", "temperature": 0, "max_tokens": 4, "ignore_eos": True}
    biased = server.http.post(TEXT, json=body | {"logit_bias": {str(wanted): 100}}).json()["choices"][0]["text"]
    assert biased == "駅" * 4
    for name in ("repetition_penalty", "repeat_penalty"):
        reply = server.http.post(TEXT, json=body | {"logit_bias": {str(wanted): 30}, name: 10})
        assert reply.json()["choices"][0]["text"] != biased
    reply = server.http.post(TEXT, json=body | {"logit_bias": {str(wanted): 21}, "presence_penalty": 2})
    assert reply.json()["choices"][0]["text"] != biased


def test_chat_logprobs_spell_the_content_and_hold_the_likeliest_tokens(server: Scripted) -> None:
    answer = server.client.chat.completions.create(
        model="tiny", messages=ASK, temperature=0, logprobs=True, top_logprobs=3
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs
    assert logprobs.content
    assert b"".join(bytes(each.bytes or ()) for each in logprobs.content).decode() == "青いです😀"
    for each in logprobs.content:
        assert len(each.top_logprobs) == 3
        assert each.top_logprobs[0].token.lstrip() == each.token  # without the dummy space before a text
        assert each.logprob == pytest.approx(each.top_logprobs[0].logprob)
        assert math.exp(each.logprob) > 0.99  # the script's logit is 20 above all others
    chunks = server.client.chat.completions.create(
        model="tiny", messages=ASK, temperature=0, logprobs=True, top_logprobs=3, stream=True
    )
    parts = [choice.logprobs.content or [] for chunk in chunks for choice in chunk.choices if choice.logprobs]
    assert [each for part in parts for each in part] == logprobs.content


def test_completion_logprobs_tell_where_in_the_text_each_token_begins(server: Scripted) -> None:
    body = {"prompt": "海", "temperature": 0, "max_tokens": 30, "logprobs": 2}
    choice = server.http.post(TEXT, json=body).json()["choices"][0]
    found = choice["logprobs"]
    assert len({len(found[name]) for name in found}) == 1
    assert all(len(top) <= 2 for top in found["top_logprobs"])
    for token, offset in zip(found["tokens"], found["text_offset"], strict=True):
        assert "\ufffd" in token or choice["text"].startswith(token, offset)
    assert len(set(found["text_offset"])) > 5
    streamed = server.http.post(TEXT, json=body | {"stream": True}).text
    parts = [json.loads(line[6:])["choices"][0]["logprobs"] for line in streamed.split("\n\n")[:-2]]
    assert [token for part in parts if part for token in part["tokens"]] == found["tokens"]
    assert [place for part in parts if part for place in part["text_offset"]] == found["text_offset"]


def test_usage_tells_reasoning_and_what_was_not_computed_again(server: Scripted) -> None:
    question = [{"role": "user", "content": "長い質問です。" * 20}]
    for _ in range(2):
        usage = server.client.chat.completions.create(model="tiny", messages=question).usage
    assert usage
    assert usage.prompt_tokens_details
    assert usage.completion_tokens_details
    assert usage.prompt_tokens_details.cached_tokens
    assert 0 < usage.prompt_tokens_details.cached_tokens < usage.prompt_tokens
    assert usage.completion_tokens_details.reasoning_tokens == len(server.chat.tokenizer.encode("よく考える。"))


def test_each_request_is_told_to_the_observers_with_its_end_before_its_answer_is_complete(
    server: Scripted, outcomes: list[Outcome]
) -> None:
    outcomes.clear()
    server.http.post(CHAT, json={"messages": ASK, "stream": True}, headers={"x-request-id": "one"})
    server.http.post(CHAT, json={"messages": ASK, "model": "none"}, headers={"x-request-id": "two"})
    assert [(o.request_id, o.ending, o.status, o.model) for o in outcomes] == [
        ("one", "answered", 200, "tiny"), ("two", "refused", 404, ""),
    ]  # fmt: skip
    done = outcomes[0]
    assert (done.endpoint, done.finish_reason, done.answer, done.prompt) == (CHAT, "stop", "青いです😀", "はい？")
    assert done.completion_tokens > 10
    assert done.ttft_s is not None
    assert done.decode_s is not None
    assert 0 < done.ttft_s <= done.e2e_s
    server.engine.failures = 1
    server.http.post(CHAT, json={"messages": ASK}, headers={"x-request-id": "three"})
    assert (outcomes[-1].ending, outcomes[-1].status) == ("failed", 500)
    with socket.create_connection((server.http.base_url.host, server.http.base_url.port)) as client:
        body = json.dumps({"prompt": "あ", "max_tokens": 10**9, "ignore_eos": True}).encode()
        client.sendall(
            b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (TEXT.encode(), len(body), body)
        )
        eventually(lambda: server.chat.scheduler.state().running == 1)
    eventually(lambda: outcomes[-1].ending == "abandoned")


def test_a_client_that_does_not_read_is_dropped_and_the_others_are_served() -> None:
    outcomes: list[Outcome] = []
    limits = ReaderLimits(patience_s=0.2, look_s=0.1)
    with (
        scripted_server("はい", context=10**9, readers=limits, observers=[outcomes.append]) as server,
        socket.socket() as client,
    ):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect((server.http.base_url.host, server.http.base_url.port))
        body = json.dumps({"prompt": "あ", "max_tokens": 10**8, "stream": True, "logprobs": 20}).encode()
        head = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
        client.sendall(head + body)
        eventually(lambda: bool(outcomes))
        assert outcomes[0].ending == "abandoned"
        assert "did not read" in outcomes[0].error
        eventually(lambda: server.chat.scheduler.state().running == 0)
        assert server.http.post(TEXT, json={"prompt": "あ", "max_tokens": 3}).status_code == 200

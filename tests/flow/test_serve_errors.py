"""Every way in which a request can be wrong, over a real socket: status, code, field, and one sentence."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from edgellm.inference.local_chat import LocalChat
from edgellm.inference.scheduler import Scheduler
from edgellm.inference.scheduler_options import SchedulerOptions
from edgellm.language.chat_template import ChatTemplate
from edgellm.language.tokenizer import load_tokenizer
from live_server import eventually, live_server
from scripted_runtime import ScriptedRuntime, saying
from tiny_checkpoints import TINY_JA

ASK = [{"role": "user", "content": "はい？"}]
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"


class Tiny:
    """A live server over a scripted model that says the same word for ever."""

    def __init__(self, chat: LocalChat, engine: ScriptedRuntime, url: str) -> None:
        self.chat, self.engine = chat, engine
        self.http = httpx.Client(base_url=url, trust_env=False, timeout=30)


@pytest.fixture
def tiny(request: pytest.FixtureRequest) -> Iterator[Tiny]:
    settings: dict[str, Any] = {
        "sequences": 2,
        "held_back": False,
        "max_waiting": 2,
        "keys": (),
        "context": 128,
    }
    settings |= getattr(request, "param", {})
    tokenizer = load_tokenizer(TINY_JA)
    engine = ScriptedRuntime(
        sequences=settings["sequences"], vocab=tokenizer.vocab_tokens, context=settings["context"],
        step_tokens=64, held_back=settings["held_back"], rule=saying(tokenizer.encode("はい")),
    )  # fmt: skip
    chat = LocalChat(
        Scheduler(engine, SchedulerOptions(max_waiting=settings["max_waiting"])), tokenizer, ChatTemplate.load(TINY_JA)
    )
    with chat, live_server(chat, keys=settings["keys"]) as url:
        tiny = Tiny(chat, engine, url)
        with tiny.http:
            yield tiny
            engine.let_go()


SAY = {"messages": ASK}
ERRORS = [
    (CHAT, b"{", 400, "invalid_json", None),
    (CHAT, b"\xff", 400, "invalid_json", None),
    (CHAT, b"[]", 400, "invalid_json", None),
    (CHAT, b"[" * 100_000, 400, "invalid_json", None),
    (CHAT, b'{"messages": ' + b"[" * 900 + b"]" * 900 + b"}", 400, "invalid_value", "messages.0"),
    (CHAT, b'{"messages": [], "temperature": NaN}', 400, "invalid_json", None),
    (CHAT, b'{"messages": [], "temperature": 1e999}', 400, "invalid_json", None),
    (CHAT, b'{"max_tokens": ' + b"9" * 5000 + b"}", 400, "invalid_json", None),
    (CHAT, SAY | {"max_tokens": 10**30}, 400, "invalid_value", "max_tokens"),
    (CHAT, SAY | {"seed": 2**63}, 400, "invalid_value", "seed"),
    (CHAT, SAY | {"seed": -1}, 400, "invalid_value", "seed"),
    (CHAT, {}, 400, "invalid_value", "messages"),
    (CHAT, {"messages": []}, 400, "invalid_value", "messages"),
    (CHAT, SAY | {"model": "gpt-9"}, 404, "model_not_found", "model"),
    (CHAT, b'{"model": "\\ud800"}', 400, "invalid_unicode", "model"),
    (CHAT, b'{"\\udfff": 1}', 400, "invalid_unicode", "\\udfff"),
    (CHAT, SAY | {"temperature": 3}, 400, "invalid_value", "temperature"),
    (CHAT, SAY | {"temperature": "1"}, 400, "invalid_value", "temperature"),
    (CHAT, SAY | {"max_tokens": 0}, 400, "invalid_value", "max_tokens"),
    (CHAT, SAY | {"n": 0}, 400, "invalid_value", "n"),
    (CHAT, SAY | {"top_logprobs": 2}, 400, "invalid_value", "top_logprobs"),
    (CHAT, SAY | {"tool_choice": "required"}, 400, None, "tool_choice"),
    (CHAT, SAY | {"stop": [""]}, 400, None, "stop"),
    (CHAT, SAY | {"stop": ["a"] * 17}, 400, None, "stop"),
    (CHAT, SAY | {"tools": [{"type": "function"}]}, 400, "invalid_value", "tools.0.function"),
    (CHAT, SAY | {"tools": [{"type": "web_search"}]}, 400, "invalid_value", "tools.0.type"),
    (CHAT, SAY | {"functions": [{"name": "f"}]}, 400, "unsupported_parameter", "functions"),
    (CHAT, SAY | {"audio": {}}, 400, "unsupported_parameter", "audio"),
    (CHAT, SAY | {"logprobs": 1}, 400, "invalid_value", "logprobs"),
    (CHAT, SAY | {"logprobs": True, "top_logprobs": 21}, 400, "invalid_value", "top_logprobs"),
    (CHAT, SAY | {"logit_bias": {"1": 101}}, 400, "invalid_value", "logit_bias"),
    (CHAT, SAY | {"logit_bias": {"一": 5}}, 400, "invalid_value", "logit_bias.一"),
    (CHAT, SAY | {"logit_bias": {"999999": 5}}, 400, "invalid_value", "logit_bias"),
    (CHAT, SAY | {"presence_penalty": 2.5}, 400, "invalid_value", "presence_penalty"),
    (CHAT, SAY | {"response_format": {"type": "yaml"}}, 400, "invalid_value", "response_format"),
    (CHAT, SAY | {"response_format": {"type": "json_schema"}}, 400, "invalid_value",
     "response_format.json_schema.json_schema"),
    (CHAT, {"messages": [{"role": "tool", "content": "1"}]}, 400, "invalid_value", "messages.0"),
    (CHAT, {"messages": [{"role": "nobody", "content": "1"}]}, 400, "invalid_value", "messages.0.role"),
    (CHAT, {"messages": [{"role": "user", "content": None}]}, 400, "invalid_value", "messages.0"),
    (CHAT, {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "invalid_value",
     "messages.0.content.0.type"),
    (CHAT, b'{"messages": [{"role": "user", "content": "\\ud800"}]}', 400, "invalid_unicode", "messages"),
    (CHAT, b'{"messages": [{"role": "user", "content": "\xed\xa0\x80"}]}', 400, "invalid_json", None),
    (CHAT, {"messages": [{"role": "user", "content": "長い" * 200}]}, 400, "context_length_exceeded",
     "messages"),
    (TEXT, {"prompt": "長い" * 200}, 400, "context_length_exceeded", "prompt"),
    (TEXT, {"prompt": [1, 99999]}, 400, None, "prompt"),
    (TEXT, {"prompt": [10**30]}, 400, "invalid_value", "prompt.0"),
    (TEXT, {"prompt": []}, 400, None, "prompt"),
    (TEXT, {"prompt": ["a", 1]}, 400, "invalid_value", "prompt.1"),
    (TEXT, {"prompt": "a", "echo": True}, 400, "unsupported_parameter", "echo"),
    (TEXT, {"prompt": "a", "suffix": "b"}, 400, "unsupported_parameter", "suffix"),
    (TEXT, {"prompt": "a", "best_of": 2}, 400, "unsupported_parameter", "best_of"),
    (TEXT, {"prompt": ["a"] * 50}, 429, "queue_full", None),
    ("/v1/responses", {"input": "a", "previous_response_id": "resp_1"}, 400, "unsupported_parameter",
     "previous_response_id"),
    ("/v1/responses", {"input": []}, 400, "invalid_value", "input"),
    ("/v1/responses", {"input": "a", "include": ["x"]}, 400, "invalid_value", "include.0"),
    ("/v1/embeddings", {"input": "a"}, 400, "unsupported_model", "model"),
    ("/tokenize", {}, 400, "invalid_value", "the request"),
    ("/detokenize", {"tokens": [99999]}, 400, None, "tokens"),
    ("/v1/nothing", {}, 404, "not_found", None),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "status", "code", "param"), ERRORS)
def test_a_wrong_request_gets_openais_error_body(
    tiny: Tiny, path: str, body: object, status: int, code: str | None, param: str | None
) -> None:
    reply = tiny.http.post(path, content=body) if isinstance(body, bytes) else tiny.http.post(path, json=body)
    assert reply.status_code == status
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code
    assert error["param"] == param
    assert error["message"]
    assert "\n" not in error["message"]


def test_a_wrong_request_does_not_disturb_the_next_one(tiny: Tiny) -> None:
    assert tiny.http.post(CHAT, json={"messages": ASK, "n": 0}).status_code == 400
    assert tiny.http.post(CHAT, json={"messages": ASK, "max_tokens": 2}).status_code == 200


def test_fields_that_clients_send_and_that_change_nothing_are_accepted(tiny: Tiny) -> None:
    body = {
        "model": "tiny", "messages": [{"role": "user", "content": [{"type": "text", "text": "はい？"}]}],
        "max_completion_tokens": 2, "user": "u", "metadata": {"a": "b"}, "store": False, "n": 1,
        "tools": None, "tool_choice": "auto", "response_format": {"type": "text"}, "frequency_penalty": 0.0,
        "logprobs": False, "parallel_tool_calls": True, "stream_options": None, "seed": 1,
        "reasoning_effort": "low", "functions": [], "verbosity": "medium",
    }  # fmt: skip
    assert tiny.http.post(CHAT, json=body).status_code == 200


def test_unknown_fields_are_ignored_with_a_note_in_the_log_at_any_depth(
    tiny: Tiny, caplog: pytest.LogCaptureFixture
) -> None:
    message = {"role": "user", "content": "はい？", "mood_of_test": "good"}
    body = {"messages": [message], "max_tokens": 1, "tempratur_of_test": 0}
    for _ in range(3):
        assert tiny.http.post(CHAT, json=body).status_code == 200
    noted = [record.getMessage() for record in caplog.records if record.name == "edgellm.serve"]
    assert sorted(note.split()[3] for note in noted) == ["messages.mood_of_test", "tempratur_of_test"]  # once each


def test_a_request_id_comes_back_and_is_made_where_there_is_none(tiny: Tiny) -> None:
    body = {"messages": ASK, "max_tokens": 1}
    assert tiny.http.post(CHAT, json=body, headers={"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
    sent: list[dict[str, str]] = [{}, {"x-request-id": "x" * 999}]
    made = [tiny.http.post(CHAT, json=body, headers=headers).headers["x-request-id"] for headers in sent]
    assert made[0] != made[1]
    assert all(each.startswith("req-") for each in made)
    assert tiny.http.get("/v1/nothing", headers={"x-request-id": "mine-2"}).headers["x-request-id"] == "mine-2"


def test_the_wrong_method_is_said_in_the_same_shape(tiny: Tiny) -> None:
    reply = tiny.http.get(CHAT)
    assert reply.status_code == 405
    assert reply.json()["error"]["type"] == "invalid_request_error"


def test_a_body_without_end_is_refused(tiny: Tiny) -> None:
    reply = tiny.http.post(CHAT, content=b" " * (17 * 1024 * 1024))
    assert reply.status_code == 413


@pytest.mark.parametrize("tiny", [{"sequences": 1, "max_waiting": 0, "held_back": True}], indirect=True)
def test_a_full_queue_says_when_to_come_back(tiny: Tiny) -> None:
    tiny.engine.allow(2)
    with tiny.http.stream("POST", CHAT, json={"messages": ASK, "stream": True, "max_tokens": 20}) as first:
        assert first.status_code == 200
        refused = tiny.http.post(CHAT, json={"messages": ASK})
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"]["code"] == "queue_full"
        tiny.engine.let_go()


@pytest.mark.parametrize("tiny", [{"keys": ("right", "another")}], indirect=True)
def test_only_who_sends_a_key_may_ask(tiny: Tiny) -> None:
    body = {"messages": ASK, "max_tokens": 1}
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic right"},
        {"x-api-key": "rightx"},
    ):
        refused = tiny.http.post(CHAT, json=body, headers=headers)
        assert refused.status_code == 401
        assert refused.json()["error"]["code"] == "invalid_api_key"
    for headers in (
        {"Authorization": "Bearer right"},
        {"x-api-key": "another"},
        {"authorization": "bearer another"},
    ):
        assert tiny.http.post(CHAT, json=body, headers=headers).status_code == 200
    assert tiny.http.get("/v1/models").status_code == 401
    assert tiny.http.get("/health").status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_an_engine_failure_is_a_500_and_the_next_request_is_served(tiny: Tiny, stream: bool) -> None:
    tiny.engine.failures = 1
    failed = tiny.http.post(CHAT, json={"messages": ASK, "stream": stream})
    assert failed.status_code == 500
    assert failed.json()["error"]["code"] == "engine_failed"
    assert tiny.http.post(CHAT, json={"messages": ASK, "max_tokens": 1}).status_code == 200


@pytest.mark.parametrize("tiny", [{"held_back": True}], indirect=True)
def test_an_engine_failure_in_a_stream_is_an_error_event_without_done(tiny: Tiny) -> None:
    tiny.engine.allow(3)
    with tiny.http.stream("POST", TEXT, json={"prompt": "あ", "stream": True, "max_tokens": 50}) as reply:
        lines = reply.iter_lines()
        assert "text_completion" in next(lines)
        tiny.engine.failures = 1
        tiny.engine.let_go()
        rest = "".join(lines)
    assert '"code":"engine_failed"' in rest
    assert "[DONE]" not in rest


def test_a_dead_engine_is_a_503_and_health_says_so(tiny: Tiny) -> None:
    tiny.engine.failures = 1000
    for _ in range(3):
        assert tiny.http.post(CHAT, json={"messages": ASK}).status_code == 500
    eventually(lambda: tiny.chat.scheduler.failure is not None)
    dead = tiny.http.post(CHAT, json={"messages": ASK})
    assert dead.status_code == 503
    assert dead.json()["error"]["code"] == "engine_dead"
    health = tiny.http.get("/health")
    assert health.status_code == 503
    assert health.json()["status"] == "failed"


@pytest.mark.parametrize("tiny", [{"sequences": 1, "context": 10**9}], indirect=True)
@pytest.mark.parametrize("stream", [False, True])
def test_the_place_is_free_when_the_client_goes_away(tiny: Tiny, stream: bool) -> None:
    body = json.dumps({"prompt": "あ", "max_tokens": 10**9, "stream": stream}).encode()
    state = tiny.chat.scheduler.state
    with socket.create_connection((tiny.http.base_url.host, tiny.http.base_url.port)) as client:
        client.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (TEXT.encode(), len(body)) + body)
        eventually(lambda: state().completion_tokens > 10)
        assert state().running == 1
    eventually(lambda: state().running == 0)

"""The server with a real model on a real socket, asked as clients ask it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import pytest

from edgellm.engines import open_runtime
from edgellm.engines.gguf.convert import convert
from edgellm.engines.gguf.quantize import quantize
from edgellm.engines.protocol import RuntimeOptions
from edgellm.inference.local_chat import LocalChat
from edgellm.inference.scheduler import Scheduler
from edgellm.language.chat_template import ChatTemplate
from edgellm.language.tokenizer import Tokenizer, load_tokenizer
from live_server import eventually, live_server
from tiny_checkpoints import TINY_JA, random_llama

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
QUESTIONS = [
    "朝ごはん",
    "図書館で本を借りる",
    "明日の天気",
    "駅",
    "海の色はなぜ青いのですか",
    "数",
    "今日",
    "お茶を一杯",
]


@dataclass
class Live:
    chat: LocalChat
    url: str
    http: httpx.Client

    def ask(self, question: str, **more: object) -> httpx.Response:
        body = {
            "messages": [{"role": "user", "content": question}],
            "temperature": 0,
            "max_tokens": 24,
        } | more
        return self.http.post(CHAT, json=body)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights: the model talks nonsense in every kind of token, and never tires."""
    folder = tmp_path_factory.mktemp("serve")
    convert(random_llama(folder / "checkpoint"), folder / "random.gguf", "F16")
    return folder / "random.gguf"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer(TINY_JA)


@contextmanager
def served(artifact: Path, tokenizer: Tokenizer, *, batch_invariant: bool) -> Iterator[Live]:
    options = RuntimeOptions(context_tokens=1024, sequences=8, threads=1, batch_invariant=batch_invariant)
    runtime = open_runtime("gguf", artifact, options)
    with (
        LocalChat(Scheduler(runtime), tokenizer, ChatTemplate.load(TINY_JA)) as chat,
        live_server(chat) as url,
        httpx.Client(base_url=url, trust_env=False, timeout=60) as http,
    ):
        yield Live(chat, url, http)
    runtime.close()


@pytest.fixture(scope="module")
def live(model: Path, tokenizer: Tokenizer) -> Iterator[Live]:
    with served(model, tokenizer, batch_invariant=False) as live:
        yield live


def events(reply: httpx.Response) -> list[str]:
    """The data of the events of a stream."""
    assert reply.headers["content-type"].startswith("text/event-stream")
    return [event.removeprefix("data: ") for event in reply.text.removesuffix("\n\n").split("\n\n")]


def test_a_stream_opens_with_the_role_and_closes_with_reason_usage_and_done(live: Live) -> None:
    reply = live.ask("こんにちは", stream=True, stream_options={"include_usage": True})
    *chunks, done = events(reply)
    assert done == "[DONE]"
    first, *middle, last, usage = map(json.loads, chunks)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert last["choices"][0]["finish_reason"] == "length"
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in middle)
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 24
    assert {chunk["id"] for chunk in (first, *middle, last, usage)} == {first["id"]}
    assert {chunk["object"] for chunk in (first, *middle, last, usage)} == {"chat.completion.chunk"}


def test_without_being_asked_a_stream_has_no_usage_chunk(live: Live) -> None:
    *chunks, done = events(live.ask("こんにちは", stream=True))
    assert done == "[DONE]"
    assert all("usage" not in json.loads(chunk) for chunk in chunks)


def test_streamed_and_whole_answers_are_the_same(live: Live) -> None:
    whole = live.ask("こんにちは").json()["choices"][0]["message"]
    deltas = [json.loads(e)["choices"][0]["delta"] for e in events(live.ask("こんにちは", stream=True))[:-1]]
    assert "".join(d.get("content", "") for d in deltas) == whole["content"]
    assert "".join(d.get("reasoning_content", "") for d in deltas) == whole.get("reasoning_content", "")


def test_usage_counts_are_those_of_the_exact_tokenizer(live: Live) -> None:
    usage = live.ask("海の色", max_tokens=7).json()["usage"]
    messages = [{"role": "user", "content": "海の色"}]
    template = ChatTemplate.load(TINY_JA)
    assert template is not None
    prompt = len(template.encode(messages, live.chat.tokenizer, add_generation_prompt=True))
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (prompt, 7, prompt + 7)


def test_eight_requests_at_once_share_steps_and_all_finish(live: Live) -> None:
    before = live.http.get("/health").json()
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda text: live.ask(text, max_tokens=80, ignore_eos=True), QUESTIONS))
    after = live.http.get("/health").json()
    assert [reply.json()["usage"]["completion_tokens"] for reply in replies] == [80] * 8
    assert after["widest_step"] >= 4
    assert after["completion_tokens"] - before["completion_tokens"] == 8 * 80
    assert after["steps"] - before["steps"] < 8 * 80  # fewer steps than tokens: they were shared
    assert (after["running"], after["waiting"]) == (0, 0)


@pytest.fixture(scope="module", params=["F16", "Q8_0"])
def invariant(
    model: Path, tokenizer: Tokenizer, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Live]:
    """Opened as `edgellm serve` opens a model."""
    artifact = model
    if request.param != "F16":
        artifact = tmp_path_factory.mktemp("invariant") / "model.gguf"
        quantize(model, artifact, request.param)
    with served(artifact, tokenizer, batch_invariant=True) as live:
        yield live


def test_greedy_answers_are_the_same_alone_and_among_seven_others(invariant: Live) -> None:
    def answer(text: str) -> str:
        return str(invariant.ask(text, max_tokens=64, ignore_eos=True).json()["choices"])

    texts = [text * (1 + 9 * n) for n, text in enumerate(QUESTIONS)]  # prompts of a few and of hundreds of tokens
    alone = [answer(text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(answer, texts))
    state = invariant.http.get("/health").json()
    assert state["batch_invariant"]
    assert state["widest_step"] >= 4
    assert together == alone


def test_more_requests_than_places_all_finish(live: Live) -> None:
    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda n: live.ask(QUESTIONS[n % 8], max_tokens=4), range(24)))
    assert [reply.status_code for reply in replies] == [200] * 24


def test_a_stream_joins_to_the_whole_answer_whatever_bytes_the_model_strings_together(live: Live) -> None:
    body = {"prompt": "海", "max_tokens": 300, "temperature": 2, "top_p": 1, "seed": 4, "ignore_eos": True}
    texts = [
        json.loads(e)["choices"][0]["text"] for e in events(live.http.post(TEXT, json=body | {"stream": True}))[:-1]
    ]
    whole = live.http.post(TEXT, json=body).json()["choices"][0]["text"]
    assert "\ufffd" in whole  # stray bytes have come, or this test shows nothing
    assert "".join(texts) == whole


def test_a_completion_goes_on_from_each_prompt_whatever_way_it_is_written(live: Live) -> None:
    tokenizer = live.chat.tokenizer
    ids = [live.chat.text_prompt(text) for text in ("むかしむかし", "ある日")]
    settings = {"temperature": 0, "max_tokens": 8}
    forms = ["むかしむかし", ["むかしむかし", "ある日"], ids[0], ids]
    answers = [live.http.post(TEXT, json={"prompt": form} | settings).json() for form in forms]
    texts = [[choice["text"] for choice in answer["choices"]] for answer in answers]
    assert texts[0] == texts[2] == texts[1][:1]
    assert texts[1] == texts[3]
    assert answers[1]["usage"]["completion_tokens"] == 16
    assert answers[1]["usage"]["prompt_tokens"] == sum(map(len, ids))
    assert ids[0][0] == tokenizer.bos_id


def test_a_seed_makes_a_sampled_answer_repeatable(live: Live) -> None:
    def answer(seed: int) -> str:
        return str(live.ask("はい", temperature=1, seed=seed).json()["choices"][0]["message"])

    assert answer(1) == answer(1)
    assert answer(1) != answer(2)


def test_openais_own_client_reads_models_answers_streams_and_errors(live: Live) -> None:
    client = openai.OpenAI(base_url=f"{live.url}/v1", api_key="none", http_client=httpx.Client(trust_env=False))
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").id == "tiny"
    messages = [{"role": "user", "content": "はい"}]
    whole = client.chat.completions.create(model="tiny", messages=messages, temperature=0, max_tokens=12)
    assert whole.choices[0].finish_reason == "length"
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 12
    stream = client.chat.completions.create(
        model="tiny", messages=messages, temperature=0, max_tokens=12, stream=True,
        stream_options={"include_usage": True},
    )  # fmt: skip
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage
    completion = client.completions.create(model="tiny", prompt="むかし", max_tokens=3)
    assert completion.choices[0].finish_reason == "length"
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="other", messages=messages)
    with pytest.raises(openai.BadRequestError, match="tools"):  # which this model's template does not know
        client.chat.completions.create(
            model="tiny", messages=messages, tools=[{"type": "function", "function": {"name": "f"}}]
        )


def test_eight_of_openais_clients_at_once_all_read_their_streams_to_the_end(live: Live) -> None:
    def read(question: str) -> tuple[int, str, int]:
        client = openai.OpenAI(base_url=f"{live.url}/v1", api_key="none", http_client=httpx.Client(trust_env=False))
        stream = client.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": question}], temperature=0, max_tokens=40, stream=True,
            stream_options={"include_usage": True}, extra_body={"ignore_eos": True},
        )  # fmt: skip
        *chunks, last = stream
        assert last.usage is not None
        return len(chunks), str(chunks[-1].choices[0].finish_reason), last.usage.completion_tokens

    with ThreadPoolExecutor(8) as pool:
        read_by_all = list(pool.map(read, QUESTIONS))
    assert [(reason, tokens) for _, reason, tokens in read_by_all] == [("length", 40)] * 8
    assert all(chunks > 2 for chunks, _, _ in read_by_all)


def test_a_client_that_hangs_up_frees_its_place_for_the_next(live: Live) -> None:
    body = {"prompt": "海", "max_tokens": 900, "ignore_eos": True, "stream": True}
    with ExitStack() as clients:
        readers = [clients.enter_context(live.http.stream("POST", TEXT, json=body)).iter_lines() for _ in range(8)]
        assert all(next(reader) for reader in readers)
        assert live.http.get("/health").json()["running"] == 8
    eventually(lambda: live.http.get("/health").json()["running"] == 0)
    assert live.ask("はい", max_tokens=3).json()["usage"]["completion_tokens"] == 3


@dataclass
class Command:
    """`edgellm serve` as a process of its own."""

    process: subprocess.Popen[str]
    ready: str
    url: str


@pytest.fixture
def command(model: Path, tmp_path: Path) -> Iterator[Command]:
    keys = tmp_path / "keys"
    keys.write_text("secret\n")
    line = ["serve", str(model), "--port", "0", "--parallel", "2", "--context", "512", "--threads", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "edgellm.cli.main", *line, "--api-key-file", str(keys)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        # A model that takes long to load is said to, in lines before.
        ready = next(line for line in process.stderr if line.startswith("serving"))
        yield Command(process, ready, ready.rpartition(" ")[2].strip())
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_says_when_it_listens_answers_and_ends_on_a_signal(command: Command, number: int) -> None:
    assert re.fullmatch(r"serving random on http://127\.0\.0\.1:\d+\n", command.ready)
    with httpx.Client(base_url=command.url, trust_env=False, timeout=60, headers={"x-api-key": "secret"}) as http:
        assert http.get("/health").json()["sequences"] == 2
        assert http.get("/health").json()["batch_invariant"]  # asked for by the verb, and to be had for F16
        assert http.get("/v1/models").json()["data"][0]["context_tokens"] == 512
        reply = http.post(CHAT, json={"messages": [{"role": "user", "content": "はい"}], "max_tokens": 5})
        assert reply.json()["usage"]["completion_tokens"] == 5
        body = {"prompt": "海", "max_tokens": 100_000, "ignore_eos": True, "stream": True}
        with http.stream("POST", TEXT, json=body) as stream:  # an answer under way does not hold it up
            next(stream.iter_lines())
            command.process.send_signal(number)
            out, err = command.process.communicate(timeout=30)
    assert command.process.returncode == 0
    assert out == ""
    assert err == "stopped serving random\n"


def test_a_port_that_is_taken_is_said_in_one_sentence(live: Live, model: Path) -> None:
    port = live.url.rpartition(":")[2]
    line = [sys.executable, "-m", "edgellm.cli.main", "serve", str(model), "--port", port]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert re.fullmatch(r"edgellm: 127\.0\.0\.1:\d+ cannot be had \(.+\); choose .+\n", done.stderr)

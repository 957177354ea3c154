"""`/v1/embeddings`, `/tokenize` and `/detokenize` of a real model over a real socket."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import numpy as np
import openai
import pytest

from edgellm.engines import open_runtime
from edgellm.engines.gguf.convert import convert
from edgellm.engines.protocol import RuntimeOptions
from edgellm.inference.local_chat import LocalChat
from edgellm.inference.scheduler import Scheduler
from edgellm.language.chat_template import ChatTemplate
from edgellm.language.tokenizer import load_tokenizer
from live_server import live_server
from tiny_checkpoints import TINY_JA, random_llama

MODULES = ("Transformer", "Pooling", "Normalize")


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalChat]:
    folder = tmp_path_factory.mktemp("embeddings")
    checkpoint = random_llama(folder / "checkpoint")
    # What makes sentence-transformers take it for a model of embeddings.
    (checkpoint / "1_Pooling").mkdir()
    (checkpoint / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    modules = [{"idx": n, "type": f"sentence_transformers.models.{m}"} for n, m in enumerate(MODULES)]
    (checkpoint / "modules.json").write_text(json.dumps(modules))
    convert(checkpoint, folder / "random.gguf", "F16")
    runtime = open_runtime("gguf", folder / "random.gguf", RuntimeOptions(context_tokens=256, threads=1))
    with LocalChat(Scheduler(runtime), load_tokenizer(TINY_JA), ChatTemplate.load(TINY_JA)) as chat:
        yield chat
    runtime.close()


@pytest.fixture(scope="module")
def http(chat: LocalChat) -> Iterator[httpx.Client]:
    with live_server(chat) as url, httpx.Client(base_url=url, trust_env=False, timeout=30) as http:
        yield http


@pytest.fixture(scope="module")
def client(http: httpx.Client) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{http.base_url}/v1", api_key="none", http_client=httpx.Client(trust_env=False))


def test_vectors_are_the_same_in_both_encodings_and_have_length_one(client: openai.OpenAI, chat: LocalChat) -> None:
    texts = ["海は青い", "図書館", "海は青い"]
    # The client asks for base64 unless it is told otherwise, and turns it into numbers itself.
    packed = client.embeddings.create(model="tiny", input=texts)
    plain = client.embeddings.create(model="tiny", input=texts, encoding_format="float")
    vectors = np.array([each.embedding for each in plain.data])
    assert np.array([each.embedding for each in packed.data]) == pytest.approx(vectors)
    assert vectors.shape == (3, chat.scheduler.info.embedding_width)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    assert vectors[0] == pytest.approx(vectors[2], abs=1e-6)
    assert vectors[0] != pytest.approx(vectors[1])
    assert plain.usage.prompt_tokens == sum(len(chat.text_prompt(text)) for text in texts)


def test_ids_mean_what_their_text_means(http: httpx.Client, chat: LocalChat) -> None:
    ids = chat.text_prompt("海は青い")
    vectors = [http.post("/v1/embeddings", json={"input": each}).json()["data"] for each in ("海は青い", ids, [ids])]
    assert vectors[0] == vectors[1] == vectors[2]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": "海", "dimensions": 7}, "dimensions"),
        ({"input": []}, "input"),
        ({"input": [[]]}, "input"),
        ({"input": [999999]}, "input"),
        ({"input": "長い" * 500}, "input"),
        ({"input": ["a"] * 2049}, "input"),
        ({"input": "海", "encoding_format": "int8"}, "encoding_format"),
    ],
)
def test_what_cannot_be_embedded_is_refused_with_its_field(
    http: httpx.Client, body: dict[str, object], param: str
) -> None:
    reply = http.post("/v1/embeddings", json=body)
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == param


def test_the_width_that_the_model_has_may_be_asked_for(http: httpx.Client, chat: LocalChat) -> None:
    body = {"input": "海", "dimensions": chat.scheduler.info.embedding_width}
    assert http.post("/v1/embeddings", json=body).status_code == 200


def test_tokens_of_a_text_are_the_exact_ones_and_come_back_as_the_text(http: httpx.Client, chat: LocalChat) -> None:
    text = "富士山は😀高い\n"
    told = http.post("/tokenize", json={"content": text}).json()
    assert told["tokens"] == chat.tokenizer.encode(text)
    assert (told["count"], told["max_model_len"]) == (len(told["tokens"]), 256)
    assert http.post("/tokenize", json={"prompt": text}).json() == told
    assert http.post("/tokenize", json={"content": ""}).json()["tokens"] == []
    begun = http.post("/tokenize", json={"content": text, "add_special": True}).json()["tokens"]
    assert begun == [chat.tokenizer.bos_id, *told["tokens"]]
    back = http.post("/detokenize", json={"tokens": told["tokens"]}).json()
    assert back == {"content": text, "prompt": text}


def test_pieces_spell_the_text_with_bytes_where_a_piece_is_no_text(http: httpx.Client) -> None:
    told = http.post("/tokenize", json={"content": "山😀", "with_pieces": True}).json()["tokens"]
    data = b"".join(bytes(p) if isinstance(p := each["piece"], list) else p.encode() for each in told)
    assert data.decode().lstrip() == "山😀"
    assert any(isinstance(each["piece"], list) for each in told)


def test_text_never_becomes_a_special_token_also_where_it_is_asked_for(http: httpx.Client, chat: LocalChat) -> None:
    for name, special in chat.tokenizer.special_ids.items():
        if special == chat.tokenizer.unk_id:
            continue
        body = {"content": f"a{name}b", "parse_special": True}
        assert special not in http.post("/tokenize", json=body).json()["tokens"]

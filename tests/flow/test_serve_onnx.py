"""An ONNX folder behind the same server as a GGUF."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from edgellm.engines import open_runtime
from edgellm.engines.protocol import RuntimeOptions
from edgellm.errors import UsageError
from edgellm.language.tokenizer import load_tokenizer
from live_server import announced_url
from quick_build import one_core
from tiny_checkpoints import TINY_JA, TOKENIZER_FILES
from tiny_onnx import hand_graph

pytestmark = pytest.mark.onnx
VOCAB = 8192


def parrot(parts: dict[str, list[Any]]) -> None:
    """Instead of looking tokens up in a table that knows five: every token is followed by itself."""
    from onnx import helper as h

    constants = {"depth": VOCAB, "two": 2, "off_and_on": [0.0, 1.0]}
    nodes = [
        h.make_node("Constant", [], [name], **{
            "value_floats" if isinstance(value, list) else "value_int": value
        }) for name, value in constants.items()
    ]  # fmt: skip
    nodes.append(h.make_node("OneHot", ["input_ids", "depth", "off_and_on"], ["logits"]))
    nodes.append(h.make_node("OneHot", ["input_ids", "two", "off_and_on"], ["rows"]))
    parts["nodes"][:2] = nodes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = hand_graph(tmp_path_factory.mktemp("onnx") / ".", parrot)
    (folder / "config.json").write_text(
        json.dumps({"model_type": "hand", "vocab_size": VOCAB, "max_position_embeddings": 256})
    )
    for name in TOKENIZER_FILES:
        shutil.copy(TINY_JA / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def http(folder: Path) -> Iterator[httpx.Client]:
    command = [sys.executable, "-m", "edgellm", "serve", str(folder), "--port", "0"]
    with one_core():
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    with process:
        try:
            with httpx.Client(base_url=announced_url(process), trust_env=False, timeout=60) as client:
                yield client
        finally:
            process.kill()


def test_a_text_goes_on_as_the_graph_says(http: httpx.Client) -> None:
    tokenizer = load_tokenizer(TINY_JA)
    *_, last = tokenizer.encode("むかしむかし")
    reply = http.post("/v1/completions", json={"prompt": "むかしむかし", "max_tokens": 3, "temperature": 0}).json()
    assert reply["choices"][0]["text"] == tokenizer.decode([last] * 3)


def test_a_conversation_streams_what_it_gives_whole(http: httpx.Client) -> None:
    body = {"messages": [{"role": "user", "content": "はい"}], "max_tokens": 5, "temperature": 0}
    whole = http.post("/v1/chat/completions", json=body).json()
    events = http.post("/v1/chat/completions", json=body | {"stream": True}).text.split("\n\n")
    assert events[-2] == "data: [DONE]"
    choices = [json.loads(event.removeprefix("data: "))["choices"][0] for event in events[:-2]]
    content = "".join(choice["delta"].get("content") or "" for choice in choices)
    assert content == whole["choices"][0]["message"]["content"]
    assert choices[-1]["finish_reason"] == whole["choices"][0]["finish_reason"] == "length"
    assert whole["usage"]["completion_tokens"] == 5


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (RuntimeOptions(gpu_layers=1), "--gpu-layers"),
        (RuntimeOptions(cpu_moe=True), "--cpu-moe"),
        (RuntimeOptions(type_k="q8_0"), "--cache-type-k"),
        (RuntimeOptions(type_v="q8_0"), "--cache-type-v"),
        (RuntimeOptions(flash_attention=True), "--flash-attention"),
    ],
)
def test_settings_of_llama_cpp_are_refused_by_name(folder: Path, options: RuntimeOptions, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        open_runtime("onnx", folder, options)

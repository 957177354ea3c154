"""LoRA adapters as users meet them: `serve --lora` over HTTP, `run --lora`, and what is said where one does not fit."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from edgellm.engines.gguf.adapter import convert_adapter
from edgellm.engines.gguf.convert import convert
from edgellm.store.checkpoint import read_json
from live_server import announced_url
from peft_adapters import random_adapter
from tiny_checkpoints import random_llama

EDGELLM = [sys.executable, "-m", "edgellm.cli.main"]
QUESTION = "海の色はなぜ青いのですか"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base checkpoint, a PEFT folder `legal`, and `sales.gguf`, made of another."""
    root = tmp_path_factory.mktemp("lora")
    base = random_llama(root / "base", hidden=128, ffn=256)
    random_adapter(root / "legal", base, seed=1)
    convert_adapter(random_adapter(root / "sales", base, seed=2), read_json(base / "config.json"), root / "sales.gguf")
    return root


@pytest.fixture(scope="module")
def environment(folder: Path) -> dict[str, str]:
    return os.environ | {"EDGELLM_WORK": str(folder / "work")}


@pytest.fixture(scope="module")
def http(folder: Path, environment: dict[str, str]) -> Iterator[httpx.Client]:
    line = [*EDGELLM, "serve", str(folder / "base"), "--port", "0", "--context", "512", "--threads", "1"]
    line += ["--lora", f"legal={folder / 'legal'}", "--lora", f"sales={folder / 'sales.gguf'}"]
    process = subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )  # fmt: skip
    try:
        with httpx.Client(base_url=announced_url(process), trust_env=False, timeout=60) as client:
            yield client
    finally:
        process.kill()
        process.communicate()


def ask(http: httpx.Client, model: str, tokens: int = 24) -> dict[str, Any]:
    body = {"model": model, "messages": [{"role": "user", "content": QUESTION}], "temperature": 0}
    document: dict[str, Any] = http.post("/v1/chat/completions", json=body | {"max_tokens": tokens}).json()
    return document


def text_of(document: dict[str, Any]) -> str:
    message = document["choices"][0]["message"]
    return str(message["content"]) + str(message.get("reasoning_content"))


def test_every_adapter_is_a_model_of_its_own(http: httpx.Client) -> None:
    names = [model["id"] for model in http.get("/v1/models").json()["data"]]
    assert names == ["base", "base:legal", "base:sales"]
    assert http.get("/v1/models/base:legal").json()["id"] == "base:legal"
    assert ask(http, "base:sales", 1)["model"] == "base:sales"


def test_requests_with_different_adapters_at_once_get_each_the_answer_that_it_gets_alone(http: httpx.Client) -> None:
    models = ["base:legal", "base:sales", "base", "base:legal"]
    alone = {model: text_of(ask(http, model)) for model in models}
    assert len(set(alone.values())) == 3
    with ThreadPoolExecutor(len(models)) as pool:
        together = list(pool.map(lambda model: text_of(ask(http, model)), models))
    assert together == [alone[model] for model in models]
    assert http.get("/health").json()["widest_step"] > 1


def test_an_adapter_that_is_not_served_is_not_found(http: httpx.Client) -> None:
    body = {"messages": [{"role": "user", "content": QUESTION}], "max_tokens": 1}
    assert http.post("/v1/chat/completions", json={**body, "model": "base:legal"}).status_code == 200
    assert http.post("/v1/chat/completions", json={**body, "model": "base:other"}).status_code == 404
    assert http.get("/v1/models/base:other").status_code == 404


def test_run_answers_with_an_adapter(http: httpx.Client, folder: Path, environment: dict[str, str]) -> None:
    line = [*EDGELLM, "run", str(folder / "base"), QUESTION, "--json", "--temperature", "0", "--max-tokens", "6"]
    line += ["--threads", "1", "--lora", str(folder / "legal")]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    served = ask(http, "base:legal", 6)["choices"][0]["message"]
    assert answer["text"] == (served["content"] or "")


def refusal(target: Path, lora: str, environment: dict[str, str]) -> str:
    line = [*EDGELLM, "serve", str(target), "--port", "0", "--lora", lora]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode != 0
    last = done.stderr.splitlines()[-1]
    assert last.startswith("edgellm: ")
    return last


def test_what_is_no_adapter_is_told_in_one_sentence(folder: Path, environment: dict[str, str]) -> None:
    assert "no adapter at" in refusal(folder / "base", f"x={folder / 'nowhere'}", environment)
    assert "holds no adapter_config.json" in refusal(folder / "base", f"x={folder / 'base'}", environment)


def test_a_gguf_serves_a_peft_folder_that_holds_its_bases_configuration(
    folder: Path, environment: dict[str, str]
) -> None:  # fmt: skip
    convert(folder / "base", folder / "base.gguf", "F16")
    adapter = random_adapter(folder / "alone", folder / "base", base_model_name_or_path="maker/base")
    assert "is needed to convert it" in refusal(folder / "base.gguf", f"x={adapter}", environment)
    shutil.copyfile(folder / "base" / "config.json", adapter / "config.json")
    line = [*EDGELLM, "run", str(folder / "base.gguf"), QUESTION, "--max-tokens", "2", "--lora", str(adapter)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == 0, done.stderr

"""`edgellm run` as a process: one answer, JSON, and a small chat."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgellm.engines.gguf.convert import convert
from tiny_checkpoints import random_llama


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    convert(random_llama(folder / "checkpoint"), folder / "random.gguf", "F16")
    return folder / "random.gguf"


def edgellm_run(model: Path, *options: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "edgellm.cli.main", "run", str(model), "--threads", "1", *options]
    return subprocess.run(line, input=typed, capture_output=True, text=True, timeout=60, check=False)


def test_json_holds_text_reasoning_and_usage_and_nothing_else_is_printed(model: Path) -> None:
    done = edgellm_run(model, "海の色は？", "--json", "--max-tokens", "9", "--seed", "1")
    assert done.returncode == 0
    answer = json.loads(done.stdout)
    assert set(answer) >= {"text", "reasoning", "usage"}
    assert answer["usage"]["completion_tokens"] == 9
    assert answer["usage"]["prompt_tokens"] > 5
    assert done.stderr == ""


def test_the_streamed_answer_is_the_one_in_json(model: Path) -> None:
    options = ("海の色は？", "--max-tokens", "40", "--temperature", "0", "--system", "短く。")
    streamed, document = (
        edgellm_run(model, *options),
        json.loads(edgellm_run(model, *options, "--json").stdout),
    )
    assert streamed.stdout == document["text"] + "\n"
    loaded, _, reasoning = streamed.stderr.partition("\n")
    assert loaded.startswith("loaded random: 1 × 1024 tokens of context, f16 KV cache")
    assert reasoning.strip() == document["reasoning"].strip()
    assert document["text"] or document["reasoning"]


@pytest.mark.parametrize("end", ["/quit\nありがとう\n", ""], ids=["quit", "end of input"])
def test_a_chat_answers_each_turn_once_until_it_is_ended(tiny_ja: Path, end: str) -> None:
    """An empty line is no turn, and nothing is read after /quit."""
    done = edgellm_run(tiny_ja, "--temperature", "0", typed=f"こんにちは\n\n日本の首都はどこですか。\n{end}")
    assert done.returncode == 0, done.stderr
    answers = done.stdout.splitlines()
    assert len(answers) == 2
    assert answers[0].startswith("こんにちは")


def test_json_without_a_prompt_is_a_usage_error(model: Path) -> None:
    done = edgellm_run(model, "--json")
    assert done.returncode == 2
    assert done.stderr.startswith("edgellm: ")


def test_a_model_is_loaded_as_the_options_say_and_that_is_told(model: Path) -> None:
    options = ("-ctk", "q8_0", "--context", "512", "-fa", "on", "--cpu-moe", "-ngl", "0")
    done = edgellm_run(model, "はい", "--max-tokens", "2", *options)
    assert done.returncode == 0
    assert done.stderr.startswith("loaded random: 1 × 512 tokens of context, q8_0/f16 KV cache of 0.00 GB, 1 thread\n")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--gpu-layers", "few"), "neither a number of layers nor `all`"),
        (("--cache-type-v", "q8_0", "--flash-attention", "off"), "needs flash attention"),
        (("--cache-type-k", "q3_k"), "q3_k"),
    ],
)
def test_a_way_of_loading_that_cannot_be_is_refused_in_one_sentence(
    model: Path, options: tuple[str, ...], named: str
) -> None:
    done = edgellm_run(model, "はい", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert named in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_bench_takes_the_same_options(model: Path) -> None:
    line = [sys.executable, "-m", "edgellm.cli.main", "bench", str(model), "--threads", "1", "--json"]
    options = ["--prompt-tokens", "8", "--decode-tokens", "2", "--repeat", "1", "-ctk", "q8_0", "--no-ceilings"]
    done = subprocess.run([*line, *options], capture_output=True, text=True, timeout=60, check=True)
    setup = json.loads(done.stdout)["conditions"]["setup"]
    assert setup.startswith("1 × 8 tokens of context, q8_0/f16 KV cache")

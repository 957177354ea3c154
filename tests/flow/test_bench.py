"""`edgellm bench` as a user calls it: what it measures, what it prints, what it keeps, what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from edgellm.cli.main import cli
from edgellm.store import digest, results
from quick_build import one_core
from tiny_gguf import dense_gguf, experts_gguf
from tiny_onnx import hand_graph

SHORT = ("--prompt-tokens", "16", "--decode-tokens", "4", "--repeat", "2", "--threads", "1", "--no-ceilings")


def bench(*words: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "edgellm", "bench", *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)


def measured(*words: object) -> dict[str, Any]:
    """What `--json` prints, without the time that a process takes to start."""
    with redirect_stdout(StringIO()) as out, one_core():
        cli(["bench", *map(str, words), "--json"], standalone_mode=False)
    document: dict[str, Any] = json.loads(out.getvalue())
    return document


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dense_gguf(tmp_path_factory.mktemp("bench") / "dense.gguf", layers=2)


@pytest.fixture(scope="module")
def with_ceilings(model: Path) -> dict[str, Any]:
    return measured(model, *SHORT[:-1], "--depth", "0,8", "--parallel", "1,3")


def test_lists_make_a_row_for_each_combination(with_ceilings: dict[str, Any]) -> None:
    assert [row["test"] for row in with_ceilings["results"]] == [
        "pp16", "tg4", "pp16x3", "tg4x3", "pp16@d8", "tg4@d8", "pp16@d8x3", "tg4@d8x3",
    ]  # fmt: skip
    deepest = with_ceilings["results"][-1]
    assert [deepest[key] for key in ("kind", "tokens", "depth", "parallel")] == ["tg", 4, 8, 3]


def test_seconds_of_the_runs_give_the_rates(with_ceilings: dict[str, Any]) -> None:
    for row in with_ceilings["results"]:
        rates = sorted(row["parallel"] * row["tokens"] / s for s in row["seconds"])
        assert len(rates) == 2
        assert [row["tokens_per_s"][end] for end in ("low", "high")] == pytest.approx(rates)
        assert row["first_run_tokens_per_s"] > 0


def test_shares_are_of_the_ceilings_that_were_measured_in_the_same_call(with_ceilings: dict[str, Any]) -> None:
    ceilings = with_ceilings["ceilings"]
    for row in with_ceilings["results"]:
        rate = row["tokens_per_s"]["median"]
        if row["kind"] == "tg":
            share = row["bytes_per_token"] * rate / ceilings["memory_bandwidth_bytes_per_s"]
            assert row["bandwidth_fraction"] == pytest.approx(share)
        else:
            assert row["flops_fraction"] == pytest.approx(row["flops_per_s"] / ceilings["flops_per_s"])


def test_a_decoded_token_of_several_sequences_reads_less(with_ceilings: dict[str, Any], model: Path) -> None:
    rows = {row["test"]: row["bytes_per_token"] for row in with_ceilings["results"]}
    assert rows["tg4x3"] < rows["tg4"] / 2
    assert rows["tg4"] < rows["tg4@d8"] < model.stat().st_size


def test_the_result_says_what_was_measured_how_and_on_what(with_ceilings: dict[str, Any], model: Path) -> None:
    assert with_ceilings["model"]["sha256"] == digest.of_file(model)
    assert with_ceilings["model"]["layers"] == 2
    assert with_ceilings["settings"]["parallel"] == [1, 3]
    assert with_ceilings["settings"]["type_k"] == "f16"
    assert with_ceilings["settings"]["device"] == "cpu"
    assert with_ceilings["machine"]["cores"] >= 1
    assert "llama.cpp" in with_ceilings["conditions"]["engine_build"]
    assert with_ceilings["conditions"]["seconds"] > 0
    assert with_ceilings["peak_memory_bytes"] > model.stat().st_size / 2
    assert with_ceilings["valid"] == (not with_ceilings["reasons"])
    assert with_ceilings["created"].endswith("+00:00")


def test_without_ceilings_there_are_bytes_but_no_shares(model: Path) -> None:
    found = measured(model, *SHORT)
    assert found["ceilings"] is None
    assert found["conditions"]["ceilings_missing"]
    decode = found["results"][1]
    assert decode["bytes_per_token"] > 0
    assert decode["bandwidth_fraction"] is None


def test_experts_are_read_as_far_as_tokens_touch_them(tmp_path: Path) -> None:
    path = experts_gguf(tmp_path / "experts.gguf")
    rows = {row["test"]: row for row in measured(path, *SHORT, "--parallel", "1,2")["results"]}
    one, two = (rows[name]["bytes_per_token"] for name in ("tg4", "tg4x2"))
    assert one / 2 < two < one


def test_real_text_gives_characters() -> None:
    found = measured("tiny-ja", *SHORT, "--decode-tokens", "32")
    decode = found["results"][1]
    assert decode["characters_per_s"] > decode["tokens_per_s"]["median"]
    assert found["model"]["recipe"] == "tiny-ja"


def test_the_table_shows_only_what_was_measured_and_says_what_it_means(model: Path) -> None:
    done = bench(model, *SHORT)
    assert done.returncode == 0, done.stderr
    heading, *lines = done.stdout.splitlines()
    assert "first run" in heading
    assert "char/s" not in heading  # the file has no vocabulary
    assert "of bandwidth" not in heading
    assert [line.split()[0] for line in lines[:2]] == ["pp16", "tg4"]
    assert "tokenization and sampling are excluded" in done.stdout
    assert done.stderr.startswith("loaded dense: 1 × 16 tokens of context")


def test_a_result_is_kept_in_a_folder_and_can_be_read_back(model: Path, tmp_path: Path) -> None:
    printed = measured(model, *SHORT, "--save", tmp_path / "results")
    (saved,) = results.load_all(tmp_path / "results").results
    assert json.loads(saved.result.model_dump_json()) == printed


def test_batch_sizes_are_llama_cpp_s(model: Path) -> None:
    found = measured(model, *SHORT, "--batch", "8", "--ubatch", "4")
    assert (found["settings"]["step_tokens"], found["settings"]["ubatch_tokens"]) == (8, 4)


def test_a_sustained_run_tells_its_windows_and_how_the_speed_held(model: Path) -> None:
    found = measured(model, *SHORT, "--sustain", "3s")
    windows = found["sustained"]
    assert windows[0]["start_s"] == 0
    assert windows[-1]["end_s"] >= 3
    assert all(window["tokens_per_s"] > 0 for window in windows)
    assert found["conditions"]["sustained"]["test"] == "tg4"
    assert "tg4" in found["conditions"]["sustained"]["words"]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ((), "either a TARGET"),
        (("MODEL", "--url", "http://127.0.0.1:1"), "either a TARGET"),
        (("MODEL", "--rate", "2"), "--rate is for --url"),
        (("--url", "http://127.0.0.1:1", "--depth", "5"), "--depth is for a TARGET"),
        (("MODEL", "--depth", "-1"), "whole numbers from 0 on"),
        (("MODEL", "--parallel", "1,0"), "whole numbers from 1 on"),
        (("MODEL", "--sustain", "soon"), "'soon' is no duration"),
        (("MODEL", "--batch", "0"), "--batch"),
        (("MODEL", "--prompt-tokens", "0", "--decode-tokens", "0"), "nothing to time"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_call_is_one_sentence(words: tuple[str, ...], part: str, model: Path) -> None:
    done = bench(*(str(model) if word == "MODEL" else word for word in words))
    assert (done.returncode, done.stdout) == (2, "")
    assert part in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_meter_s_file_that_is_none_is_told_before_the_model_is_loaded(model: Path, tmp_path: Path) -> None:
    done = bench(model, *SHORT, "--meter", tmp_path / "none.csv")
    assert done.returncode == 1
    assert "none.csv" in done.stderr
    assert "load dense" not in done.stderr


@pytest.mark.onnx
def test_batch_sizes_of_another_engine_are_refused(tmp_path: Path) -> None:
    done = bench(hand_graph(tmp_path), *SHORT, "--batch", "8")
    assert (done.returncode, done.stdout) == (2, "")
    assert "batch sizes are llama.cpp's" in done.stderr

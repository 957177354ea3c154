"""`eval ladder` on the embedded model, stopped and taken up again, and on a trained mixture of experts."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import pytest

from edgellm.build.ladder import LadderOrder, run_ladder
from edgellm.cli.main import cli
from edgellm.errors import UsageError
from edgellm.records.ladder import LadderResult
from edgellm.records.recipe import Gate
from edgellm.store.catalogue import RECIPES, TEXTS
from edgellm.store.results import load
from edgellm.store.work import WorkFolder, default_root

TYPES = ["Q2_K", "Q4_K_M", "Q8_0"]


def start(*words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "edgellm", "eval", "ladder", *map(str, words), "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> tuple[int, Any, str]:
    out, said = process.communicate(timeout=200)
    return process.returncode, json.loads(out) if out else None, said


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tiny-ja's, calibrated with less text."""
    folder = tmp_path_factory.mktemp("recipe")
    text = (TEXTS / "calibration" / "everyday.txt").read_text(encoding="utf-8")[:1500]
    (folder / "calibration.txt").write_text(text, encoding="utf-8")
    own = (RECIPES / "tiny-ja.toml").read_text(encoding="utf-8")
    path = folder / "tiny-ja.toml"
    path.write_text(own.replace('"shipped"', f'"{folder / "calibration.txt"}"'), encoding="utf-8")
    return path


def kept() -> dict[str, int]:
    """When each step of the measurement was finished."""
    return {str(file): file.stat().st_mtime_ns for file in default_root().glob("fidelity-*/tallies.npz")}


@pytest.fixture(scope="module")
def resumed(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, int], Any, LadderResult]:
    """What was kept when the first run was killed; what the second one printed, and saved."""
    file = tmp_path_factory.mktemp("results") / "ladder.json"
    words = (recipe, "--types", ",".join(TYPES), "--limit", 1, "--no-speed", "--save", file)
    process = start(*words)
    deadline = time.monotonic() + 200
    while not kept() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = kept()
    code, printed, said = finish(start(*words))
    assert code == 0, said
    result = load(file)
    assert isinstance(result, LadderResult)
    return before, printed, result


def test_a_ladder_that_was_killed_goes_on_where_it_was(
    resumed: tuple[dict[str, int], Any, LadderResult],
) -> None:
    before, printed, result = resumed
    assert before
    assert before.items() <= kept().items()
    assert printed == json.loads(result.model_dump_json())


def test_larger_types_lose_less_and_take_more(resumed: tuple[dict[str, int], Any, LadderResult]) -> None:
    rows = resumed[1]["rows"]
    assert [row["type"] for row in rows] == TYPES
    for smaller, larger in pairwise(rows):
        assert smaller["size_bytes"] < larger["size_bytes"]
        assert smaller["mean_kld"]["low"] > larger["mean_kld"]["high"]
        assert smaller["change_to_next"]["high"] < 0
        assert smaller["same_top_percent"]["value"] < larger["same_top_percent"]["value"]
    assert resumed[1]["monotone"] is True
    assert all(row["bits_per_character"]["value"] > row["bits_per_byte"]["value"] for row in rows)
    assert all(row["decode_tokens_per_s"] is None and row["flips"]["items"] == 1 for row in rows)


def test_every_kind_of_text_is_measured(resumed: tuple[dict[str, int], Any, LadderResult]) -> None:
    kinds = {"literary", "statute", "everyday", "business", "technical", "english", "code"}
    for row in resumed[1]["rows"]:
        assert row["by_kind"].keys() == kinds
        assert {found["documents"] for found in row["by_kind"].values()} == {1}


def keeps(row: Any, gate: Gate) -> bool:
    assert gate.max_mean_kld is not None
    assert gate.min_same_top_percent is not None
    ends = row["mean_kld"]["high"], row["same_top_percent"]["low"]
    return bool(ends[0] <= gate.max_mean_kld and ends[1] >= gate.min_same_top_percent)


def test_the_recommendation_is_the_smallest_that_keeps_the_gate(
    resumed: tuple[dict[str, int], Any, LadderResult],
) -> None:
    _, printed, result = resumed
    assert (result.recipe, result.gate_from) == ("tiny-ja", "[gates.Q4_K_M] of the recipe tiny-ja")
    passing = [row for row in printed["rows"] if keeps(row, result.gate)]
    assert {row["type"] for row in passing} == {row["type"] for row in printed["rows"] if row["passes"]}
    assert printed["recommended"] == min(passing, key=lambda row: row["size_bytes"])["type"] == "Q4_K_M"
    (worst, *_) = printed["rows"]
    assert re.match(r"mean KLD is 0\.\d+, limit 0\.02", worst["reasons"][0])
    assert printed["stock"] == []  # every tensor of tiny-ja fits, so there is no rule of ours


def test_where_no_type_keeps_the_gate_the_table_is_printed_and_the_exit_code_is_3(
    recipe: Path, resumed: tuple[dict[str, int], Any, LadderResult]
) -> None:
    code, printed, said = finish(start(recipe, "--types", "q2_k", "--limit", 1))
    assert code == 3
    assert printed["recommended"] is None
    assert "no type of" in said
    assert "mean KLD is" in said
    assert printed["rows"][0]["mean_kld"] == resumed[1]["rows"][0]["mean_kld"]
    assert printed["rows"][0]["decode_tokens_per_s"] == printed["rows"][0]["decode"]["median"] > 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--types", "Q4_K_M,Q9"], "there is no quantization type called 'Q9'"),
        (["--types", "Q4_K_M,"], "a name is missing between two commas"),
        (["--suite", "no-such"], "there is no suite 'no-such'"),
        (["--judge-model", "x"], "name it with --judge"),
    ],
)
def test_what_cannot_be_measured_is_a_usage_error_at_once(words: list[str], sentence: str) -> None:
    with pytest.raises((UsageError, click.UsageError), match=sentence):
        cli(["eval", "ladder", "tiny-ja", *words], standalone_mode=False)


def test_our_rules_keep_a_mixture_of_experts_in_order_beside_the_stock_mixtures() -> None:
    checkpoint = os.environ.get("EDGELLM_TINY_MOE")
    if not checkpoint:
        pytest.skip(
            "EDGELLM_TINY_MOE names no trained checkpoint; make one with "
            "`python tools/train_tiny_moe.py --corpus FOLDER --work FOLDER --out FOLDER`"
        )
    found = run_ladder(LadderOrder(checkpoint, limit=4, timed=False), WorkFolder(default_root()))
    assert [row.type for row in found.rows] == ["Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0"]
    assert found.monotone
    passing = [row for row in found.rows if row.mean_kld.high <= (found.gate.max_mean_kld or 0)]
    assert found.recommended == min(passing, key=lambda row: row.size_bytes).type
    assert found.gate_from.startswith("[gates.default] of the recipe default")
    assert [row.type for row in found.stock] == [row.type for row in found.rows]
    assert [bool(row.rules) for row in found.rows] == [True] * 5 + [False]  # blocks of 32 fit everywhere
    assert not any(row.rules for row in found.stock)
    assert any("Q4_K_M holds types that nobody asked for" in said for said in found.stock_disorder)

"""`edgellm demo` as a user calls it: one run, looked at from many sides."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

LADDER = ["F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_XS", "Q3_K_M", "Q2_K"]


def formats(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["type"]: row for row in document["formats"]}


def test_the_promised_keys_are_there(demo: tuple[Path, dict[str, Any], str]) -> None:
    out, document, _ = demo
    assert document["bundle"] == str(out / "bundle")
    assert Path(document["report"]).is_file()
    assert document["elapsed_s"] > 0
    promised = {"format", "type", "size_bytes", "bits_per_weight", "mean_kld", "same_top_percent", "bits_per_byte"}
    assert [row["type"] for row in document["formats"]] == LADDER
    assert all(promised | {"decode_tokens_per_s"} <= set(row) for row in document["formats"])


def test_kl_divergence_falls_with_every_rung_of_the_ladder(demo: tuple[Path, dict[str, Any], str]) -> None:
    rows = formats(demo[1])
    rungs = ["Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0"]
    divergences = [rows[name]["mean_kld"] for name in rungs]
    assert divergences == sorted(divergences, reverse=True)
    assert len(set(divergences)) == len(divergences)


def test_q8_0_stays_within_five_thousandths_of_a_nat(demo: tuple[Path, dict[str, Any], str]) -> None:
    assert formats(demo[1])["Q8_0"]["mean_kld"] <= 0.005


def test_sizes_fall_with_the_bits(demo: tuple[Path, dict[str, Any], str]) -> None:
    sizes = [row["size_bytes"] for row in demo[1]["formats"]]
    assert sizes == sorted(sizes, reverse=True)


def test_the_reply_came_over_http_in_japanese_with_its_reasoning_apart(demo: tuple[Path, dict[str, Any], str]) -> None:
    document = demo[1]
    assert any("ぁ" <= c <= "ん" for c in document["reply"])
    assert document["reasoning"]
    assert document["reasoning"] not in document["reply"]
    assert "<|" not in document["reply"] + document["reasoning"]


def test_the_bundle_passes_verify(demo: tuple[Path, dict[str, Any], str]) -> None:
    command = [sys.executable, "-m", "edgellm.cli.main", "verify", str(demo[0] / "bundle")]
    assert subprocess.run(command, capture_output=True, check=False, env=dict(os.environ)).returncode == 0


def test_the_engine_s_own_vocabulary_is_seen_to_tokenize_otherwise(demo: tuple[Path, dict[str, Any], str]) -> None:
    found = demo[1]["tokenization"]
    assert 0 < found["lines_differing"] < found["lines"]
    assert found["engine_tokens"] > found["exact_tokens"]


def test_the_report_shows_the_numbers_of_the_json(demo: tuple[Path, dict[str, Any], str]) -> None:
    html = (demo[0] / "report.html").read_text(encoding="utf-8")
    assert demo[1]["reply"] in html
    for row in demo[1]["formats"]:
        assert row["type"] in html


def test_the_result_file_is_the_printed_document(demo: tuple[Path, dict[str, Any], str]) -> None:
    assert json.loads((demo[0] / "demo.json").read_text(encoding="utf-8")) == demo[1]


def test_a_log_gets_plain_lines_of_progress(demo: tuple[Path, dict[str, Any], str]) -> None:
    assert "measure fidelity: " in demo[2]
    assert "\x1b" not in demo[2]

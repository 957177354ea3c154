"""`eval score` as one calls it, on files in M-IFEval's shapes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgellm.evals.scorers import SCORERS, score

PROMPTS = [
    ("海について二文未満で。", "ja:length_constraints:number_sentences", {"num_sentences": 2, "relation": "未満"}),
    ("山について、読点なしで。", "ja:punctuation:no_comma", {}),
    ("川について「」で囲んで。", "ja:startend:quotation", {}),
]


@pytest.fixture
def items(tmp_path: Path) -> Path:
    rows = [
        {"key": key, "prompt": prompt, "instruction_id_list": [rule], "kwargs": [arguments]}
        for key, (prompt, rule, arguments) in enumerate(PROMPTS, 1)
    ]
    return lines(tmp_path / "ja_input_data.jsonl", rows)


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def called(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgellm", "eval", "score", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_file_of_verdicts_is_scored_again_and_compared(items: Path, tmp_path: Path) -> None:
    rows = [
        {"prompt": PROMPTS[0][0], "response": "広い。", "follow_instruction_list": [True]},
        {"prompt": PROMPTS[2][0], "response": "はい。\n「川」", "follow_instruction_list": [False]},
    ]
    done = called(
        lines(tmp_path / "eval_results_strict.jsonl", rows), "--suite", "ifeval-ja", "--items", items, "--json"
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["strict"] == {"prompt": 1 / 3, "instruction": 1 / 3}
    assert found["loose"] == {"prompt": 2 / 3, "instruction": 2 / 3}
    assert (found["items"], found["failed"]) == (3, 1)
    assert found["measures"]["verdicts_equal_strict"] == found["measures"]["verdicts_given"] == 2
    assert "1 of 3 prompts have no response and count as not followed: 2" in found["notes"]


def test_a_broken_line_is_one_sentence_with_its_number(items: Path, tmp_path: Path) -> None:
    path = tmp_path / "responses.jsonl"
    path.write_text('{"prompt": "海", "response": ""}\n{"prompt"\n', encoding="utf-8")
    done = called(path, "--suite", "ifeval-ja", "--items", items)
    assert done.returncode == 1
    assert "responses.jsonl, line 2 is no JSON" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_every_suite_that_scores_files_is_offered_by_the_verb() -> None:
    from edgellm.cli.eval_score import eval_score

    (suite,) = [option for option in eval_score.params if option.name == "suite"]
    assert set(suite.type.choices) == set(SCORERS)  # type: ignore[attr-defined]


def test_choices_already_made_are_scored_with_their_items(tmp_path: Path) -> None:
    questions = [
        {"q_id": n, "question": "問", **{f"choice{c}": f"選択肢{c}" for c in range(5)}, "label": n} for n in (0, 1)
    ]
    items = lines(tmp_path / "questions.jsonl", questions)
    answers = lines(tmp_path / "answers.jsonl", [{"q_id": 0, "answer": 0}, {"q_id": 1, "answer": 0}])
    found = score("choice", answers, items)
    assert found.suite == "choice"
    assert found.score is not None
    assert found.score.mean == 0.5

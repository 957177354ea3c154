"""`eval run --suite mt-bench-ja` as one calls it: our questions, answers of a real model behind `edgellm serve`, marks
by another server on this machine; and a kill in the middle of judging."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from counting_server import Counting, counting_server
from edgellm.evals.mt_bench_ja.files import JAPANESE
from edgellm.evals.mt_bench_ja.questions import load_questions, our_questions
from live_server import announced_url, eventually

CRITERIA = "# 審査の観点"
EACH = 1  # questions of each category
QUESTIONS = EACH * len(JAPANESE)
TURNS = 2 * QUESTIONS


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    """The URL of a real `edgellm serve` with the embedded model."""
    words = ["serve", "tiny-ja", "--port", "0", "--parallel", "2", "--context", "1024"]
    process = subprocess.Popen([sys.executable, "-m", "edgellm.cli.main", *words], stderr=subprocess.PIPE, text=True)
    try:
        yield announced_url(process)
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.fixture
def items(tmp_path: Path) -> Path:
    """The first of our questions in each category, with our references in their own lines."""
    chosen = [question for question in load_questions(None, None) if (int(question.id) - 1) % 10 < EACH]
    path = tmp_path / "question.jsonl"
    rows = [
        {"question_id": q.id, "category": q.category, "turns": q.turns, "reference": q.references} for q in chosen
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def start(work: Path, model: Counting, judge: Counting, *words: str | Path) -> subprocess.Popen[str]:
    asked = ["--url", model.url, "--suite", "mt-bench-ja", "--judge", judge.url, "--concurrency", "2", "--json"]
    return subprocess.Popen(
        [sys.executable, "-m", "edgellm.cli.main", "eval", "run", *asked, *map(str, words)], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env=os.environ | {"EDGELLM_WORK": str(work), "EDGELLM_OFFLINE": "1"},
    )  # fmt: skip


def finished(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=280)
    assert process.returncode == 0, err
    found = json.loads(out)
    assert isinstance(found, dict)
    return found


def text_of(body: dict[str, Any]) -> str:
    text = body["messages"][-1]["content"]
    assert isinstance(text, str)
    return text


def mark(body: dict[str, Any]) -> str:
    """4 where a reference is shown, else 8; nothing for one question, and one point less with the criteria last."""
    text = text_of(body)
    if our_questions()[0].turns[0] in text:
        return "採点できませんでした。"
    score = 4 if "模範解答>" in text else 8
    return f"理由です。例の [[1]] とは別に付けます。\n[[{score - (text.find(CRITERIA) > 200)}]]"


def test_a_whole_run_with_a_real_model_and_another_server_as_judge(served: str, items: Path, tmp_path: Path) -> None:
    answers, judgments = tmp_path / "answers.jsonl", tmp_path / "judgments.jsonl"
    with counting_server(passed_on_to=served) as model, counting_server(answer=mark) as judge:
        words = ("--items", items, "--answer-file", answers, "--judgment-file", judgments)
        result = finished(start(tmp_path / "work", model, judge, *words))
        assert (result["items"], len(result["records"])) == (QUESTIONS, TURNS)
        assert set(model.times().values()) == {1}
        assert all(record["answer"] or record["status"] == "empty" for record in result["records"])
        judged = TURNS - result["empty"]
        # Each answer once, the first question's two turns twice, one in ten in another order, and whether it can JSON.
        assert len(judge.asked) == judged + 2 + -(-(judged - 2) // 10) + 1
    with_reference = [record for record in result["records"] if "math" in record["detail"]["judge_prompt"]]
    assert {record["category"] for record in with_reference} == {"coding", "extraction", "math", "reasoning"}
    assert {record["score"] for record in with_reference} == {4, None}
    assert [r["id"] for r in result["records"] if r["status"] == "failed"] == ["1001", "1001"]
    assert (result["failed"], result["measures"]["order_change_points"]) == (2, 1)
    assert set(result["categories"]) == set(JAPANESE) - {"coding"}  # whose only question has no score
    assert result["judge"]["prompts"] == "edgellm"
    counting = [sys.executable, "-m", "edgellm.cli.main", "eval", "aggregate", judgments, "--protocol", "edgellm"]
    counted = subprocess.run([*counting, "--json"], capture_output=True, text=True, check=True)
    scores = json.loads(counted.stdout)["counting"]
    assert (scores["mean"], scores["failed"]) == (result["score"]["mean"], 2)
    assert len(answers.read_text(encoding="utf-8").splitlines()) == QUESTIONS


def test_a_run_killed_while_judging_asks_neither_model_nor_judge_twice(items: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    with counting_server(answer=lambda body: f"答えは{len(text_of(body))}です。") as model:
        with counting_server(answer=lambda body: "[[7]]", hold_from=10) as judge:
            killed = start(work, model, judge, "--items", items)
            eventually(lambda: len(judge.asked) == 11 and journal_lines(work) == TURNS + 8, 60)
            killed.kill()
            killed.communicate(timeout=30)
            judge.release.set()
            result = finished(start(work, model, judge, "--items", items))
            assert set(model.times().values()) == {1}
            # The two that were held had no answer, so they alone were asked for again.
            assert sorted(judge.times().values())[-3:] == [1, 2, 2]
        assert result["settings"]["resumed"] == TURNS + 8
    assert (result["score"]["mean"], result["failed"]) == (7, 0)


def journal_lines(work: Path) -> int:
    return sum(file.read_bytes().count(b"\n") - 1 for file in (work / "evals").glob("mt-bench-ja-*.jsonl"))


def test_judgments_are_kept_between_runs(items: Path, tmp_path: Path) -> None:
    """The same answers again: the model is asked anew, the judge is not."""
    with (
        counting_server(answer=lambda body: "はい。") as model,
        counting_server(answer=lambda body: "[[7]]") as judge,
    ):
        for _ in range(2):
            finished(start(tmp_path / "work", model, judge, "--items", items, "--limit", "2"))
        assert set(model.times().values()) == {2}
        assert set(judge.times().values()) == {1}

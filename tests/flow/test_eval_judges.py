"""`eval pairwise` and `eval calibrate-judge --judge` with judges behind a real socket."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner

from counting_server import Counting, counting_server
from edgellm.cli.main import cli
from edgellm.errors import UsageError
from edgellm.evals.journal import Journal
from edgellm.evals.judge import FAILED_CALL, Judge, Judgment
from edgellm.evals.model import Model
from edgellm.evals.mt_bench_ja.files import Answers, Question, write_answers, write_lines
from edgellm.evals.mt_bench_ja.questions import our_questions
from edgellm.evals.pairwise import Pair, compare_pairs
from edgellm.evals.run import Run
from edgellm.records.evals import EvalResult, ItemRecord

COUNT = 12
SHOWN = re.compile(r"〈回答([AB])(?:-1)?〉\n(.*?)\n〈回答", re.S)


def prompt_of(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"])


def prefers(word: str) -> Callable[[dict[str, Any]], str]:
    """A fair judge: the answer that holds the word is better, wherever it stands."""

    def answer(body: dict[str, Any]) -> str:
        has = {name: word in text for name, text in SHOWN.findall(prompt_of(body))}
        choice = "C" if has.get("A") == has.get("B") else "A" if has["A"] else "B"
        return f"比べました。\n[[{choice}]]"

    return answer


def prefers_first(body: dict[str, Any]) -> str:
    return "最初の回答がよいです。[[A]]"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Answers to the first twelve of our questions; B's are better in eight, A's in one, the rest says the same."""
    monkeypatch.setenv("EDGELLM_WORK", str(tmp_path / "work"))
    ids = [question.id for question in our_questions()][:COUNT]
    a = [Answers(one, "f16", (("丁寧な回答です" if n == 8 else "普通",),)) for n, one in enumerate(ids)]
    b = [Answers(one, "q4", (("丁寧な回答です" if n < 8 else "普通",),)) for n, one in enumerate(ids)]
    write_answers(tmp_path / "a.jsonl", a)
    write_answers(tmp_path / "b.jsonl", b)
    return tmp_path / "a.jsonl", tmp_path / "b.jsonl"


def pairwise(judge: Counting, *words: str | Path) -> dict[str, Any]:
    done = CliRunner().invoke(cli, ["eval", "pairwise", *map(str, words), "--judge", judge.url, "--json"])
    assert done.exception is None, done.exception
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def test_a_fair_judge_finds_the_better_one(files: tuple[Path, Path]) -> None:
    with counting_server(answer=prefers("丁寧")) as judge:
        found = pairwise(judge, *files)
    assert (found["wins_a"], found["wins_b"], found["ties"], found["same"]) == (1, 8, 3, 3)
    assert (found["inconsistent"], found["failed"], found["position_biased"]) == (0, 0, False)
    assert found["win_rate_b"]["mean"] == pytest.approx(9.5 / 12)
    assert found["sign_test_p"] == pytest.approx(2 * 10 / 2**9)
    assert found["verdict"].startswith("q4 is preferred")
    assert found["judge"]["name"] == "counting"


def test_people_get_a_table_and_a_sentence(files: tuple[Path, Path]) -> None:
    with counting_server(answer=prefers("丁寧")) as judge:
        done = CliRunner().invoke(cli, ["eval", "pairwise", *map(str, files), "--judge", judge.url])
    assert done.exit_code == 0, done.exception
    assert "q4 is preferred (p = 0.039)" in done.stdout
    assert re.search(r"all +1 +8 +3 +0\.79", done.stdout)


def test_pairwise_without_a_judge_is_wrong_usage(files: tuple[Path, Path]) -> None:
    done = CliRunner().invoke(cli, ["eval", "pairwise", *map(str, files)])
    assert isinstance(done.exception, UsageError)


def test_a_judge_that_prefers_what_stands_first_is_exposed(files: tuple[Path, Path]) -> None:
    with counting_server(answer=prefers_first) as judge:
        found = pairwise(judge, *files)
    assert (found["wins_a"], found["wins_b"], found["inconsistent"], found["prefers_first"]) == (0, 0, 9, 1.0)
    assert found["position_biased"] is True
    assert "goes by position" in found["verdict"]


def test_each_pair_is_asked_about_in_both_orders_and_same_answers_not_at_all(files: tuple[Path, Path]) -> None:
    with counting_server(answer=prefers("丁寧")) as judge:
        pairwise(judge, *files)
        shown = [SHOWN.findall(prompt_of(body)) for body in judge.asked if "〈回答A〉" in prompt_of(body)]
    assert len(shown) == 2 * 9
    assert sum(pair[0][1] == "普通" for pair in shown) == 9


def test_a_killed_run_goes_on_without_asking_twice(files: tuple[Path, Path]) -> None:
    with counting_server(answer=prefers("丁寧"), hold_from=9) as judge:
        words = ["eval", "pairwise", *map(str, files), "--judge", judge.url, "--parallel", "1", "--json"]
        with subprocess.Popen([sys.executable, "-m", "edgellm", *words], stdout=subprocess.DEVNULL) as process:
            while len(judge.asked) < 9:
                time.sleep(0.02)
            process.kill()
        answered = set(list(judge.times())[:8])
        judge.release.set()
        judge.asked.clear()
        found = pairwise(judge, *files, "--parallel", "1")
        asked = judge.times()
    assert found["wins_b"] == 8
    assert not answered & set(asked)
    assert len(asked) == 1 + 18 - 8  # the first question, whether it can be held to a schema, is among the eight


def test_a_call_that_failed_is_made_again_by_the_next_run(tmp_path: Path) -> None:
    pair = Pair(("1", 0, 1), "c", ("依頼",), ("甲",), ("乙",))
    failing, well = (FixedJudge(text) for text in (FAILED_CALL, "[[A]]"))
    journal = Journal(tmp_path / "journal.jsonl", "run")
    run = Run(cast(Model, None), journal)
    first = compare_pairs(run, cast(Judge, failing), [pair], structured=False)
    second = compare_pairs(run, cast(Judge, well), [pair], structured=False)
    third = compare_pairs(run, cast(Judge, well), [pair], structured=False)
    journal.close()
    assert [found[0].preferred for found in (first, second, third)] == [None, "tie", "tie"]
    assert well.asked == 2


class FixedJudge:
    """Says one thing, and counts how often."""

    def __init__(self, text: str) -> None:
        self.text, self.asked = text, 0

    def ask(self, *_: Any, **__: Any) -> Judgment:
        self.asked += 1
        return Judgment(self.text)


def test_a_judge_that_says_nothing_readable_has_failed(files: tuple[Path, Path]) -> None:
    with counting_server(answer=lambda body: "どちらもよいと思います。") as judge:
        found = pairwise(judge, *files, "--limit", "2")
    assert (found["failed"], found["win_rate_b"]) == (2, None)


def test_results_of_eval_run_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGELLM_WORK", str(tmp_path / "work"))

    def saved(name: str, answer: str, items: str = "same") -> Path:
        records = tuple(
            ItemRecord(id=str(n), category="c", prompt=f"依頼{n}", answer=f"{answer}{n}", turn=1) for n in range(4)
        )
        result = EvalResult(
            suite="s", protocol="p", target=name, model_name=name, score=None, categories={}, items=4, failed=0,
            items_sha256=items, protocol_sha256="x", records=records,
        )  # fmt: skip
        (tmp_path / f"{name}.json").write_text(result.model_dump_json())
        return tmp_path / f"{name}.json"

    with counting_server(answer=prefers("丁寧")) as judge:
        found = pairwise(judge, saved("one", "丁寧"), saved("two", "雑"))
        words = [
            "eval",
            "pairwise",
            str(saved("one", "丁寧")),
            str(saved("other", "雑", "others")),
            "--judge",
            judge.url,
        ]
        refused = CliRunner().invoke(cli, words)
    assert (found["a"], found["b"], found["wins_a"]) == ("one", "two", 4)
    assert "different items" in str(refused.exception)


def test_a_judge_is_calibrated_now_and_not_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGELLM_WORK", str(tmp_path / "work"))
    questions = [Question(str(n), "writing", (f"依頼{n}",)) for n in range(1, 31)]
    write_lines(
        tmp_path / "questions.jsonl",
        [{"question_id": int(one.id), "category": one.category, "turns": list(one.turns)} for one in questions],
    )
    write_answers(
        tmp_path / "answers.jsonl", [Answers(one.id, "m", ((f"点数は{int(one.id) % 9 + 1}。",),)) for one in questions]
    )
    known = [
        {"question_id": int(one.id), "model": "m", "judge": ["gpt-4", "single-v1"], "judgment": "", "turn": 1,
         "score": max(1, int(one.id) % 9), "user_prompt": "", "tstamp": 1.0}
        for one in questions
    ]  # fmt: skip
    write_lines(tmp_path / "known.jsonl", known)

    def scores(body: dict[str, Any]) -> str:
        found = re.search(r"点数は(\d)。", prompt_of(body))
        return f"評価: [[{found[1] if found else 1}]]"

    words = ["eval", "calibrate-judge", str(tmp_path / "answers.jsonl"), "--against", str(tmp_path / "known.jsonl")]
    words += ["--questions", str(tmp_path / "questions.jsonl"), "--json"]
    with counting_server(answer=scores) as judge:
        first = CliRunner().invoke(cli, [*words, "--judge", judge.url])
        asked = len(judge.asked)
        second = CliRunner().invoke(cli, [*words, "--judge", judge.url])
        more = len(judge.asked) - asked
    assert first.exception is None, first.exception
    found = json.loads(first.stdout)
    assert (found["n"], found["failed"], found["judges"], found["usable"]) == (30, 0, ["counting"], True)
    assert found["spearman"]["value"] > 0.98
    assert json.loads(second.stdout)["spearman"] == found["spearman"]
    assert asked >= 30
    assert more <= 1  # whether it can be held to a schema

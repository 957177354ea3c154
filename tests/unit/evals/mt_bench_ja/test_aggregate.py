"""Judgment files of every shape come to what the protocols count, to the last digit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import stdev
from typing import Any

import click
import pytest

from edgellm.cli.eval_aggregate import eval_aggregate
from edgellm.errors import BadInput, UsageError
from edgellm.evals.mt_bench_ja.files import category_of

NEEDS_REFERENCE = ("math", "reasoning", "coding")


def line(question: int | str, turn: int, score: Any, model: str = "m", **further: Any) -> dict[str, Any]:
    math = "math-" if category_of(str(question)) in NEEDS_REFERENCE else ""
    prompt = f"single-{math}v1" + ("-multi-turn" if turn == 2 else "")
    said = [f"理由。[[{s}]]" for s in score] if isinstance(score, list) else f"理由。[[{score}]]"
    return {
        "question_id": question, "model": model, "judge": ["gpt-4", prompt], "user_prompt": "…", "judgment": said,
        "score": score, "turn": turn, "tstamp": 1.0,
    } | further  # fmt: skip


def write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def told(capsys: pytest.CaptureFixture[str], *words: str | Path) -> dict[str, Any]:
    """The document of `eval aggregate`."""
    capsys.readouterr()
    eval_aggregate([*map(str, words), "--json"], standalone_mode=False)
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def sums_to(total: int, count: int) -> list[int]:
    """Scores from 1 to 10 with this sum."""
    low, more = divmod(total, count)
    return [low + 1] * more + [low] * (count - more)


def test_published_sums_come_out_to_the_last_digit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """564 judgments of seven models, some of whose runs are not whole: 724/160 is 4.525 and 530/160 is 3.3125."""
    sizes = {
        "a": (724, 160),
        "b": (530, 160),
        "c": (333, 80),
        "d": (501, 80),
        "e": (200, 42),
        "f": (70, 21),
        "g": (1, 21),
    }
    rows = []
    for model, (total, count) in sizes.items():
        scores = [1] * count if model == "g" else sums_to(total, count)
        places = [(question, turn) for turn in (1, 2) for question in range(1, 81)][:count]
        rows += [line(question, turn, score, model) for (question, turn), score in zip(places, scores, strict=True)]
    scores = told(capsys, write(tmp_path / "j.jsonl", rows), "--protocol", "fastchat-jp")
    assert sum(own["items"] for own in scores.values()) == 564
    assert (scores["a"]["mean"], scores["b"]["mean"]) == (4.525, 3.3125)
    assert (scores["c"]["mean"], scores["d"]["mean"], scores["g"]["mean"]) == (4.1625, 6.2625, 1.0)
    assert list(scores) == list(sizes)


def test_scores_with_decimals_are_summed_without_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "j.jsonl", [line(1, 1, 1.3), line(2, 1, 9.3)])
    assert told(capsys, path, "--protocol", "fastchat-jp")["m"]["mean"] == 5.3  # and not 5.300000000000001


def test_the_promised_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [line(1, 1, 4), line(1, 2, 6), line("75", 1, 9)]
    scores = told(capsys, write(tmp_path / "j.jsonl", rows), "--protocol", "fastchat-jp")["m"]
    assert scores["per_turn"] == {"1": 6.5, "2": 6.0}
    assert scores["per_category"] == {"coding": 5.0, "writing": 9.0}
    assert (scores["items"], scores["failed"]) == (3, 0)


def test_fastchat_drops_minus_one_and_counts_duplicates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [line(1, 1, 2), line(1, 1, 8), line(1, 1, 8), line(2, 1, -1), line(3, 1, -1, judgment="$ERROR$")]
    scores = told(capsys, write(tmp_path / "j.jsonl", rows), "--protocol", "fastchat-jp")["m"]
    assert (scores["mean"], scores["items"], scores["failed"]) == (6.0, 5, 2)


def test_the_last_of_duplicates_can_stand_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other_prompt = line(1, 1, 10, judge=["gpt-4", "another"])
    rows = [line(1, 1, 2), line("1", 1, 8), line(1, 2, 4), line(1, 1, 1, "n"), other_prompt]
    path = write(tmp_path / "j.jsonl", rows)
    scores = told(capsys, path, "--protocol", "fastchat-jp", "--duplicates", "last")
    assert (scores["m"]["mean"], scores["m"]["items"]) == (float((8 + 4 + 10) / 3), 3)
    assert scores["n"]["mean"] == 1.0


def test_a_model_without_a_score_has_no_mean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "j.jsonl", [line(1, 1, -1)])
    scores = told(capsys, path, "--protocol", "fastchat-jp")["m"]
    assert (scores["mean"], scores["failed"]) == (None, 1)


def test_a_question_file_tells_categories_before_lines_and_ids(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = [{"question_id": "1", "category": "law", "turns": ["a", "b"]}]
    rows = [line(1, 1, 3, category="x"), line(2, 1, 5, category="y"), line(3, 1, 7), line("q", 1, 9)]
    words = (write(tmp_path / "j.jsonl", rows), "--protocol", "fastchat-jp", "--questions")
    scores = told(capsys, *words, write(tmp_path / "q.jsonl", questions))["m"]
    assert scores["per_category"] == {"coding": 7.0, "law": 3.0, "y": 5.0}
    assert scores["mean"] == 6.0


def test_llm_jp_judge_counts_whole_numbers_from_1_to_10(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        line(1, 1, 7),
        line(2, 1, 7.5),
        line(3, 1, 0),
        line(4, 1, 11),
        line(5, 2, -1, judgment="$ERROR$"),
        line(6, 2, 4),
    ]
    scores = told(capsys, write(tmp_path / "j.jsonl", rows), "--protocol", "llm-jp-judge")["m"]
    assert (scores["mean"], scores["failed"], scores["items"]) == (5.5, 4, 6)
    assert (scores["pattern_match(%)"], scores["api(%)"]) == (float(400 / 6), float(100 / 6))


def test_reparsing_believes_the_text_and_not_the_score(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [line(1, 1, 7, judgment="Rating: [6]"), line(2, 1, 3, judgment="[[8]]")]
    path = write(tmp_path / "j.jsonl", rows)
    assert told(capsys, path, "--protocol", "llm-jp-judge")["m"]["mean"] == 5.0
    assert told(capsys, path, "--protocol", "llm-jp-judge", "--reparse")["m"]["mean"] == 8.0
    assert told(capsys, path, "--protocol", "fastchat-jp", "--reparse")["m"]["mean"] == 7.0


def test_a_line_without_a_score_is_read_by_the_pattern(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = line(1, 1, 7, judgment="Rating: [6]")
    del row["score"]
    path = write(tmp_path / "j.jsonl", [row])
    assert told(capsys, path, "--protocol", "fastchat-jp")["m"]["mean"] == 6.0
    assert told(capsys, path, "--protocol", "llm-jp-judge")["m"]["mean"] is None


def test_swallow_takes_the_mean_of_runs_without_what_failed_in_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [line(1, 1, [8, 6, -1]), line(11, 1, [4, -1, 5]), line(1, 2, [6, 3, 7])]
    scores = told(capsys, write(tmp_path / "j.jsonl", rows), "--protocol", "swallow")["m"]
    runs = [6.0, 4.5, 6.0]  # the plain mean over rows would be 39/7
    assert scores["mean"] == 0.55
    assert scores["sd"] == pytest.approx(stdev(runs) / 10)
    assert (scores["items"], scores["judgments"], scores["failed"]) == (3, 9, 2)
    assert scores["per_turn"] == {"1": pytest.approx((6 + 6 + 5) / 30), "2": pytest.approx(16 / 30)}
    assert scores["per_category"]["extraction"] == 0.45


def test_swallow_of_a_single_run_has_no_spread(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "j.jsonl", [line(1, 1, 8)])
    scores = told(capsys, path, "--protocol", "swallow")["m"]
    assert (scores["mean"], scores["sd"]) == (0.8, None)


def test_swallow_instruct_leaves_failures_out_unless_its_quirks_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [line(1, 1, [9, -1, 7]), line(1, 2, [-1, -1, -1]), line(11, 1, [5, 5, 5])]
    path = write(tmp_path / "j.jsonl", rows)
    fixed = told(capsys, path, "--protocol", "swallow-instruct")["m"]
    quirky = told(capsys, path, "--protocol", "swallow-instruct", "--quirks")["m"]
    assert (fixed["mean"], quirky["mean"]) == (0.65, 0.5)  # (8 + 5) / 2 and ((9 - 1 + 7) / 3 + 5) / 2
    assert fixed["per_turn"] == {"1": 0.65, "2": None}
    assert quirky["failed"] == 4


def test_swallow_instruct_takes_n_lines_of_a_question_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [line(1, 1, 9), line(1, 1, 7), line(1, 1, 8), line(2, 1, 2)]
    path = write(tmp_path / "j.jsonl", rows)
    assert told(capsys, path, "--protocol", "swallow-instruct")["m"]["mean"] == 0.5


def test_nejumi_takes_the_mean_over_categories(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        line(1, 1, 2),
        line(1, 1, 4),
        line(1, 2, 6),
        line(2, 1, 0),
        line(71, 1, 10),
        line(72, 1, -1),
        line(73, 1, 11),
    ]
    scores = told(capsys, write(tmp_path / "j.jsonl", rows), "--protocol", "nejumi")["m"]
    assert scores["per_category"] == {"coding": 0.3, "writing": 1.0}  # (3 + 6 + 0) / 3, 10
    assert (scores["mean"], scores["failed"]) == (0.65, 2)
    assert scores["per_turn"] == {"1": 0.575, "2": 0.6}


def test_nejumi_refuses_a_question_of_no_category(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "j.jsonl", [line(1, 1, 2), line("q", 1, 4)])
    with pytest.raises(BadInput, match=r"j\.jsonl, line 2 .*question file"):
        told(capsys, path, "--protocol", "nejumi")


def test_ours_gives_both_means_an_interval_and_what_was_no_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [line(1001, 1, 2), line(1002, 1, 4), line(1071, 1, 9, status="refused"), line(1072, 1, 1, status="empty")]
    rows.append(line(1073, 1, 10, status="ok"))
    scores = told(capsys, write(tmp_path / "j.jsonl", rows), "--protocol", "edgellm")["m"]
    assert (scores["mean"], scores["macro_mean"]) == (5.2, 29 / 6)
    assert 1 <= scores["low"] < 5.2 < scores["high"] <= 10
    assert (scores["empty"], scores["refused"]) == (1, 1)


def test_quirks_mean_nothing_to_other_protocols(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "j.jsonl", [line(1, 1, 2)])
    with pytest.raises(UsageError, match="swallow-instruct"):
        told(capsys, path, "--protocol", "swallow", "--quirks")


def test_a_protocol_must_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(click.UsageError, match="protocol"):
        told(capsys, write(tmp_path / "j.jsonl", [line(1, 1, 2)]))


def test_people_get_a_line_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "j.jsonl", [line(1, 1, 2, "one"), line(71, 2, 7, "[two]")])
    eval_aggregate([str(path), "--protocol", "fastchat-jp"], standalone_mode=False)
    heads, *rows = capsys.readouterr().out.splitlines()
    assert heads.split() == ["model", "mean", "turn", "1", "turn", "2", "coding", "writing", "items", "failed"]
    assert [row.split() for row in rows] == [
        ["one", "2", "2", "none", "2", "none", "1", "0"], ["[two]", "7", "none", "7", "none", "7", "1", "0"],
    ]  # fmt: skip

"""Files of known agreement give that agreement, and judges that are worth nothing are called so."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edgellm.cli.main import cli
from edgellm.errors import BadInput, GateFailed
from edgellm.evals.judge_calibration import calibrate
from edgellm.evals.mt_bench_ja.files import read_judgments
from edgellm.records.judging import JudgeCalibration

CATEGORIES = ("coding", "extraction", "humanities", "math", "reasoning", "roleplay", "stem", "writing")
Scores = Mapping[tuple[int, str, int], float]


def written(path: Path, scores: Scores, judge: str = "judge") -> Path:
    lines = [
        {"question_id": question, "model": model, "judge": [judge, "single-v1"], "user_prompt": "", "turn": turn,
         "judgment": f"評価: [[{score}]]", "score": score, "tstamp": 1.0}
        for (question, model, turn), score in scores.items()
    ]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def over_questions(values: Sequence[float], model: str = "m") -> Scores:
    """One a question, over all categories: 40 values for questions 1, 3, 5, …"""
    return {(1 + 2 * place, model, 1): value for place, value in enumerate(values)}


def held(tmp_path: Path, judge: Scores, against: Scores, **options: Any) -> JudgeCalibration:
    files = written(tmp_path / "a.jsonl", judge), written(tmp_path / "b.jsonl", against, "gpt-4")
    return calibrate(read_judgments(files[0]), read_judgments(files[1]), **options)


def ranks_with(seed: int, moved: int) -> tuple[list[float], float]:
    """40 ranks of which some are moved about, and Spearman's of them against 0–39: 1 - 6 Σd² / (n (n² - 1))."""
    draw = random.Random(seed)
    ranks = list(range(40))
    places = draw.sample(ranks, moved)
    for place, value in zip(places, draw.sample(places, moved), strict=True):
        ranks[place] = value
    squares = sum((rank - place) ** 2 for place, rank in enumerate(ranks))
    return [float(rank) for rank in ranks], 1 - 6 * squares / (40 * (40**2 - 1))


@pytest.mark.parametrize(("seed", "moved"), [(1, 0), (2, 10), (3, 25), (4, 40)])
def test_a_known_spearman_is_returned(tmp_path: Path, seed: int, moved: int) -> None:
    ranks, expected = ranks_with(seed, moved)
    found = held(tmp_path, over_questions(ranks), over_questions(list(map(float, range(40)))))
    assert found.spearman is not None
    assert found.spearman.value == pytest.approx(expected, abs=1e-12)
    assert found.spearman.low <= found.spearman.value <= found.spearman.high
    assert found.n == 40


def test_a_monotone_distortion_keeps_spearman_and_not_pearson(tmp_path: Path) -> None:
    true = [float(n) for n in range(40)]
    found = held(tmp_path, over_questions([value**3 for value in true]), over_questions(true))
    assert found.spearman is not None
    assert found.spearman.value == pytest.approx(1)
    assert found.kendall == pytest.approx(1)
    assert found.pearson is not None
    assert found.pearson < 0.95


def test_error_and_bias_are_in_points(tmp_path: Path) -> None:
    true = [float(1 + n % 9) for n in range(40)]
    judge = [value + (2 if n % 2 else 1) for n, value in enumerate(true)]
    found = held(tmp_path, over_questions(judge), over_questions(true))
    assert (found.bias, found.mean_absolute_error, found.within_one_point) == (1.5, 1.5, 0.5)


def test_each_category_has_its_own_bias(tmp_path: Path) -> None:
    true = {(q, m, t): float(1 + (7 * q + t) % 8) for q in range(1, 81) for m in ("x", "y") for t in (1, 2)}
    judge = {place: value + (2 if 31 <= place[0] <= 40 else 0) for place, value in true.items()}
    found = held(tmp_path, judge, true)
    assert list(found.per_category) == list(CATEGORIES)
    assert found.per_category["math"].bias == 2
    assert all(own.bias == 0 and own.n == 40 for name, own in found.per_category.items() if name != "math")


def test_each_model_has_its_means_and_their_order_is_compared(tmp_path: Path) -> None:
    def scores(means: Mapping[str, float]) -> Scores:
        return {(q, model, 1): mean + q % 3 for model, mean in means.items() for q in range(1, 21)}

    found = held(tmp_path, scores({"a": 3, "b": 5, "c": 4}), scores({"a": 2, "b": 4, "c": 6}))
    assert found.order_of_models.judge == ("b", "c", "a")
    assert found.order_of_models.against == ("c", "b", "a")
    assert found.order_of_models.kendall == pytest.approx(1 / 3)
    assert found.per_model["a"].bias == pytest.approx(1)


def test_a_judge_that_always_says_8_is_worthless(tmp_path: Path) -> None:
    found = held(tmp_path, over_questions([8.0] * 40), over_questions([float(1 + n % 10) for n in range(40)]))
    assert (found.spearman, found.pearson, found.kendall, found.usable) == (None, None, None, False)
    assert "gives every answer 8" in found.reason


def test_a_judge_that_knows_categories_only_is_called_so(tmp_path: Path) -> None:
    draw = random.Random(5)
    means = dict(enumerate((2, 3, 4, 5, 6, 7, 8, 9)))
    true = {(q, "m", t): means[(q - 1) // 10] + draw.choice([-1, 0, 1]) for q in range(1, 81) for t in (1, 2)}
    judge = {place: float(means[(place[0] - 1) // 10]) for place in true}
    found = held(tmp_path, judge, true)
    assert found.spearman is not None
    assert found.spearman.value > 0.8
    assert not found.usable
    assert "no better than knowing each category's mean" in found.reason


def test_a_judge_by_chance_is_called_so(tmp_path: Path) -> None:
    draw = random.Random(6)
    values = [[float(draw.randint(1, 10)) for _ in range(40)] for _ in range(2)]
    found = held(tmp_path, over_questions(values[0]), over_questions(values[1]))
    assert not found.usable
    assert "may be chance" in found.reason


def test_a_judge_that_agrees_can_be_used(tmp_path: Path) -> None:
    draw = random.Random(7)
    true = {(q, "m", t): float(draw.randint(1, 9)) for q in range(1, 81) for t in (1, 2)}
    judge = {place: max(1.0, value + draw.choice([-1, 0, 0, 1])) for place, value in true.items()}
    found = held(tmp_path, judge, true)
    assert found.usable
    assert found.within_one_point == 1


def test_failed_judgments_are_counted_and_left_out(tmp_path: Path) -> None:
    true = [float(1 + n % 9) for n in range(40)]
    judge = [-1.0 if n < 8 else value for n, value in enumerate(true)]
    found = held(tmp_path, over_questions(judge), over_questions(true))
    assert (found.n, found.failed, found.failed_share, found.usable) == (32, 8, 0.2, False)
    assert "20%" in found.reason


def test_answers_of_one_file_only_are_counted(tmp_path: Path) -> None:
    found = held(tmp_path, over_questions([1.0, 2, 3]), over_questions([1.0, 2, 3, 4, 5]))
    assert (found.n, found.unmatched) == (3, 2)
    assert not found.usable  # three answers say nothing


def test_n_judgments_of_an_answer_count_as_their_mean(tmp_path: Path) -> None:
    file = tmp_path / "lists.jsonl"
    line = {"question_id": "1", "model": "m", "judge": ["j", "single-v1"], "judgment": ["", "", ""], "turn": 1}
    file.write_text(json.dumps(line | {"score": [4, -1, 6]}) + "\n")
    found = calibrate(read_judgments(file), read_judgments(written(tmp_path / "b.jsonl", {(1, "m", 1): 3.0})))
    assert (found.n, found.bias) == (1, 2.0)


def test_files_without_a_common_answer_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="share no answer"):
        held(tmp_path, over_questions([1.0], "a"), over_questions([1.0], "b"))


def test_the_verb_prints_what_it_found_and_the_gate_says_no(tmp_path: Path) -> None:
    true = over_questions([float(1 + n % 10) for n in range(40)])
    constant = written(tmp_path / "eight.jsonl", over_questions([8.0] * 40))
    against = written(tmp_path / "gpt.jsonl", true)
    words = ["eval", "calibrate-judge", str(constant), "--against", str(against)]
    found = CliRunner().invoke(cli, [*words, "--json"])
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["usable"] is False
    gated = CliRunner().invoke(cli, [*words, "--json", "--require-spearman", "0.5"])
    assert isinstance(gated.exception, GateFailed)
    assert "undefined" in str(gated.exception)
    assert json.loads(gated.stdout)["spearman"] is None
    told = CliRunner().invoke(cli, words)
    assert "not usable: the judge gives every answer 8" in told.stdout.replace("\n", " ")


def test_a_gate_that_is_met_says_nothing(tmp_path: Path) -> None:
    true = written(tmp_path / "a.jsonl", over_questions([float(n) for n in range(40)]))
    words = ["eval", "calibrate-judge", str(true), "--against", str(true), "--require-spearman", "0.99"]
    assert CliRunner().invoke(cli, words).exit_code == 0

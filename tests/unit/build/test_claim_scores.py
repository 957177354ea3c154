"""What evaluations show of the claims about scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgellm.build.claims import claims_of
from edgellm.records.claims import Case, ClaimFound
from edgellm.records.evals import EvalResult, ItemRecord
from edgellm.store import catalogue
from edgellm.store.results import save
from eval_results import JUDGE, evaluation, scores_around

OURS, THEIRS = "llm-jp-4-32b-a3b", "gpt-oss-20b"
ALONE, OVER = "Japanese MT-Bench", "Japanese MT-Bench over gpt-oss-20b's"


def found(folder: Path, name: str, *results: EvalResult) -> ClaimFound:
    for result in results:
        save(result, folder)
    return next(claim for claim in claims_of(folder).claims if claim.id == name)


def cases(claim: ClaimFound, measure: str) -> list[Case]:
    return [case for case in claim.cases if case.measure == measure]


def steady(mean: float, items: int = 400, **more: Any) -> EvalResult:
    """A score whose interval is narrow."""
    return evaluation({f"q{n}": (mean + 0.1, mean - 0.1) for n in range(items)}, **more)


def test_a_score_near_the_reported_one_meets_and_another_misses(tmp_path: Path) -> None:
    for score, status in ((7.75, "met"), (6.9, "missed")):
        claim = found(tmp_path / status, "llmjp4-jmt", steady(score, recipe=OURS))
        (case,) = cases(claim, ALONE)
        assert (case.status, case.test) == (status, "edgellm")
        assert case.value is not None
        assert case.value.value == pytest.approx(score)
        assert "judged by judge-8b" in case.how


def test_a_protocol_that_divides_by_ten_is_held_against_points_of_ten(tmp_path: Path) -> None:
    tenth = steady(0.775, recipe=OURS, scale=1.0, protocol="swallow")
    (case,) = cases(found(tmp_path, "llmjp4-jmt", tenth), ALONE)
    assert case.value is not None
    assert case.value.value == pytest.approx(7.75)


def test_a_ratio_is_taken_of_scores_that_were_judged_alike(tmp_path: Path) -> None:
    theirs = evaluation(scores_around(5.0), recipe=THEIRS)
    other_judge = evaluation(scores_around(2.0), recipe=THEIRS, judge=JUDGE.model_copy(update={"name": "gpt-4"}))
    claim = found(tmp_path, "japan-specialist", evaluation(scores_around(5.5), recipe=OURS), theirs, other_judge)
    (case,) = cases(claim, OVER)
    assert case.value is not None
    assert case.value.value == pytest.approx(5.5 / 5.0, rel=0.05)
    assert case.value.low > 1
    assert (case.status, claim.status) == ("met", "met")
    assert len(case.files) == 2


def test_the_newest_score_of_one_artifact_counts(tmp_path: Path) -> None:
    newer = steady(7.8, recipe=OURS, created="2026-11-23T10:00:00+00:00")
    (case,) = cases(found(tmp_path, "llmjp4-jmt", newer, steady(3.0, recipe=OURS)), ALONE)
    assert case.value is not None
    assert case.value.value == pytest.approx(7.8)


def test_some_of_the_items_decide_nothing(tmp_path: Path) -> None:
    limited = steady(7.8, recipe=OURS, settings={"limit": 5})
    assert [case.status for case in cases(found(tmp_path, "llmjp4-jmt", limited), ALONE)] == ["undecided"]


def test_a_server_is_known_by_the_name_of_its_model(tmp_path: Path) -> None:
    behind = steady(6.0, model=None, model_name="Rakuten-AI-3", target="http://127.0.0.1:8080")
    (case,) = cases(found(tmp_path, claim_of("rakuten-ai-3"), behind), ALONE)
    assert case.device == "Rakuten-AI-3 at http://127.0.0.1:8080"


def claim_of(recipe: str) -> str:
    for claim in catalogue.load_claims().claims:
        for measure in claim.measures:
            if measure.metric.kind == "score" and measure.metric.recipe == recipe and measure.metric.over is None:
                return claim.id
    raise AssertionError(recipe)


def test_types_of_one_and_two_bits_are_held_against_sixteen(tmp_path: Path) -> None:
    one = evaluation(scores_around(4.0), recipe="llm-jp-4-33b", file_type="IQ1_M")
    four = evaluation(scores_around(4.9), recipe="llm-jp-4-33b", file_type="Q4_K_M")
    half = evaluation(scores_around(5.0), recipe="llm-jp-4-33b", file_type="BF16")
    (case,) = cases(found(tmp_path, "takane-1bit", one, four, half), "accuracy kept")
    assert "IQ1_M" in case.variant
    assert case.value is not None
    assert case.value.value == pytest.approx(0.8, rel=0.05)
    assert case.status == "missed"


def test_an_exam_counts_in_percent(tmp_path: Path) -> None:
    records = tuple(ItemRecord(id=str(n), score=float(n % 1000 < 707)) for n in range(20_000))
    exam = evaluation(
        {}, recipe="plamo-2.2-prime", suite="exam", protocol="exam", scale=1.0, judge=None, records=records,
        score={"mean": 0.707, "low": 0.7, "high": 0.714}, items=20_000,
    )  # fmt: skip
    claim = found(tmp_path, "plamo-jmle", exam)
    assert claim.cases[0].value is not None
    assert claim.cases[0].value.value == pytest.approx(70.7)
    assert claim.status == "met"


def test_random_weights_show_nothing(tmp_path: Path) -> None:
    made = steady(7.8, recipe=OURS)
    assert made.model is not None
    random = made.model_copy(update={"model": made.model.model_copy(update={"random_weights": True})})
    assert cases(found(tmp_path, "llmjp4-jmt", random), ALONE) == []
    assert any("the weights are random" in left.reason for left in claims_of(tmp_path).not_counted)

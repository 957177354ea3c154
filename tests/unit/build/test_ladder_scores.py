"""What the types of a ladder answer, held against the base artifact item by item."""

from __future__ import annotations

import pytest

from edgellm.build.eval_models import Asked
from edgellm.build.ladder_scores import Suites, change, flips_between, items_for, scores_of
from edgellm.errors import UsageError
from edgellm.records.evals import ItemRecord
from eval_results import JUDGE, evaluation, scores_around


def answers(*right: bool) -> list[ItemRecord]:
    return [ItemRecord(id=str(i), score=float(r), detail={"chosen": int(r)}) for i, r in enumerate(right)]


def test_flips_are_items_that_one_alone_has_right() -> None:
    found = flips_between(answers(True, True, False, False), answers(True, False, True, False))
    assert (found.flips, found.items, found.to_wrong, found.to_right) == (2, 4, 1, 1)
    assert (found.accuracy_percent, found.reference_accuracy_percent) == (50.0, 50.0)  # which hide both flips
    assert found.percent.value == 50.0
    assert found.percent.low < 50.0 < found.percent.high


def test_the_change_is_paired_by_item() -> None:
    """Items differ by several points, the change is the same in each."""
    found = change(evaluation(scores_around(5.0)), evaluation(scores_around(5.0, shift=-0.3)))
    assert found is not None
    assert found.value == pytest.approx(-0.3)
    assert found.high < 0
    (score,) = scores_of({"s": evaluation(scores_around(5.0))}, {"s": evaluation(scores_around(5.0))}).values()
    assert score.change is not None
    assert (score.change.value, score.change.low) == (0.0, 0.0)


def test_another_judge_s_scores_are_not_taken_for_the_same() -> None:
    other = evaluation(scores_around(5.0), judge=JUDGE.model_copy(update={"name": "another"}))
    with pytest.raises(UsageError, match="differ in judge"):
        change(evaluation(scores_around(5.0)), other)


def test_with_a_judge_the_judged_suite_is_asked_too() -> None:
    assert Suites(("register",)).all_names == ["register"]
    assert Suites(("register",), Asked("http://127.0.0.1:1")).all_names == ["register", "mt-bench-ja"]


def test_a_limit_takes_the_first_items() -> None:
    assert items_for(3) == items_for(None)[:3]
    assert len(items_for(None)) > 50

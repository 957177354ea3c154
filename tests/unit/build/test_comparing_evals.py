"""Scores are compared item by item, and only where suite, protocol, judge and items are the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench_results import BUSY, dense
from edgellm.build.comparing import compare
from edgellm.errors import UsageError
from edgellm.records.comparison import Comparison
from edgellm.records.evals import EvalResult
from edgellm.store.results import save
from eval_results import JUDGE, evaluation, scores_around


def compared(folder: Path, a: EvalResult, b: EvalResult, test: str | None = None) -> Comparison:
    return compare(save(a, folder / "a.json"), save(b, folder / "b.json"), test)


def test_a_small_difference_on_the_same_items_is_seen(tmp_path: Path) -> None:
    found = compared(tmp_path, evaluation(scores_around(5.0)), evaluation(scores_around(5.0, shift=-0.3)))
    assert (found.test, found.verdict) == ("score", "B is worse")
    assert found.difference is not None
    assert found.difference.value == pytest.approx(-0.3)
    assert found.difference.high < 0  # though items differ from each other by several points
    assert found.ratio is not None
    assert found.ratio.value == pytest.approx(found.tests[0].b / found.tests[0].a)
    assert [row.test for row in found.tests] == ["score", "score coding", "score writing"]


def test_items_that_go_up_and_down_alike_show_no_difference(tmp_path: Path) -> None:
    a = scores_around(5.0)
    b = {item: [(t or 0) + (1 if n % 2 else -1) for t in turns] for n, (item, turns) in enumerate(a.items())}
    assert compared(tmp_path, evaluation(a), evaluation(b)).verdict == "no difference seen"


def test_the_turns_of_an_item_are_no_evidence_of_their_own(tmp_path: Path) -> None:
    few = {f"q{n}": (4.0,) * 30 for n in range(3)}
    more = {"q0": (6.0,) * 30, "q1": (6.0,) * 30, "q2": (3.5,) * 30}
    assert compared(tmp_path, evaluation(few), evaluation(more)).verdict == "no difference seen"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"suite": "ifeval-ja"}, "suites differ: mt-bench-ja and ifeval-ja"),
        ({"protocol": "nejumi"}, "protocols differ: edgellm and nejumi"),
        ({"judge": None}, "judges differ: judge-8b and none"),
        ({"judge": JUDGE.model_copy(update={"name": "gpt-4"})}, "judges differ: judge-8b and gpt-4"),
        ({"judge": JUDGE.model_copy(update={"model_sha256": "sha256:f"})}, "judges differ in model sha256"),
        ({"judge": JUDGE.model_copy(update={"prompts_sha256": "x"})}, "judges differ in prompts sha256"),
        ({"judge": JUDGE.model_copy(update={"temperature": 0.7})}, "judges differ in temperature: 0.0 and 0.7"),
        ({"items_sha256": "sha256:" + "9" * 64}, "items differ"),
        ({"protocol_sha256": "sha256:" + "9" * 64}, "prompts, sampling or rules of the protocol edgellm differ"),
    ],
)
def test_unlike_evaluations_are_refused_with_the_reason(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    scores = scores_around(5.0)
    with pytest.raises(UsageError, match=f"cannot be compared, because the {words}"):
        compared(tmp_path, evaluation(scores), evaluation(scores, **changes))


def test_only_what_both_have_is_compared_and_the_rest_is_told(tmp_path: Path) -> None:
    whole = scores_around(5.0)
    part = {item: (turns[0], None) if item == "q0" else turns for item, turns in scores_around(5.0, 12).items()}
    found = compared(tmp_path, evaluation(whole), evaluation(part, settings={"limit": 12}))
    assert "12 items" in found.tests[0].how
    assert found.difference is not None
    assert found.difference.value == 0.0
    assert any("17 scores of A are left out" in note for note in found.notes)
    assert any("limit unknown and 12" in note for note in found.notes)
    assert any("A's score is" in note for note in found.notes)


def test_evaluations_without_an_item_in_common_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no test in common"):
        compared(tmp_path, evaluation({"a": (1.0, 2.0)}), evaluation({"b": (1.0, 2.0)}))


def test_one_item_decides_nothing(tmp_path: Path) -> None:
    found = compared(tmp_path, evaluation({"a": (1.0, 1.0)}), evaluation({"a": (9.0, 9.0)}))
    assert found.verdict == "not known"


def test_nothing_is_a_multiple_of_a_score_of_zero(tmp_path: Path) -> None:
    a, b = ({f"q{n}": (value, value) for n in range(10)} for value in (0.0, 1.0))
    found = compared(tmp_path, evaluation(a), evaluation(b))
    assert (found.ratio, found.verdict) == (None, "B is better")


def test_a_score_that_does_not_hold_is_noted(tmp_path: Path) -> None:
    scores = scores_around(5.0)
    some_failed = {item: (None, turns[1]) if item < "q15" else turns for item, turns in scores.items()}
    found = compared(tmp_path, evaluation(scores), evaluation(some_failed))
    assert any(note.startswith("B does not hold") and "have no score" in note for note in found.notes)


def test_folders_compare_alike_with_alike_and_say_what_cannot_be(tmp_path: Path) -> None:
    for folder, shift in (("old", 0.0), ("new", 0.5)):
        save(evaluation(scores_around(5.0, shift=shift)), tmp_path / folder)
        save(evaluation(scores_around(5.0), file_type="Q8_0", items_sha256=f"sha256:{folder}"), tmp_path / folder)
        save(dense({1: 5.0}, reasons=[BUSY]), tmp_path / folder)
    found = compare(tmp_path / "old", tmp_path / "new", "score")
    assert [(row.verdict, row.model) for row in found.tests] == [
        ("B is better", "llm-jp-4-8b-Q4_K_M Q4_K_M mt-bench-ja edgellm")
    ]
    assert any("the items differ" in note for note in found.notes)
    for folder in ("old", "new"):
        save(evaluation(scores_around(5.0), items_sha256=f"sha256:{folder}"), tmp_path / f"{folder}-alone")
    with pytest.raises(UsageError, match="the items differ"):
        compare(tmp_path / "old-alone", tmp_path / "new-alone")

"""What comes of comparing pairs: who wins, and when the judge is not to be believed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import pytest

from edgellm.errors import BadInput
from edgellm.evals.mt_bench_ja.files import Answers, Question, write_answers
from edgellm.evals.pairwise import pairs_of, read_side, tally
from edgellm.evals.pairwise_prompt import choice_in, prompt
from edgellm.records.judging import Comparison

QUESTIONS = [Question("1", "writing", ("一つ目", "二つ目")), Question("2", "math", ("三つ目",))]
Said = Literal["a", "b", "tie", ""]


def compared(number: int, first: Said, second: Said, category: str = "math") -> Comparison:
    preferred = None if not first or not second else first if first == second else "tie"
    return Comparison(
        id=str(number), category=category, turn=1, preferred=preferred, first=first, second=second,
        status="ok" if preferred else "failed",
    )  # fmt: skip


def answers(path: Path, model: str, *texts: tuple[str, ...]) -> Path:
    write_answers(path, [Answers(str(n), model, (turns,)) for n, turns in enumerate(texts, 1)])
    return path


def test_wins_need_both_orders_and_ties_count_half() -> None:
    found = [compared(1, "b", "b"), compared(2, "b", "b"), compared(3, "a", "a"), compared(4, "a", "b")]
    counted = tally(found, "A", "B")
    assert (counted.wins_a, counted.wins_b, counted.ties, counted.inconsistent) == (1, 2, 1, 1)
    assert counted.win_rate_b is not None
    assert counted.win_rate_b.mean == pytest.approx(2.5 / 4)


def test_a_preference_and_a_tie_are_a_tie_but_no_change_of_mind() -> None:
    counted = tally([compared(1, "a", "tie")], "A", "B")
    assert (counted.ties, counted.inconsistent) == (1, 0)


def test_what_cannot_be_read_is_left_out() -> None:
    counted = tally([compared(1, "b", "b"), compared(2, "", "b")], "A", "B")
    assert (counted.failed, counted.wins_b, counted.ties) == (1, 1, 0)
    assert counted.win_rate_b is not None
    assert counted.win_rate_b.mean == 1


def test_the_sign_test_leaves_ties_out() -> None:
    found = [compared(n, "b", "b") for n in range(10)] + [compared(n, "tie", "tie") for n in range(10, 90)]
    counted = tally(found, "A", "B")
    assert counted.sign_test_p == pytest.approx(2 / 2**10)
    assert counted.verdict.startswith("B is preferred")


def test_equal_wins_are_no_difference() -> None:
    found = [compared(n, "b", "b") if n % 2 else compared(n, "a", "a") for n in range(20)]
    assert tally(found, "A", "B").verdict.startswith("no difference seen")


def test_a_judge_by_position_is_exposed() -> None:
    counted = tally([compared(n, "a", "b") for n in range(12)], "A", "B")
    assert (counted.position_biased, counted.prefers_first, counted.ties) == (True, 1.0, 12)
    assert "goes by position" in counted.verdict
    last = tally([compared(n, "b", "a") for n in range(12)], "A", "B")
    assert (last.position_biased, last.prefers_first) == (True, 0.0)


def test_changes_of_mind_in_both_directions_are_no_position() -> None:
    found = [compared(n, "a", "b") if n % 2 else compared(n, "b", "a") for n in range(12)]
    assert not tally(found, "A", "B").position_biased


def test_categories_are_counted_apart() -> None:
    counted = tally([compared(1, "b", "b", "math"), compared(2, "a", "a", "writing")], "A", "B").per_category
    assert (counted["math"].wins_b, counted["writing"].wins_a, counted["math"].win_rate_b) == (1, 1, 1.0)


def test_nothing_that_can_be_read_is_said() -> None:
    counted = tally([compared(1, "", "")], "A", "B")
    assert (counted.win_rate_b, counted.failed) == (None, 1)
    assert "nothing is known" in counted.verdict


def test_answer_files_are_matched_turn_by_turn(tmp_path: Path) -> None:
    a = read_side(answers(tmp_path / "a.jsonl", "f16", ("あ", "い"), ("う",)))
    b = read_side(answers(tmp_path / "b.jsonl", "q4", ("か", "き")))
    pairs, unmatched = pairs_of(a, b, QUESTIONS)
    assert (a.name, b.name, unmatched) == ("f16", "q4", 1)
    assert [(pair.place, pair.questions, pair.a, pair.b) for pair in pairs] == [
        (("1", 0, 1), ("一つ目",), ("あ",), ("か",)),
        (("1", 0, 2), ("一つ目", "二つ目"), ("あ", "い"), ("か", "き")),
    ]


def test_answers_to_unknown_questions_are_an_error(tmp_path: Path) -> None:
    side = read_side(answers(tmp_path / "a.jsonl", "m", ("あ",)))
    with pytest.raises(BadInput, match="no question 1 with a turn 1"):
        pairs_of(side, side, [])


def test_files_without_a_common_question_are_an_error(tmp_path: Path) -> None:
    a = read_side(answers(tmp_path / "a.jsonl", "m", ("あ",)))
    write_answers(tmp_path / "b.jsonl", [Answers("9", "m", (("い",),))])
    with pytest.raises(BadInput, match="no answer to the same question"):
        pairs_of(a, read_side(tmp_path / "b.jsonl"), QUESTIONS)


def test_a_file_with_several_models_needs_a_name(tmp_path: Path) -> None:
    write_answers(tmp_path / "a.jsonl", [Answers("1", "x", (("あ",),)), Answers("1", "y", (("い",),))])
    with pytest.raises(BadInput, match="answers of x, y"):
        read_side(tmp_path / "a.jsonl")
    assert read_side(tmp_path / "a.jsonl", "y").answers == {("1", 0, 1): "い"}


def test_a_document_that_is_no_result_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"kind": "engine"}')
    with pytest.raises(BadInput, match="neither a result"):
        read_side(tmp_path / "a.json")


def test_the_prompt_shows_both_answers_in_their_order() -> None:
    text = prompt(["依頼文"], ["答え甲"], ["答え乙"], structured=False)
    assert text.index("依頼文") < text.index("答え甲") < text.index("答え乙")
    both = prompt(["一", "二"], ["甲1", "甲2"], ["乙1", "乙2"], structured=True)
    assert both.index("甲1") < both.index("甲2") < both.index("乙1") < both.index("乙2")


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("[[A]]", "first"),
        ("理由。\n［［Ｂ］］", "second"),
        ("[[A]]かと思いましたが [[C]]", "tie"),
        ("Aです", None),
        ("[[D]]", None),
    ],
)
def test_the_last_choice_of_a_text_counts(text: str, choice: str | None) -> None:
    assert choice_in(text, structured=False) == choice


def test_a_structured_choice_is_read() -> None:
    assert choice_in(json.dumps({"explanation": "…", "better": "B"}), structured=True) == "second"
    assert choice_in("[[A]]", structured=True) is None

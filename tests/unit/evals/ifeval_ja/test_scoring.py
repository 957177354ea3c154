from __future__ import annotations

import sys

import pytest

from edgellm.evals.ifeval_ja.files import Given, Item
from edgellm.evals.ifeval_ja.given import given_outcome
from edgellm.evals.ifeval_ja.registry import instruction
from edgellm.evals.ifeval_ja.scoring import Answer, judge, outcome, variants

NO_COMMA = instruction("ja:punctuation:no_comma", {})
QUOTED = instruction("ja:startend:quotation", {})
WORD = instruction("ja:keywords:existence", {"keywords": ["海"]})
BOTH, ONE = Item("1", "海を", (NO_COMMA, QUOTED)), Item("2", "山を", (NO_COMMA,))


def test_the_eight_variants_are_with_and_without_first_line_last_line_and_asterisks() -> None:
    assert variants("一*\n二*\n三*") == (
        "一*\n二*\n三*", "一\n二\n三", "二*\n三*", "二\n三", "一*\n二*", "一\n二", "二*", "二",
    )  # fmt: skip


@pytest.mark.parametrize("text", ["はい。\n「海」", "「海」\n以上です", "はい。\n「海」\n以上です", "*「海」*"])
def test_the_loose_verdict_forgives_what_stands_around_the_answer(text: str) -> None:
    found = judge(Item("1", "海を", (QUOTED,)), text)
    assert (found.strict, found.loose) == ((False,), (True,))


def test_each_instruction_may_take_a_variant_of_its_own() -> None:
    assert judge(BOTH, "はい、\n「海」").loose == (True, True)


def test_scores_are_shares_of_prompts_and_of_instructions() -> None:
    found = outcome([BOTH, ONE], {"1": Answer("「海、」", {}), "2": Answer("山", {})})
    assert found.strict is not None
    assert (found.strict.prompt, found.strict.instruction) == (1 / 2, 2 / 3)
    assert found.score is not None
    assert found.score.mean == 1 / 2
    assert {group: score.mean for group, score in found.categories.items()} == {"punctuation": 1 / 2, "startend": 1.0}
    assert [(record.score, record.category) for record in found.records] == [(0.0, "combined"), (1.0, "punctuation")]


@pytest.mark.parametrize(
    ("text", "status"),
    [(None, "failed"), (" ", "empty"), ("申し訳ありませんが、お答えできません。", "refused"), ("海", "ok")],
)
def test_answers_that_say_nothing_are_told_apart_and_count(text: str | None, status: str) -> None:
    (record,) = outcome([ONE], {"2": Answer(text, {})}).records
    assert record.status == status
    assert record.score is not None


def test_without_its_library_a_rule_is_unscored_and_never_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "janome", None)
    items = [Item("1", "海を", (WORD,)), Item("2", "山を", (WORD, QUOTED)), Item("3", "川を", (NO_COMMA,))]
    found = outcome(items, {key: Answer("海", {}) for key in "12"})
    assert [(record.status, record.score) for record in found.records] == [
        ("unscored", None), ("ok", 0.0), ("failed", 0.0),
    ]  # fmt: skip
    assert found.strict is not None
    assert found.strict.instruction == 0.0
    assert any("janome" in note for note in found.notes)


def test_prompts_without_a_response_are_named_and_count_as_not_followed() -> None:
    found = given_outcome([BOTH, ONE], {"2": Given("山")}, strangers=1)
    assert found.strict is not None
    assert found.strict.prompt == 1 / 2
    assert found.notes == [
        "1 of 2 prompts have no response and count as not followed: 1",
        "1 row answers no prompt of the items and is left out",
    ]


def test_verdicts_beside_the_responses_are_compared_with_ours() -> None:
    given = {"1": Given("はい。\n「海」", (True, False)), "2": Given("山、", (True,))}
    found = given_outcome([BOTH, ONE], given, strangers=0)
    assert found.measures["verdicts_given"] == 3
    assert found.measures["verdicts_equal_strict"] == 2
    assert found.measures["verdicts_equal_loose"] == 1
    assert "taken for strict ones: 2 of 3 are equal to ours; they differ at 2" in found.notes[-1]

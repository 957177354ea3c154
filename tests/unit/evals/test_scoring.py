"""Means, their intervals, and what is taken off an answer before it is scored."""

from __future__ import annotations

import numpy as np
import pytest

from edgellm.evals.scoring import by_category, is_refusal, mean_score, strip_thinking
from edgellm.records.evals import ItemRecord


def test_the_mean_lies_within_an_interval_of_the_expected_width() -> None:
    values = [0.0, 1.0] * 200
    found = mean_score(values)
    assert found.mean == 0.5
    expected = 1.96 * 0.5 / np.sqrt(400)
    assert found.low == pytest.approx(0.5 - expected, abs=0.01)
    assert found.high == pytest.approx(0.5 + expected, abs=0.01)


def test_repeats_of_one_item_do_not_make_the_interval_narrower() -> None:
    items = [float(n % 10) for n in range(40)]
    once = mean_score(items)
    five_times = mean_score([v for v in items for _ in range(5)], [str(n) for n in range(40) for _ in range(5)])
    as_if_independent = mean_score([v for v in items for _ in range(5)])
    assert five_times.mean == once.mean
    assert five_times.high - five_times.low == pytest.approx(once.high - once.low)
    assert as_if_independent.high - as_if_independent.low < 0.6 * (once.high - once.low)


def test_one_item_has_no_interval() -> None:
    found = mean_score([3.0, 5.0], ["a", "a"])
    assert (found.mean, found.low, found.high) == (4.0, 4.0, 4.0)


def test_no_value_has_no_mean() -> None:
    with pytest.raises(ValueError, match="no value"):
        mean_score([])


def test_categories_are_means_of_what_was_scored_in_the_order_of_their_first_items() -> None:
    records = [
        ItemRecord(id="1", category="writing", turn=1, score=8.0),
        ItemRecord(id="1", category="writing", turn=2, score=6.0),
        ItemRecord(id="2", category="coding", score=2.0),
        ItemRecord(id="3", category="coding", status="failed"),
        ItemRecord(id="4", category="math", status="unscored"),
    ]
    found = by_category(records)
    assert {name: score.mean for name, score in found.items()} == {"writing": 7.0, "coding": 2.0}
    assert list(found) == ["writing", "coding"]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>まず考える。\n次に…</think>\n\n答えは 3 です。", "答えは 3 です。"),
        ("<thinking>hmm</thinking>42", "42"),
        ("考えは前置きで始まっていた。</think>答え", "答え"),  # the template wrote the opening tag
        ("<think>切れた考え", ""),
        ("前半。\n<think>途中で切れた", "前半。"),
        ("<think>一</think>あ<think>二</think>い", "あい"),
        ("タグ <think> は思考を囲みます。", "タグ <think> は思考を囲みます。"),
        ("  そのまま。\n", "  そのまま。\n"),
        ("", ""),
    ],
)
def test_thinking_is_taken_off_and_nothing_else(text: str, answer: str) -> None:
    found, taken = strip_thinking(text)
    assert found == answer
    assert taken == len(text) - len(answer)


@pytest.mark.parametrize(
    "text",
    [
        "申し訳ありませんが、そのご質問にはお答えできません。",
        "すみません、その件についてはお手伝いできません。",
        "恐れ入りますが、当該内容の提供はいたしかねます。",
        "その依頼への回答は差し控えさせていただきます。",
        "I'm sorry, but I can't assist with that.",
        "I’m sorry, I cannot help with this request.",
        "I am unable to provide that information.",
    ],
)
def test_a_refusal_is_seen(text: str) -> None:
    assert is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "はい、できます。手順は次のとおりです。",
        "この方程式は整数の範囲では解けません。",
        "納期が遅れ、大変申し訳ございません。来週月曜日にお届けいたします。",
        "この数は割り切れないので、余りは 2 です。",
        "You cannot divide by zero, so the limit does not exist.",
        "申し訳ありませんが、断定はできません。" + "ただし、考えられる原因と対策を順に説明します。" * 15
        + "個別の診断にはお答えできません。",
    ],
)  # fmt: skip
def test_an_answer_that_says_no_is_not_yet_a_refusal(text: str) -> None:
    assert not is_refusal(text)

"""The choice that an answer in words settles on."""

from __future__ import annotations

import pytest

from edgellm.evals.choice.extraction import stated_choice
from edgellm.evals.choice.items import CAPITALS, SMALL, ChoiceItem

NUMBERED = ChoiceItem("x", "赤いのは？", ("空", "りんご", "雪", "夜空"), 1)
LETTERED = ChoiceItem("x", "一足す二は？", ("1", "2", "3", "4"), 2, labels=CAPITALS)
SMALL_LETTERED = ChoiceItem("x", "正しいのは？", ("肺", "胃", "皮膚", "骨", "耳"), 2, labels=SMALL)


@pytest.mark.parametrize(
    ("answer", "index"),
    [
        ("2", 1),
        ("２", 1),
        ("②", 1),
        ("2.", 1),
        ("2番です。", 1),
        ("（2）", 1),
        ("**2**", 1),
        ("「2」", 1),
        ("B", 1),
        ("ｂ", 1),
        ("イ", 1),
        ("ｲ", 1),
        ("答え：2", 1),
        ("答えは2", 1),
        ("答えは３", 2),
        ("答えは、3番です。", 2),
        ("**答え**：3", 2),
        ("「答え」：3", 2),
        ("正解は「イ」です。", 1),
        ("正解は選択肢4です。", 3),
        ("正解は選択肢の4です。", 3),
        ("【回答】④", 3),
        ("Answer: B", 1),
        ("The correct answer is C.", 2),
        ("よって、3です。", 2),
        ("最終的な答えは $\\boxed{2}$ です。", 1),
        ("答えはりんごです。", 1),
        ("答えは「夜空」です。", 3),
        ("りんご", 1),
        ("りんごです。", 1),
        ("2. りんご", 1),
        ("赤い果物といえばりんごでしょう。", 1),
        ("夜空", 3),
        ("2\n\n空や雪は赤くないからです。", 1),
        ("空は青く、雪は白いので、残りを考えます。\n答え：2", 1),
        ("選択肢1は青いので誤り。選択肢2が正しい。", 1),
        ("答えは1のように見えます。しかし、よく考えると答えは2です。", 1),
        ("答え：1\n訂正します。\n答え：2", 1),
        ("答えは1ではなく、2です。答えは2。", 1),
        ("答えは三です。", 2),
    ],
)
def test_the_last_stated_choice_is_found(answer: str, index: int) -> None:
    assert stated_choice(answer, NUMBERED) == index


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "分かりません。",
        "3つの理由があります。",
        "空とりんごのどちらかです。",
        "答えは5です。",
        "答えは12です。",
        "答えは2つあります。",
        "正解を一つ選んでください。",
        "よって3日後になります。",
        "答えは1ではありません。",
        "The answer is a fruit.",
        "アイスクリームのことです。",
        "選択肢1が正しくないことは分かります。",
    ],
)
def test_an_answer_that_settles_on_nothing_names_no_choice(answer: str) -> None:
    assert stated_choice(answer, NUMBERED) is None


@pytest.mark.parametrize(
    ("answer", "index"), [("答えは3です。", 2), ("C", 2), ("答え：C", 2), ("3", 2), ("答えは４", 3)]
)
def test_a_number_is_a_choices_words_where_choices_are_numbers(answer: str, index: int) -> None:
    assert stated_choice(answer, LETTERED) == index


def test_a_number_that_is_no_choice_names_none_where_choices_are_numbers() -> None:
    item = ChoiceItem("x", "偶数は？", ("20", "30", "40", "50"), 0, labels=CAPITALS)
    assert stated_choice("答えは3です。", item) is None


@pytest.mark.parametrize(
    ("answer", "index"), [("c", 2), ("ｃ", 2), ("【回答】ｃ", 2), ("正解はeです", 4), ("答えは胃", 1)]
)
def test_small_letters_are_read(answer: str, index: int) -> None:
    assert stated_choice(answer, SMALL_LETTERED) == index


def test_a_choice_that_ends_like_a_counter_is_read() -> None:
    item = ChoiceItem("x", "道を尋ねるなら？", ("交番", "酒屋", "畑", "川"), 0)
    assert stated_choice("交番", item) == 0

from __future__ import annotations

import pytest

from edgellm.errors import BadInput
from edgellm.evals.checkers import check


def text(answer: str, accept: list[str], reject: list[str] | None = None) -> float | None:
    return check({"kind": "text", "accept": accept, "reject": reject or []}, answer).score


SATO = (["佐藤"], ["鈴木"])


@pytest.mark.parametrize(
    "answer",
    [
        "答え：佐藤さんです。",
        "鈴木さんは違います。\nよって、犯人は佐藤さんです。",
        "犯人は鈴木さんではなく、佐藤さんです。",
        "**佐藤**",
        "【回答】\n佐藤",
        "答え：鈴木\n訂正します。\n答え：佐藤",
    ],
)
def test_a_name_that_is_stated(answer: str) -> None:
    assert text(answer, *SATO) == 1


@pytest.mark.parametrize(
    "answer",
    [
        "答え：鈴木さんです。",
        "犯人は佐藤さんではなく、鈴木さんです。",
        "佐藤と鈴木の両方です",
        "わかりません",
        "答え：田中\n佐藤さんは嘘つきです。",
        "答え：佐藤\n訂正します。\n答え：鈴木",
        "佐藤さんではありません。",
    ],
)
def test_a_name_that_is_not(answer: str) -> None:
    assert text(answer, *SATO) == 0


def test_letters_and_digits_are_words_of_their_own() -> None:
    assert text("答え：**Ｂ**", ["B"]) == 1
    assert text("Because it is so.", ["B"]) == 0
    assert text("答え: 13", ["3"]) == 0


def test_a_rejected_word_inside_an_accepted_one_does_not_count() -> None:
    assert text("東京都", ["東京都"], ["京都"]) == 1
    assert text("京都です", ["東京都"], ["京都"]) == 0


def test_yes_and_no() -> None:
    assert text("はい、できます。", ["はい"], ["いいえ"]) == 1
    assert text("いいえ。", ["はい"], ["いいえ"]) == 0


def test_a_check_that_accepts_nothing_is_an_error() -> None:
    with pytest.raises(BadInput, match="accepts nothing"):
        text("x", [])


def test_contains_wants_all_and_none() -> None:
    spec = {"kind": "contains", "all": ["雨", ["傘", "カサ"]], "none": ["雪"]}
    assert check(spec, "雨なので、ｶｻ を持つ").score == 1
    assert check(spec, "雨なので出かけない").score == 0
    assert check(spec, "雨と雪なので傘").score == 0

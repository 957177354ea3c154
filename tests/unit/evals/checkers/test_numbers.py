"""The number that a Japanese answer states, in all the ways in which people and models write it."""

from __future__ import annotations

from typing import Any

import pytest

from edgellm.errors import BadInput
from edgellm.evals.checkers import check

STATED = [
    ("360", "円", "答え：360円"),
    ("360", "円", "**答え：** ３６０円です。"),
    ("360", "円", "3×120=360\nよって、合計は360円です。なお、1個あたりは120円です。"),
    ("123456", "円", "答え: 12万3,456円"),
    ("120000", "円", "合計は12万円になります。"),
    ("150000000", "円", "1.5億円"),
    ("12000", "円", "1万2千円"),
    ("30000000", "円", "3千万円"),
    ("2500", "円", "2千5百円"),
    ("12", "万円", "答え：12万円"),
    ("12", "万円", "答え：12"),
    ("120000", "円", "答えは十二万円です。"),
    ("12", "個", "答えは十二個です"),
    ("3", "個", "三個です"),
    ("105", "", "百五"),
    ("0.25", "", "答え：25%"),
    ("0.25", "", "答えは1/4です"),
    ("1/4", "", "4分の1です"),
    ("1/4", "", "答え：四分の一"),
    ("1/3", "", "1/3"),
    ("25", "%", "答え：25％"),
    ("25", "%", "25パーセント"),
    ("30", "%", "3割です"),
    ("12.5", "%", "答え：12.5 %"),
    ("90", "分", "答え：1時間30分"),
    ("1.5", "時間", "答え：1時間30分です"),
    ("1.5", "時間", "90分かかります。"),
    ("250", "cm", "2m50cm"),
    ("1500", "m", "答え：1.5km"),
    ("0.8", "L", "800mL"),
    ("12", "㎡", "面積は12m²です"),
    ("12", "m²", "12 m^2"),
    ("12", "㎡", "12平方メートル"),
    ("360", "円", "\\boxed{360}"),
    ("360", "円", "$$\\boxed{360\\text{円}}$$ です。"),
    ("3/4", "", "\\[ \\frac{3}{4} \\]"),
    ("0.5", "", "答え：$\\boxed{\\frac{1}{2}}$"),
    ("360", "円", "答えは300円ではなく、360円です。"),
    ("42", "", "答え：42\n\n解説：6×7で、7は素数です。"),
    ("42", "", "最初の答え：40\n計算し直すと\n答え：42"),
    ("360", "円", "## 答え\n\n360円"),
    ("360", "円", "【答え】360円"),
    ("360", "円", "【回答】\n360円"),
    ("360", "円", "答え：360円（1個120円×3個）"),
    ("360", "円", "答え：1個120円なので、合計360円です"),
    ("360", "円", "答え：120×3=360円。1個120円が3個です。"),
    ("360", "円", "**最終的な答え**：**360円**"),
    ("360", "円", "Answer: 360"),
    ("360", "円", "The final answer is 360 yen."),
    ("1200", "", "1.2×10^3"),
    ("1000000", "", "10^6通り"),
    ("100", "", "10²"),
    ("-5", "", "答え：-5"),
    ("-5", "℃", "マイナス5℃です"),
    ("-5", "", "▲5"),
    ("3", "人", "1. りんごが5個あります。\n2. 3人に分けます。\n\nしたがって、3人です。"),
    ("360", "円", "約360円"),
    ("360", "円", "¥360"),
    ("360", "円", "合計 ￥３６０"),
    ("1234567.89", "", "1,234,567.89"),
    ("7", "日", "答え：7日（1週間）"),
    ("45", "度", "45°です"),
    ("2026", "年", "西暦2026年です。"),
    ("4", "本", "したがって、必要な本数は4本です。（余り：2m）"),
    ("24", "通り", "答えは次のとおりです。\n\n24通り"),
    ("24", "通り", "4! = 4×3×2×1 = 24通り"),
    ("1000", "円", "合計金額：1000円\n- 内訳：A 400円、B 600円"),
]
NOT_STATED = [
    ("360", "円", "答え：380円"),
    ("360", "円", "360円だと思いましたが、答え：380円"),
    ("400", "円", "答え：300〜400円"),
    ("400", "円", "300円から400円です"),
    ("380", "円", "360円または380円です"),
    ("360", "円", "わかりません"),
    ("25", "", "答え：25%"),
    ("360", "円", "答え：360個"),
    ("90", "分", "答え：90時間"),
    ("36", "円", "360円"),
    ("360", "円", "3600円"),
    ("1", "個", "一般に、個数は5個です"),
    ("300", "円", "答えは300円ではなく、360円です。"),
    ("-5", "", "答え：5"),
    ("5", "", "答え：-5"),
    ("42", "", "最初の答え：42\n計算し直すと\n答え：40"),
    ("120", "円", "3×120=360\nよって、合計は360円です。"),
    ("10", "分", "時間は十分あります。"),
    ("3", "", "答え：3.5"),
    ("12", "", "1,200"),
    ("2", "", "10²です"),
    ("12", "m", "12m²"),
    ("1", "分", "3分の1"),
    ("5", "", "B5です"),
    ("12", "万円", "答え：12円"),
    ("8", "日", "期限は2024-12-08"),
    ("30", "分", "13:30,敬老のつどい"),
    ("11", "個", "電話番号は11桁です"),
    ("2", "", "A2 と A4 が残ります。\n答え：わかりません"),
]


def checked(value: str, unit: str, answer: str, **more: Any) -> float | None:
    return check({"kind": "number", "value": value, "unit": unit, "tolerance": "0"} | more, answer).score


@pytest.mark.parametrize(("value", "unit", "answer"), STATED)
def test_stated_in_many_forms(value: str, unit: str, answer: str) -> None:
    assert checked(value, unit, answer) == 1


@pytest.mark.parametrize(("value", "unit", "answer"), NOT_STATED)
def test_what_states_another_number_or_none_fails(value: str, unit: str, answer: str) -> None:
    assert checked(value, unit, answer) == 0


def test_tolerance_is_absolute_and_its_ends_count() -> None:
    assert checked("3.14", "", "答え：3.15", tolerance="0.01") == 1
    assert checked("3.14", "", "答え：3.151", tolerance="0.01") == 0


def test_the_reason_says_what_was_stated() -> None:
    found = check({"kind": "number", "value": "360", "unit": "円"}, "答え：12万円")
    assert found.reason == "it states 120000円, not 360円"


def test_an_empty_answer_has_its_own_status() -> None:
    found = check({"kind": "number", "value": "360"}, " \n")
    assert (found.score, found.status) == (0, "empty")


@pytest.mark.parametrize("spec", [{"value": "三百"}, {}, {"value": True}, {"value": "1", "tolerance": "about"}])
def test_a_check_that_cannot_be_used_is_named(spec: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=r"question 1031, turn 2"):
        check({"question_id": 1031, "turn": 2, "kind": "number"} | spec, "1")


@pytest.mark.parametrize(
    "answer", ["1" * 50_000, "一" * 50_000, "1," * 20_000, "3 " * 10_000, "1e999999999", "答え：" * 5_000]
)
@pytest.mark.timeout(30)  # read anew from each of its characters, one of these would take minutes
def test_an_answer_that_repeats_without_end_is_read(answer: str) -> None:
    assert check({"kind": "number", "value": "12", "unit": "円"}, answer).score == 0

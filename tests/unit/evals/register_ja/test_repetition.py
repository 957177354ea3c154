"""Loops are found, and text that repeats itself for a reason is none."""

from __future__ import annotations

import random

import pytest

from edgellm.evals.register_ja.repetition import compression, distinct, longest_loop, loops
from edgellm.store.catalogue import TEXTS, read_documents

PROSE = read_documents(TEXTS / "verification" / "essays.txt")[0]


@pytest.mark.parametrize(
    "text",
    [
        PROSE[:200] + "そして、" * 40,
        PROSE[:200] + "この制度は市民の暮らしを守るためにあります。" * 3,
        "はいはいはい" * 20,
        "あ" * 60,
        "\n".join(f"{i}. 担当の部署に連絡して確認をお願いします。" for i in range(1, 9)),
        "".join(f"{name}を確認します。" for name in ["機械"] * 60),
    ],
)
def test_a_loop_is_found(text: str) -> None:
    assert loops(text)


@pytest.mark.parametrize(
    "text",
    [
        PROSE,
        "いろいろな色がある。ますます増える。はい、はい、はい、分かりました。",
        "あはははははははははは、と彼は笑った。",
        "| 甲 | 乙 |\n|---|---|\n" + "\n".join(f"| 品目{i} | {i * 37 % 101}円 |" for i in range(12)),
        "-" * 200,
        "……" * 60,
        "す" + "ー" * 100 + "ごい",
        "\n".join(f"{hour}時：{what}" for hour, what in enumerate(["起床", "朝食", "清掃", "勉強", "昼食", "夕食"])),
    ],
)
def test_repetition_for_a_reason_is_no_loop(text: str) -> None:
    assert not loops(text)


def test_the_longest_loop_is_that_of_a_plain_search() -> None:
    draw = random.Random(4)
    for _ in range(60):
        text = "".join(draw.choice("あい") for _ in range(draw.randrange(4, 40)))
        best = 0
        for period in range(1, len(text) // 2 + 1):
            for begin in range(len(text)):
                end = begin + period
                while end < len(text) and text[end] == text[end - period]:
                    end += 1
                best = max(best, end - begin if end - begin >= 2 * period else 0)
        found = longest_loop(text)
        assert (found.characters if found else 0) == best


def test_a_loop_names_its_unit_and_how_often_it_stands_there() -> None:
    found = longest_loop("始まり。" + "次の頁へ" * 6)
    assert found is not None
    assert (sorted(found.unit), found.times, found.characters) == (sorted("次の頁へ"), 6, 24)


def test_compression_and_distinctness_fall_with_repetition() -> None:
    assert compression("") == distinct("", 4) == 1.0
    assert compression(PROSE) > 0.4 > 0.1 > compression("同じ文です。" * 100)
    assert distinct(PROSE, 4) > 0.9 > 0.05 > distinct("同じ文です。" * 100, 4)

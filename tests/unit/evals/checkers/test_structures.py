from __future__ import annotations

import json
from typing import Any

import pytest

from edgellm.errors import BadInput
from edgellm.evals.checkers import check

PERSON = {"名前": "田中", "年齢": 30, "趣味": ["読書", "登山"]}
CITIES = ["東京", "大阪", "名古屋"]
ROWS = [["品名", "数量"], ["りんご", "3"], ["みかん", "1200"]]


def score(kind: str, expected: Any, answer: str, **more: Any) -> float | None:
    return check({"kind": kind, "expected": expected} | more, answer).score


@pytest.mark.parametrize(
    "answer",
    [
        json.dumps(PERSON, ensure_ascii=False),
        '以下です。\n```json\n{"名前": "田中", "年齢": 30, "趣味": ["登山", "読書"]}\n```\n以上です。',
        '結果は {"年齢": 30.0, "名前": "田中", "趣味": ["読書", "登山"]} です。',
        '例: {"名前": ""}\n\n答え\n{"名前": "田中", "年齢": 30, "趣味": ["読書", "登山"]}',
    ],
)
def test_json_with_or_without_words_around_it(answer: str) -> None:
    assert score("json", PERSON, answer) == 1


@pytest.mark.parametrize(
    "answer",
    [
        '{"年齢": "30", "名前": "田中", "趣味": ["読書", "登山"]}',
        '{"年齢": 30, "名前": "田中"}',
        '{"年齢": 30, "名前": "田中", "趣味": ["読書", "登山"], "住所": ""}',
        "名前：田中\n年齢：30",
        '{"名前": "田中", "年齢": 30, "趣味": ["読書", "登山"]',
    ],
)
def test_json_that_is_another_or_none(answer: str) -> None:
    assert score("json", PERSON, answer) == 0


def test_json_in_order_only_where_it_is_asked_for() -> None:
    assert score("json", [1, 2], "[2, 1]") == 1
    assert score("json", [1, 2], "[2, 1]", ordered=True) == 0


def test_true_is_not_one_and_not_a_number_is_no_json() -> None:
    assert score("json", [1], "[true]") == 0
    assert score("json", [1], "[NaN]") == 0


def test_brackets_without_end_are_read() -> None:
    assert score("json", [1], "[" * 100_000) == 0


@pytest.mark.parametrize(
    "answer",
    [
        "東京\n大阪\n名古屋",
        "以下です：\n1. 東京\n2. 大阪\n3. 名古屋\n\n以上です。",
        "```\n東京\n大阪\n名古屋\n```",
        "答え：東京、大阪、名古屋",
        "- **東京**\n- **大阪**\n- **名古屋**",
    ],
)
def test_lines_that_stand_together(answer: str) -> None:
    assert score("lines", CITIES, answer) == 1


@pytest.mark.parametrize(
    "answer", ["- 東京\n- 大阪\n- 名古屋\n- 福岡", "- 大阪\n- 東京\n- 名古屋", "東京", "東京\n大阪"]
)
def test_lines_with_more_or_less_or_in_another_order(answer: str) -> None:
    assert score("lines", CITIES, answer) == 0


def test_lines_in_any_order_where_that_is_asked_for() -> None:
    assert score("lines", CITIES, "- 大阪\n- 東京\n- 名古屋", ordered=False) == 1


def test_a_table_with_its_head() -> None:
    assert score("table", ROWS, "| 品名 | 数量 |\n|---|---:|\n| りんご | ３ |\n| みかん | 1,200個 |\n") == 1


def test_a_table_whose_head_is_not_expected() -> None:
    assert score("table", ROWS[1:], "| A | B |\n|---|---|\n| りんご | 3 |\n| みかん | 1,200 |\n") == 1


@pytest.mark.parametrize(
    "answer",
    [
        "品名,数量\nりんご,3\nみかん,1200",
        "| 品名 | 数量 |\n|---|---|\n| りんご | 3 |",
        "| りんご | 3 |\n| みかん | 12 |",
    ],
)
def test_what_is_no_such_table(answer: str) -> None:
    assert score("table", ROWS, answer) == 0


def test_csv_in_a_block_or_by_itself() -> None:
    assert score("csv", ROWS, '```csv\n品名,数量\nりんご,3\nみかん,"1,200"\n```') == 1
    assert score("csv", ROWS, "CSVです。\n\n品名,数量\nりんご,3\nみかん,1200\n") == 1


def test_a_markdown_table_is_no_csv() -> None:
    assert score("csv", ROWS, "| 品名 | 数量 |\n|---|---|\n| りんご | 3 |\n| みかん | 1200 |") == 0


@pytest.mark.parametrize(("kind", "expected"), [("json", None), ("lines", []), ("table", ["a"]), ("csv", "a,b")])
def test_a_check_that_cannot_be_used_is_an_error(kind: str, expected: Any) -> None:
    spec = {"kind": kind, "question_id": 7} | ({} if expected is None else {"expected": expected})
    with pytest.raises(BadInput, match="question 7"):
        check(spec, "x")


def test_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(BadInput, match="'poem'"):
        check({"kind": "poem"}, "x")

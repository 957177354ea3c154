"""Long documents: as long as asked, with needles where they were put, and an answer that can be found."""

from __future__ import annotations

import re

import pytest

from edgellm.errors import UsageError
from edgellm.evals.checkers.numbers import check_number
from edgellm.evals.long_ja.documents import Case, cases, written


def solved(case: Case, text: str, question: str) -> int:
    """The answer by reading the text alone, in another way than it was written."""
    if case.task in ("single", "similar"):
        subject = question.split("を開ける")[0]
        (value,) = re.findall(rf"{subject}を開けるための暗証番号は(\d+)である", text)
        return int(value)
    if case.task == "combined":
        project = question[: question.index("」") + 1]
        (person,) = re.findall(rf"{project}の責任者に選ばれたのは、(\S+?)である。", text)
        (value,) = re.findall(rf"{person}に渡された通行証の番号は(\d+)である", text)
        return int(value)
    if case.task == "count":
        return text.count("の判定は「交換が必要」である")
    if case.task == "sum":
        return sum(int(amount.replace(",", "")) for amount in re.findall(r"建設のために([\d,]+)円を寄付した", text))
    months = {int(m): int(v) for m, v in re.findall(r"令和八年(\d+)月末に残っていた絵はがきは(\d+)枚", text)}
    return months[max(months)]


@pytest.mark.parametrize("case", cases((600, 4096)), ids=lambda case: case.id)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_text_holds_the_one_right_answer(case: Case, seed: int) -> None:
    document = written(case, seed, len)
    assert solved(case, document.text, document.puzzle.question) == document.puzzle.value
    spec = {"value": str(document.puzzle.value), "unit": document.puzzle.unit}
    assert check_number(spec, f"{document.puzzle.value:,}{document.puzzle.unit}").score == 1
    assert check_number(spec, f"{document.puzzle.value + 1}{document.puzzle.unit}").score == 0


@pytest.mark.parametrize("length", [600, 4096, 20_000])
def test_a_prompt_fills_its_length_and_leaves_room_for_the_answer(length: int) -> None:
    for case in cases((length,)):
        document = written(case, 0, len)
        room = min(512, length // 8)
        assert length - room - 150 <= len(document.prompt) <= length - room
        assert document.prompt.count(document.text) == 1


@pytest.mark.parametrize("depth", [0, 25, 50, 75, 100])
def test_a_needle_stands_at_its_depth(depth: int) -> None:
    document = written(Case(8192, "single", depth), 0, len)
    place = document.text.index(document.puzzle.needles[0].text) / len(document.text)
    assert place == pytest.approx(depth / 100, abs=0.03)


def test_the_first_needle_begins_the_text_and_the_last_ends_it() -> None:
    for depth, whole in ((0, str.startswith), (100, str.endswith)):
        document = written(Case(2048, "single", depth), 0, len)
        assert whole(document.text, document.puzzle.needles[0].text)


def test_a_document_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    case = Case(2048, "similar", 50)
    assert written(case, 3, len) == written(case, 3, len)
    assert written(case, 3, len).puzzle.value != written(case, 4, len).puzzle.value


def test_a_few_cases_are_of_every_task() -> None:
    assert {case.task for case in cases((4096,))[:12]} == {"single", "similar", "combined", "count", "sum", "latest"}
    assert len(cases((4096, 8192))) == 36


def test_a_length_without_room_is_refused() -> None:
    with pytest.raises(UsageError, match="200 tokens are too few for the task single"):
        written(Case(200, "single", 0), 0, len)

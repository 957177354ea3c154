"""Every reference answer is what programs find in the question, and every check tells it from a wrong one."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from edgellm.errors import SandboxMissing
from edgellm.evals.checkers import check
from edgellm.evals.mt_bench_ja.files import rows_of
from edgellm.evals.mt_bench_ja.questions import OUR_REFERENCES
from edgellm.evals.mt_bench_ja.references import PROGRAMS
from edgellm.evals.mt_bench_ja.references.facts import Unclear, fact, number, only
from edgellm.evals.mt_bench_ja.verify import OUR_CHECKS, Verified, read_checks, verify
from edgellm.evals.sandbox import run_python

WRONG = Path(__file__).with_name("wrong_answers.jsonl")
Row = dict[str, Any]
Changed = Callable[[Path, str, str], Path]


@pytest.fixture(scope="module")
def sandbox() -> bool:
    try:
        return run_python("pass").exit_code == 0
    except SandboxMissing:
        return False


@pytest.fixture
def changed(tmp_path: Path) -> Changed:
    """A copy of a file with one text in place of another."""

    def change(path: Path, old: str, new: str) -> Path:
        text = path.read_text(encoding="utf-8")
        assert text.count(old) >= 1
        copy = tmp_path / path.name
        copy.write_text(text.replace(old, new), encoding="utf-8")
        return copy

    return change


def broken(found: list[Verified]) -> list[tuple[str, int]]:
    return [(one.question_id, one.turn) for one in found if one.problems]


def test_all_references_agree_with_their_programs_and_checks(sandbox: bool) -> None:
    found = verify()
    assert [one.sentence for one in found if one.problems] == []
    assert {one.unscored for one in found if one.question_id >= "1011"} == {False}
    assert len(found) == 80
    if sandbox:
        assert not any(one.unscored for one in found)


def test_a_reference_with_another_number_is_found(changed: Changed) -> None:
    assert broken(verify(changed(OUR_REFERENCES, "答え：6,480円", "答え：6,840円"), only=["1031"])) == [("1031", 2)]


def test_a_check_with_another_value_is_found(changed: Changed) -> None:
    checks = changed(OUR_CHECKS, '"value": "29/57"', '"value": "28/57"')
    found = verify(checks=checks, only=["1037"])
    assert broken(found) == [("1037", 1)]
    assert "a program finds 29/57, and the check expects 28/57" in found[0].sentence


def test_reference_code_that_fails_a_test_is_found(changed: Changed) -> None:
    references = changed(OUR_REFERENCES, "if text[end] in NOT_AT_HEAD", "if text[end] in NOT_AT_HEAD[:1]")
    assert broken(verify(references, only=["1010"])) == [("1010", 1)]


def test_reference_code_that_differs_only_from_the_second_program_is_found(changed: Changed) -> None:
    """Our tests have three lots at most."""
    references = changed(OUR_REFERENCES, "in sorted(lots):", "in sorted(lots)[:3]:")
    found = verify(references, only=["1004"])
    assert broken(found) == [("1004", 1)]
    assert "by a second program" in found[0].sentence


def test_a_question_whose_facts_changed_no_longer_verifies() -> None:
    turns = ["断水に備えて、三人家族の…一人につき一日3リットルを7日分…、2リットル入りのペットボトルが6本入った箱", ""]
    assert PROGRAMS["1031", 1](turns) == 6
    with pytest.raises(Unclear):
        PROGRAMS["1031", 1](["断水に備えて"])


@pytest.fixture(scope="module")
def scores(sandbox: bool) -> list[tuple[int, tuple[str, int], list[float | None]]]:
    """(line, question and turn, score by each check) of every wrong answer; None where there is no sandbox."""
    specs = read_checks()

    def scored(numbered: tuple[int, Row]) -> tuple[int, tuple[str, int], list[float | None]]:
        line, row = numbered
        place = (str(row["question_id"]), row["turn"])
        run = [sandbox or spec["kind"] != "python" for spec in specs[place]]
        own = [check(spec, row["answer"]).score if runs else None for spec, runs in zip(specs[place], run, strict=True)]
        return line, place, own

    with ThreadPoolExecutor(2) as workers:
        return list(workers.map(scored, rows_of(WRONG)))


def test_every_check_fails_a_wrong_answer(scores: list[tuple[int, tuple[str, int], list[float | None]]]) -> None:
    failed = {(place, n) for _, place, own in scores for n, score in enumerate(own) if score in (0, None)}
    assert {(place, n) for place, own in read_checks().items() for n in range(len(own))} - failed == set()


def test_every_wrong_answer_fails_a_check(scores: list[tuple[int, tuple[str, int], list[float | None]]]) -> None:
    assert [line for line, _, own in scores if all(score == 1 for score in own)] == []


def test_second_turns_do_not_ask_for_what_first_answers_say() -> None:
    """A copy of the first answer gets no full marks in the second turn."""
    references = {row["question_id"]: row["choices"][0]["turns"] for _, row in rows_of(OUR_REFERENCES)}
    alike = [
        place
        for place, specs in read_checks().items()
        if place[1] == 2 and specs[0]["kind"] != "python"
        if all(check(spec, references[int(place[0])][0]).score == 1 for spec in specs)
    ]
    assert alike == []


@pytest.mark.parametrize(
    ("written", "value"), [("1,080", 1080), ("７", 7), ("7.5", 7.5), ("三百五", 305), ("千四十", 1040), ("七・五", 7.5)]
)
def test_numbers_of_the_questions_are_read(written: str, value: float) -> None:
    assert number(written) == value


def test_a_fact_must_stand_in_the_text_once() -> None:
    assert fact("四人家族と五人の客", "{}人家族") == 4
    with pytest.raises(Unclear):
        fact("四人と五人", "{}人")
    with pytest.raises(Unclear):
        only([1, 2])


def test_the_files_have_fastchats_shape() -> None:
    rows: list[Row] = [json.loads(line) for line in OUR_REFERENCES.read_text(encoding="utf-8").split("\n") if line]
    assert [row["question_id"] for row in rows] == [*range(1001, 1021), *range(1031, 1051)]
    assert {row["model_id"] for row in rows} == {"edgellm-reference"}
    assert {tuple(row) for row in rows} == {("question_id", "answer_id", "model_id", "choices", "tstamp")}

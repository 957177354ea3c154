"""The medical examination: what is read after 【回答】, points, pass marks, pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgellm.errors import BadInput, UsageError
from edgellm.evals.choice.exam import Exam, PassMarks, score_file
from edgellm.evals.choice.exam_answers import leniently, strictly
from edgellm.evals.choice.exam_files import read_exam
from edgellm.evals.journal import Journal
from edgellm.evals.options import SuiteOptions
from edgellm.evals.run import Run
from scripted_model import Heard, ScriptedModel

NUMBERS = {"A": 75, "B": 50, "C": 75, "D": 75, "E": 50, "F": 75}


def question(block: str, number: int, **changes: object) -> dict[str, Any]:
    return {
        "question_id": f"120{block}-{number}", "block": block, "number": number, "question_type": "multiple_choice",
        "question_text": "正しいのはどれか。\na 肺\nb 胃\nc 骨\nd 耳\ne 目", "clinical_images": [],
        "requires_image": False, "num_choices_to_select": 1, "answer": ["a"], **changes,
    }  # fmt: skip


def whole_exam(folder: Path) -> Path:
    """400 questions; the last 98 of the general blocks need pictures, as 98 of the 120th examination do."""
    questions = [question(block, n) for block, count in NUMBERS.items() for n in range(1, count + 1)]
    general = [q for q in questions if q["block"] not in "BE"]
    for q in general[-98:]:
        q["requires_image"] = True
    return saved(folder / "exam.json", questions)


def saved(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("考えます。\n【回答】c", ("c",)),
        ("【回答】C", ("c",)),
        ("【回答】\nc", ("c",)),
        ("【回答】 c, a", ("a", "c")),
        ("【回答】a、c", ("a", "c")),
        ("**【回答】a c**", ("a", "c")),
        ("【回答】`e`\n以上です。", ("e",)),
        ("【回答】a\n見直すと、\n【回答】b", ("a",)),
        ("a,c", ("a", "c")),
        ("ce", ("c", "e")),
        ("【回答】ac", ()),
        ("【回答】ａ", ()),
        ("【回答】f", ()),
        ("【回答】aが正しい", ()),
        ("答えはaです", ()),
        ("", ()),
    ],
)
def test_the_strict_reading_is_the_published_one(text: str, read: tuple[str, ...]) -> None:
    assert strictly(text, calculation=False) == read


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("【回答】ac", ("a", "c")),
        ("【回答】ａ，ｃ", ("a", "c")),
        ("【回答】a・c", ("a", "c")),
        ("【回答】(a)", ("a",)),
        ("【回答】aとc", ("a", "c")),
        ("【回答】a です。", ("a",)),
        ("【回答】a\n見直すと、\n【回答】b", ("b",)),
        ("【回答】beriberi", ()),
        ("答えはaです", ()),
    ],
)
def test_the_lenient_reading_takes_what_was_meant(text: str, read: tuple[str, ...]) -> None:
    assert leniently(text, calculation=False) == read


@pytest.mark.parametrize(
    ("text", "strict", "lenient"),
    [
        ("【回答】38", ("38",), ("38",)),
        ("【回答】 3.8 ", ("3.8",), ("3.8",)),
        ("【回答】38 mL", ("38 mL",), ("38",)),
        ("【回答】３８", ("３８",), ("38",)),
        ("【回答】1,200", ("1,200",), ("1200",)),
        ("38", ("38",), ("38",)),
        ("38になります", (), ()),
    ],
)
def test_numbers_are_read_as_written_and_leniently_by_value(
    text: str, strict: tuple[str, ...], lenient: tuple[str, ...]
) -> None:
    assert strictly(text, calculation=True) == strict
    assert leniently(text, calculation=True) == lenient


def test_points_are_one_but_three_from_number_26_of_the_required_blocks(tmp_path: Path) -> None:
    items = {item.id: item for item in read_exam(whole_exam(tmp_path))}
    some = {name: items[f"120{name}"].points for name in ("A-30", "B-25", "B-26", "E-50", "E-1", "F-60")}
    assert some == {"A-30": 1, "B-25": 1, "B-26": 3, "E-50": 3, "E-1": 1, "F-60": 1}
    assert sum(item.points for item in items.values()) == 500
    assert sum(item.points for item in items.values() if item.required) == 200


def results(path: Path, right: dict[str, int], *, skip_images: bool = False) -> Path:
    """A results file as JMLE2026-Bench writes it, with the first `right` questions of each block right."""
    exam = json.loads((path.parent / "exam.json").read_text(encoding="utf-8"))
    rows = [
        {
            "question_id": q["question_id"], "predicted": ["a"] if q["number"] <= right[q["block"]] else ["b"],
            "gold": ["a"], "correct": q["number"] <= right[q["block"]], "raw_response": "【回答】a",
            "parse_success": True, "error": None,
        }
        for q in exam if not (skip_images and q["requires_image"])
    ]  # fmt: skip
    return saved(path, {"metadata": {"model": "m"}, "summary": {}, "results": rows})


def test_a_published_results_file_gives_its_points(tmp_path: Path) -> None:
    exam = whole_exam(tmp_path)
    found = score_file(results(tmp_path / "m.json", {"A": 60, "B": 40, "C": 60, "D": 60, "E": 40, "F": 45}), exam)
    points = found.measures
    assert points["required_points"] == 2 * (25 + 15 * 3) == 140
    assert points["general_points"] == 225
    assert points["points"] == 365
    assert points["passed"] == 0.0
    assert found.score is not None
    assert found.score.mean == pytest.approx(305 / 400)
    assert points["text_only_questions"] == 302
    assert found.categories["B"].mean == pytest.approx(40 / 50)


@pytest.mark.parametrize(
    ("marks", "passed"), [(PassMarks(), 0.0), (PassMarks(140, 225), 1.0), (PassMarks(140, 226), 0.0)]
)
def test_pass_marks_can_be_set(tmp_path: Path, marks: PassMarks, passed: float) -> None:
    exam = whole_exam(tmp_path)
    file = results(tmp_path / "m.json", {"A": 60, "B": 40, "C": 60, "D": 60, "E": 40, "F": 45})
    found = score_file(file, exam, marks)
    assert found.measures["passed"] == passed
    assert any(f"{marks.required} of 200 points" in note for note in found.notes)


def test_questions_with_pictures_that_were_skipped_are_not_in_the_score(tmp_path: Path) -> None:
    exam = whole_exam(tmp_path)
    every = {block: count for block, count in NUMBERS.items()}
    found = score_file(results(tmp_path / "m.json", every, skip_images=True), exam)
    assert found.score is not None
    assert (found.items, found.score.mean, found.measures["points"]) == (302, 1.0, 402)
    assert found.measures["text_only_accuracy"] == 1.0
    assert any("98 questions with pictures have no answer" in note for note in found.notes)


def test_several_answers_must_be_the_very_set(tmp_path: Path) -> None:
    exam = saved(tmp_path / "exam.json", [question("A", n, answer=["a", "c"]) for n in range(1, 5)])
    answers = tmp_path / "answers.csv"
    rows = ["question_id,answer", '120A-1,"c,a"', "120A-2,a", '120A-3,"a,b,c"', "120A-4,【回答】ac"]
    answers.write_text("\n".join(rows), encoding="utf-8")
    found = score_file(answers, exam)
    assert [record.score for record in found.records] == [1, 0, 0, 0]
    assert found.measures["points_lenient"] == 2
    assert "passed" not in found.measures


def test_a_calculation_is_scored_by_its_number(tmp_path: Path) -> None:
    exam = saved(
        tmp_path / "exam.json",
        [question("A", n, question_type="calculation", answer=["3.8"], num_choices_to_select=0) for n in range(1, 4)],
    )
    lines = [
        {"question_id": "120A-1", "response": "計算します。\n【回答】3.8"},
        {"question_id": "120A-2", "response": "【回答】3.80 mL"},
        {"question_id": "120A-3", "answer": 3.8},
    ]
    answers = tmp_path / "answers.jsonl"
    answers.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")
    found = score_file(answers, exam)
    assert [record.score for record in found.records] == [1, 0, 1]
    assert found.measures["points_lenient"] == 3


def test_igakuqa_files_have_their_own_points_and_predictions(tmp_path: Path) -> None:
    lines = [
        {"problem_id": f"112B{n}", "problem_text": "どれか。", "choices": ["肺", "胃"], "text_only": n < 3, "answer": a,
         "points": p}
        for n, a, p in ((1, ["a"], "1"), (2, ["a", "b"], "3"), (3, ["b"], "1"))
    ]  # fmt: skip
    exam = tmp_path / "112-B.jsonl"
    exam.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")
    answers = tmp_path / "model.jsonl"
    answers.write_text(
        '{"problem_id": "112B1", "prediction": "a"}\n{"problem_id": "112B2", "prediction": "a,b"}\n'
        '{"problem_id": "112B3", "prediction": "画像がないため答えられません｡"}\n', encoding="utf-8",
    )  # fmt: skip
    found = score_file(answers, exam)
    assert [record.score for record in found.records] == [1, 1, 0]
    assert (found.measures["points"], found.measures["points_possible"]) == (4, 5)
    assert found.measures["text_only_accuracy"] == 1.0


def test_a_model_is_asked_in_the_form_that_is_read(tmp_path: Path) -> None:
    second = question("A", 2, answer=["a", "b"], num_choices_to_select=2)
    exam = saved(tmp_path / "exam.json", [question("A", 1), second])

    def say(heard: Heard) -> str:
        return heard.text.rsplit("\n", 1)[1]  # the example of the prompt itself

    journal = Journal(tmp_path / "journal.jsonl", "run")
    found = Exam(SuiteOptions(items=exam)).run(Run(ScriptedModel(say), journal))
    journal.close()
    assert [record.answer for record in found.records] == ["【回答】a", "【回答】a,c"]
    assert [record.score for record in found.records] == [1, 0]
    assert found.records[0].detail["points"] == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"items": None}, "ships no questions"),
        ({"mode": "likelihood"}, "--mode generation"),
        ({"protocol": "jmle-1"}, "no protocol 'jmle-1'"),
        ({"shots": 2}, "--shots means nothing"),
    ],
)
def test_what_the_exam_cannot_do_is_said(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Exam(SuiteOptions(**{"items": saved(tmp_path / "exam.json", [question("A", 1)]), **options}))


def test_the_protocol_can_set_the_pass_marks(tmp_path: Path) -> None:
    items = saved(tmp_path / "exam.json", [question("A", 1)])
    assert Exam(SuiteOptions(items=items, protocol="jmle-167-230")).marks == PassMarks(167, 230)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"answer": "a"}, "where a list such as"),
        ({"answer": ["g"], "question_id": "120A-1"}, None),
        ({"answer": ["ab"]}, "are no letters of choices"),
        ({"question_text": ""}, "no text under 'question_text'"),
    ],
)
def test_a_broken_question_is_named(tmp_path: Path, changes: dict[str, Any], words: str | None) -> None:
    path = saved(tmp_path / "exam.json", [question("A", 2), question("A", 1, **changes)])
    if words is None:
        assert read_exam(path)[1].answer == ("g",)
        return
    with pytest.raises(BadInput, match=f"entry 2 .*{words}"):
        read_exam(path)

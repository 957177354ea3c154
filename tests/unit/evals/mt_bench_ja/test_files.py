"""FastChat's files, and those of programs that write them a little otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgellm.errors import BadInput
from edgellm.evals.mt_bench_ja.files import (
    Answers,
    Judged,
    category_of,
    read_answers,
    read_judge_prompts,
    read_judgments,
    read_questions,
    read_references,
    write_answers,
    write_judgments,
)

JUDGMENT = {
    "question_id": 11, "model": "m", "judge": ["gpt-4", "single-v1"], "user_prompt": "p", "judgment": "[[7]]",
    "score": 7, "turn": 1, "tstamp": 1.5,
}  # fmt: skip


def written(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def test_japanese_ids_stand_in_alphabetical_blocks_of_ten() -> None:
    assert [category_of(str(number)) for number in (1, 10, 11, 80)] == ["coding", "coding", "extraction", "writing"]


def test_english_ids_have_another_order() -> None:
    assert [category_of(str(number)) for number in (81, 91, 101, 160)] == [
        "writing", "roleplay", "reasoning", "humanities",
    ]  # fmt: skip


def test_our_ids_are_a_block_of_their_own() -> None:
    assert [category_of(str(number)) for number in (1001, 1031, 1080)] == ["coding", "math", "writing"]


@pytest.mark.parametrize("own", ["0", "161", "1000", "1081", "q1", "-1", "１"])
def test_other_ids_tell_no_category(own: str) -> None:
    assert category_of(own) == ""


def test_a_number_and_a_text_are_the_same_id(tmp_path: Path) -> None:
    path = written(tmp_path / "j.jsonl", JUDGMENT, JUDGMENT | {"question_id": "11"})
    assert {judged.question for judged in read_judgments(path)} == {"11"}


def test_a_question_takes_its_references_from_its_own_line(tmp_path: Path) -> None:
    row = {"question_id": 1, "turns": ["a", "b"], "reference": [{"turns": ["x", "y"]}]}
    question = read_questions(written(tmp_path / "q.jsonl", row))[0]
    assert (question.category, question.references) == ("coding", ("x", "y"))


def test_a_question_that_stands_twice_is_an_error(tmp_path: Path) -> None:
    row = {"question_id": 1, "category": "math", "turns": ["a", "b"]}
    with pytest.raises(BadInput, match="question 1 twice"):
        read_questions(written(tmp_path / "q.jsonl", row, row | {"question_id": "1"}))


def test_swallows_lists_are_n_judgments_of_one_line(tmp_path: Path) -> None:
    row = JUDGMENT | {"judgment": ["[[7]]", "$ERROR$", "?"], "score": [7, -1, -1], "user_prompt": ["p", "p", "p"]}
    judged = read_judgments(written(tmp_path / "j.jsonl", row))[0]
    assert (judged.scores, judged.texts) == ((7.0, -1.0, -1.0), ("[[7]]", "$ERROR$", "?"))


def test_nejumis_keys_name_judge_and_prompt(tmp_path: Path) -> None:
    row = {key: value for key, value in JUDGMENT.items() if key not in ("judge", "user_prompt")} | {
        "judge_model": "gpt-4o", "judge_prompt_template": "single-math-v1", "judge_prompt": "p",
    }  # fmt: skip
    judged = read_judgments(written(tmp_path / "j.jsonl", row))[0]
    assert (judged.judge, judged.prompt) == ("gpt-4o", "single-math-v1")


def test_a_failed_call_is_a_failure_whatever_the_score_says(tmp_path: Path) -> None:
    row = JUDGMENT | {"judgment": "$ERROR$", "score": 5}
    assert read_judgments(written(tmp_path / "j.jsonl", row))[0].scores == (-1.0,)


def test_a_line_without_a_score_is_left_to_its_text(tmp_path: Path) -> None:
    row = {key: value for key, value in JUDGMENT.items() if key != "score"}
    assert read_judgments(written(tmp_path / "j.jsonl", row))[0].scores == (None,)


def test_a_turn_that_is_not_told_follows_from_the_prompt(tmp_path: Path) -> None:
    row = {key: value for key, value in JUDGMENT.items() if key != "turn"} | {"judge": ["g", "single-v1-multi-turn"]}
    assert read_judgments(written(tmp_path / "j.jsonl", row))[0].turn == 2


def test_lines_end_at_a_line_feed_alone_and_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    text = json.dumps(JUDGMENT | {"judgment": "一\u2028二\u0085三 [[7]]"}, ensure_ascii=False)
    path.write_bytes(b"\xef\xbb\xbf" + f"{text}\r\n\r\n{text}".encode())
    assert [judged.texts for judged in read_judgments(path)] == [("一\u2028二\u0085三 [[7]]",)] * 2


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"question_id": 1', "no JSON"),
        ("[1]", "no JSON object"),
        ('{"model": "m"}', "has no 'question_id'"),
        ('{"question_id": 1}', "has no 'model'"),
        ('{"question_id": true, "model": "m"}', "neither a number nor a text"),
        ('{"question_id": 1, "model": "m", "score": "good"}', "no number"),
        ('{"question_id": 1, "model": "m", "score": NaN}', "no number"),
        ('{"question_id": 1, "model": "m", "score": true}', "no number"),
        ('{"question_id": 1, "model": "m", "score": [1, 2], "judgment": ["a"]}', "1 judgments and 2 scores"),
        ('{"question_id": 1, "model": "m", "score": 1, "turn": "second"}', "`turn`"),
        ('{"question_id": 1, "model_1": "a", "model_2": "b", "g1_winner": "tie"}', "compares two models"),
    ],
)
def test_a_broken_line_is_named_by_file_and_number(tmp_path: Path, line: str, what: str) -> None:
    path = tmp_path / "judgments.jsonl"
    path.write_text(f"{json.dumps(JUDGMENT)}\n\n{line}\n", encoding="utf-8")
    with pytest.raises(BadInput, match=f"judgments.jsonl, line 3 .*{what}"):
        read_judgments(path)


def test_a_file_without_a_line_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no line"):
        read_judgments(written(tmp_path / "j.jsonl"))


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        read_judgments(tmp_path / "j.jsonl")


def test_answers_come_back_as_they_were_written(tmp_path: Path) -> None:
    answers = [Answers("1", "m", (("一", "二"), ("三", "四"))), Answers("x-1", "m", (("五",),))]
    write_answers(tmp_path / "a.jsonl", answers)
    assert read_answers(tmp_path / "a.jsonl") == answers


def test_written_answers_have_fastchats_keys(tmp_path: Path) -> None:
    write_answers(tmp_path / "a.jsonl", [Answers("7", "m", (("一", "二"),))])
    row = json.loads((tmp_path / "a.jsonl").read_text(encoding="utf-8"))
    assert (row["question_id"], row["model_id"]) == (7, "m")
    assert row["choices"] == [{"index": 0, "turns": ["一", "二"]}]
    assert {"answer_id", "tstamp"} <= set(row)


def test_references_are_the_first_choice_of_an_answer_file(tmp_path: Path) -> None:
    write_answers(tmp_path / "a.jsonl", [Answers("7", "m", (("一", "二"), ("x", "y")))])
    assert read_references(tmp_path / "a.jsonl") == {"7": ("一", "二")}


def test_judgments_come_back_as_they_were_written(tmp_path: Path) -> None:
    one = Judged("7", "m", 2, "single-v1", (8.0,), ("[[8]]",), "coding", (), "j")
    many = Judged("1031", "m", 1, "single-v1", (8.0, -1.0), ("[[8]]", "?"), "math", ("ok", "failed"), "j")
    write_judgments(tmp_path / "j.jsonl", [one, many], [["p"], ["p", "p"]])
    found = read_judgments(tmp_path / "j.jsonl")
    assert [(f.question, f.turn, f.scores, f.texts, f.category, f.statuses) for f in found] == [
        ("7", 2, (8.0,), ("[[8]]",), "coding", ()),
        ("1031", 1, (8.0, -1.0), ("[[8]]", "?"), "math", ("ok", "failed")),
    ]


def test_a_single_judgment_is_written_as_fastchat_does(tmp_path: Path) -> None:
    write_judgments(
        tmp_path / "j.jsonl", [Judged("7", "m", 2, "single-v1", (8.0,), ("[[8]]",), "coding", ("ok",), "gpt")], [["p"]]
    )
    row = json.loads((tmp_path / "j.jsonl").read_text(encoding="utf-8"))
    assert {key: row[key] for key in JUDGMENT if key != "tstamp"} == {
        "question_id": 7, "model": "m", "judge": ["gpt", "single-v1"], "user_prompt": "p", "judgment": "[[8]]",
        "score": 8, "turn": 2,
    }  # fmt: skip


def test_judge_prompts_are_read_by_name(tmp_path: Path) -> None:
    row = {"name": "single-v1", "type": "single", "system_prompt": "s", "prompt_template": "{question}"}
    assert read_judge_prompts(written(tmp_path / "p.jsonl", row))["single-v1"].template == "{question}"

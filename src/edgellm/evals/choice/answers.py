"""Answers that were given already, in JSON, JSONL or CSV: each with the id of its question, and either what was
answered or the whole text of the response. One model a file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgellm.errors import BadInput
from edgellm.evals.choice.lines import Row, headed_rows, json_rows, read_text

IDS = ("question_id", "id", "q_id", "problem_id", "question_number")
# What was read out of a response by whoever wrote the file, in the order in which it is believed.
GIVEN = ("predicted", "prediction", "predicted_answer", "answer", "label")
TEXTS = ("raw_response", "response", "output", "text", "model_answer")


@dataclass(frozen=True)
class Answer:
    """`given` is what was answered, one string a choice; None where there is only the text of a response. `index` is
    the answer where it is a JSON whole number, which in files of choices counts from 0."""

    where: str
    given: tuple[str, ...] | None
    text: str
    index: int | None = None

    @property
    def words(self) -> str:
        return self.text or ", ".join(self.given or ())


def read_answers(path: Path, known: Collection[str]) -> dict[str, Answer]:
    """The answers of a file by the ids of questions; `known` are the ids of the items.

    Raises BadInput, naming the line, for a line without an id or an answer, an id that no item has, and one that
    stands twice.
    """
    text = read_text(path)
    rows: Iterable[Row] = json_rows(path, text) if text.lstrip()[:1] in ("{", "[") else headed_rows(path, text)
    found: dict[str, Answer] = {}
    for where, entry in rows:
        name = identity(where, entry)
        if name not in known:
            raise BadInput(f"{where} answers the question {name!r}, which is not among the items; give its items file")
        if name in found:
            raise BadInput(f"{where} answers {name!r} a second time; keep one answer of one model a file")
        found[name] = answer_of(where, entry)
    if not found:
        raise BadInput(f"{path} holds no answer; give lines with a question_id and an answer")
    return found


def identity(where: str, entry: Mapping[str, Any]) -> str:
    for key in IDS:
        value = entry.get(key)
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            return str(value)
    raise BadInput(f"{where} names no question; give it a question_id")


def answer_of(where: str, entry: Mapping[str, Any]) -> Answer:
    text = next((entry[key] for key in TEXTS if isinstance(entry.get(key), str)), "")
    answers = entry.get("answers")
    if isinstance(answers, list) and answers and all(isinstance(one, dict) for one in answers):
        if len(answers) > 1:
            raise BadInput(f"{where} has {len(answers)} answers; give one model a file")
        entry = answers[0]
    for key in GIVEN:
        value = entry.get(key)
        if isinstance(value, list):
            return Answer(where, tuple(str(one) for one in value), text)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return Answer(where, (str(value),), text, value if isinstance(value, int) else None)
        if isinstance(value, str):  # a letter, or a whole response: who reads it finds out
            return Answer(where, (value,) if text else None, text or value)
    if text or any(key in entry for key in (*TEXTS, *GIVEN)):
        return Answer(where, None, text)  # null: the model said nothing
    raise BadInput(f"{where} has no answer; write it under 'answer', or the whole text under 'response'")

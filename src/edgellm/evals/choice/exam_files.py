"""Questions of the Japanese medical licensing examination, as two public collections write them.

- JMLE2026-Bench: a JSON list of `{"question_id": "120A-1", "block": "A", "number", "question_type":
  "multiple_choice" | "calculation", "question_text", "clinical_images", "requires_image", "num_choices_to_select",
  "answer": ["a"]}`; the choices stand in the text, a line each; questions that follow one case have it under
  `serial_group.context_text`.
- IgakuQA: JSONL of `{"problem_id": "112A1", "problem_text", "choices", "text_only", "answer": ["a"], "points": "1"}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgellm.errors import BadInput
from edgellm.evals.choice.items import SMALL
from edgellm.evals.choice.lines import json_rows, read_text, text_of

REQUIRED_BLOCKS = ("B", "E")
FIRST_OF_THREE_POINTS = 26  # the number of the first question of a required block that is worth three
PLACE = re.compile(r"\d+([A-Z])-?(\d+)")  # 120A-1, 112A1
CHOICE_LINE = re.compile(r"^[ \t　]*([a-eａ-ｅ])(?:[ \t　]*[.．、:：)）]|[ \t　])[ \t　]*(\S.*)$")


@dataclass(frozen=True)
class ExamItem:
    id: str
    block: str
    number: int
    question: str  # with the case that it follows and its choices
    calculation: bool
    select: int  # how many choices are right
    answer: tuple[str, ...]  # letters, or the number of a calculation; () if the question was struck out
    requires_image: bool
    points: int

    @property
    def required(self) -> bool:
        """Whether it counts for the required part of the examination, blocks B and E."""
        return self.block in REQUIRED_BLOCKS


def is_exam(entry: Mapping[str, Any]) -> bool:
    return ("question_id" in entry and "question_text" in entry) or ("problem_id" in entry and "problem_text" in entry)


def read_exam(path: Path) -> list[ExamItem]:
    """The questions of an exam's file; raises BadInput naming the file and the place."""
    text = read_text(path)
    if text.lstrip()[:1] not in ("{", "["):
        raise BadInput(f"{path} line 1 is no JSON; give the exam's questions as JSON or JSONL")
    items: dict[str, ExamItem] = {}
    for where, entry in json_rows(path, text):
        item = exam_item(where, entry)
        if item.id in items:
            raise BadInput(f"{where} has the id {item.id!r} a second time; give each question its own")
        items[item.id] = item
    return list(items.values())


def exam_item(where: str, entry: Mapping[str, Any]) -> ExamItem:
    """One question of either collection; raises BadInput for one that lacks what scoring needs."""
    if not is_exam(entry):
        raise BadInput(f"{where} is no question of an exam: it needs question_id, block, question_text and answer")
    igakuqa = "problem_id" in entry
    name = text_of(where, entry, "problem_id" if igakuqa else "question_id")
    block, number = place_of(where, name, entry)
    calculation = entry.get("question_type") == "calculation"
    answer = answer_of(where, entry, calculation)
    image = not entry.get("text_only", True) if igakuqa else bool(entry.get("requires_image", False))
    return ExamItem(
        id=name,
        block=block,
        number=number,
        question=question_of(where, entry, igakuqa),
        calculation=calculation,
        select=int(entry.get("num_choices_to_select") or max(1, len(answer))),
        answer=answer,
        requires_image=image,
        points=points_of(where, entry, block, number),
    )


def place_of(where: str, name: str, entry: Mapping[str, Any]) -> tuple[str, int]:
    """Block and number, by their keys or else by the id."""
    found = PLACE.fullmatch(name)
    block = entry.get("block") or (found[1] if found else None)
    number = entry.get("number") or (found[2] if found else None)
    try:
        return str(block)[:1] if block else "", int(str(number))
    except ValueError:
        raise BadInput(f"{where} says neither by 'number' nor by its id {name!r} which number it has; add it") from None


def points_of(where: str, entry: Mapping[str, Any], block: str, number: int) -> int:
    """1, and 3 from number 26 in the required blocks; a file that states points has its own."""
    if "points" not in entry:
        return 3 if block in REQUIRED_BLOCKS and number >= FIRST_OF_THREE_POINTS else 1
    try:
        return int(entry["points"])
    except (TypeError, ValueError):
        raise BadInput(f"{where} has the points {entry['points']!r}; write a whole number") from None


def answer_of(where: str, entry: Mapping[str, Any], calculation: bool) -> tuple[str, ...]:
    given = entry.get("answer")
    if not isinstance(given, list) or not all(isinstance(one, str | int | float) for one in given):
        raise BadInput(f'{where} has the answer {given!r} where a list such as ["a"] must stand; mend it')
    letters = tuple(str(one).strip() for one in given)
    if calculation:
        return letters
    if any(len(one) != 1 or one.lower() not in SMALL for one in letters):
        raise BadInput(f"{where} has the answer {given!r}, which are no letters of choices; mend it")
    return tuple(sorted(one.lower() for one in letters))


def question_of(where: str, entry: Mapping[str, Any], igakuqa: bool) -> str:
    """All that is asked, as one text."""
    if igakuqa:
        choices = entry.get("choices") or []
        lines = [f"{SMALL[i]}. {choice}" for i, choice in enumerate(choices)]
        return "\n".join([text_of(where, entry, "problem_text"), *lines])
    case = (entry.get("serial_group") or {}).get("context_text", "")
    return "\n\n".join(part for part in (case, text_of(where, entry, "question_text")) if part)


def single_choice(item: ExamItem) -> tuple[str, tuple[str, ...], int] | None:
    """(the question without its choices, the choices, index of the right one), or None for any other question."""
    if item.requires_image or item.calculation or len(item.answer) != 1:
        return None
    lines = item.question.split("\n")
    choices: list[str] = []
    while lines and len(choices) < len(SMALL):
        line = lines.pop()
        if not line.strip():
            continue
        if (found := CHOICE_LINE.match(line)) is None:
            lines.append(line)
            break
        choices.insert(0, found[2].strip())
        if found[1] in "aａ":
            break
    answer = SMALL.index(item.answer[0])
    if len(choices) < 2 or answer >= len(choices) or not "".join(lines).strip():
        return None
    return "\n".join(lines).strip(), tuple(choices), answer

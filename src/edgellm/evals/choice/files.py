"""Files of multiple-choice questions, told apart by what they hold.

| format | looks like |
|---|---|
| JCommonsenseQA | JSONL of `{"q_id", "question", "choice0", …, "choice4", "label"}` |
| JMMLU | CSV without a header: question, A, B, C, D, answer letter; a folder of such files, each a category |
| medical exam | JSON list of `{"question_id", "block", "question_text", "answer": ["a"], …}`, IgakuQA: `exam_files` |
| general | JSONL of `{"id", "question", "choices": […], "answer": index from 0, label or the choice's text}` |

Nothing of these ships with edgellm; users give a path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from edgellm.errors import BadInput
from edgellm.evals.choice.exam_files import exam_item, is_exam, single_choice
from edgellm.evals.choice.items import CAPITALS, MOST_CHOICES, SMALL, ChoiceItem, labels_for
from edgellm.evals.choice.lines import csv_rows, json_rows, read_text, text_of

JMMLU_COLUMNS = 6
KINDS = "JCommonsenseQA JSONL, JMMLU CSV, the medical exam's JSON, or JSONL with id, question, choices and answer"


def read_items(path: Path) -> list[ChoiceItem]:
    """The items of a file, or of all files of a folder.

    Raises BadInput naming file and line. Exam questions that are no single choice of text are not among the items; see
    `left_out`.
    """
    return read_with_rest(path)[0]


def left_out(path: Path) -> list[str]:
    """Ids of the questions of a file that are no single choice of text: pictures, calculations, several answers."""
    return read_with_rest(path)[1]


def read_with_rest(path: Path) -> tuple[list[ChoiceItem], list[str]]:
    files = sorted(p for p in path.iterdir() if p.suffix in (".csv", ".json", ".jsonl")) if path.is_dir() else [path]
    if not files:
        raise BadInput(f"{path} holds no .csv, .json or .jsonl file; give a folder or file of {KINDS}")
    items: list[ChoiceItem] = []
    rest: list[str] = []
    seen: dict[str, str] = {}
    for file in files:
        for where, item in entries_of(file):
            if isinstance(item, str):
                rest.append(item)
                continue
            if item.id in seen:
                raise BadInput(f"{where} has the id {item.id!r} of {seen[item.id]}; give each item its own")
            seen[item.id] = where
            items.append(item)
    if not items:
        raise BadInput(f"{path} holds no question with one right answer among choices of text; give {KINDS}")
    return items, rest


def entries_of(path: Path) -> Iterator[tuple[str, ChoiceItem | str]]:
    """Each question of a file, or its id alone where it is no single choice of text."""
    text = read_text(path)
    if text.lstrip()[:1] not in ("{", "["):
        yield from jmmlu_items(path, text)
        return
    for where, entry in json_rows(path, text):
        yield where, reader_for(where, entry)(where, entry)


def reader_for(where: str, entry: Mapping[str, Any]) -> Callable[[str, Mapping[str, Any]], ChoiceItem | str]:
    if "choice0" in entry:
        return jcommonsenseqa_item
    if is_exam(entry):
        return exam_choice
    if "choices" in entry:
        return general_item
    raise BadInput(f"{where} is of no format that is known here; give {KINDS}")


def jmmlu_items(path: Path, text: str) -> Iterator[tuple[str, ChoiceItem]]:
    for number, (where, cells) in enumerate(csv_rows(path, text), 1):
        if len(cells) != JMMLU_COLUMNS:
            raise BadInput(f"{where} has {len(cells)} cells where JMMLU has question, A, B, C, D, answer; give {KINDS}")
        question, *choices, letter = (cell.strip() for cell in cells)
        if letter not in tuple(CAPITALS[:4]):
            raise BadInput(f"{where} has the answer {letter!r} where A, B, C or D must stand; mend it")
        entry = {"question": question, "choices": choices}
        asked, texts = question_of(where, entry)
        answer = CAPITALS.index(letter)
        yield where, ChoiceItem(f"{path.stem}-{number}", asked, texts, answer, path.stem, CAPITALS)


def jcommonsenseqa_item(where: str, entry: Mapping[str, Any]) -> ChoiceItem:
    choices: list[Any] = []
    while f"choice{len(choices)}" in entry:
        choices.append(entry[f"choice{len(choices)}"])
    question, texts = question_of(where, {**entry, "choices": choices})
    answer = index_of(where, entry.get("label"), len(texts))
    return ChoiceItem(identity(where, entry, "q_id"), question, texts, answer, labels=labels_for(texts))


def exam_choice(where: str, entry: Mapping[str, Any]) -> ChoiceItem | str:
    exam = exam_item(where, entry)
    found = single_choice(exam)
    if found is None:
        return exam.id
    stem, choices, answer = found
    question, texts = question_of(where, {"question": stem, "choices": choices})
    return ChoiceItem(exam.id, question, texts, answer, exam.block, SMALL)


def general_item(where: str, entry: Mapping[str, Any]) -> ChoiceItem:
    question, choices = question_of(where, entry)
    stated = entry.get("answer", entry.get("label"))
    category = str(entry.get("category", ""))
    labels = labels_for(choices)
    return ChoiceItem(
        identity(where, entry, "id"), question, choices, answer_of(where, stated, choices), category, labels
    )  # fmt: skip


def answer_of(where: str, stated: object, choices: tuple[str, ...]) -> int:
    """The index of the right answer: an index from 0 as a number, or a choice's text or its letter as a string."""
    if not isinstance(stated, str):
        return index_of(where, stated, len(choices))
    if stated in choices:
        return choices.index(stated)
    label = stated.strip().upper()
    if len(label) == 1 and label in CAPITALS[: len(choices)]:
        return CAPITALS.index(label)
    raise BadInput(f"{where} has the answer {stated!r}, which is neither a choice nor its letter; mend it")


def index_of(where: str, value: object, count: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < count:
        raise BadInput(f"{where} has the answer {value!r} where a number from 0 to {count - 1} must stand; mend it")
    return value


def question_of(where: str, entry: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    choices = entry.get("choices")
    if not isinstance(choices, list | tuple) or not all(isinstance(c, str) and c.strip() for c in choices):
        raise BadInput(f"{where} has a choice that is not text, or is blank; write every choice")
    if not 2 <= len(choices) <= MOST_CHOICES:
        raise BadInput(f"{where} has {len(choices)} choices; give 2 to {MOST_CHOICES}")
    return text_of(where, entry, "question").strip(), tuple(choice.strip() for choice in choices)


def identity(where: str, entry: Mapping[str, Any], key: str) -> str:
    value = entry.get(key, entry.get("id"))
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise BadInput(f"{where} has no {key!r}; give each item an id")
    return str(value)

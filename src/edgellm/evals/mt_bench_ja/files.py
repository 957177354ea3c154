"""FastChat's files, read and written: questions, answers, references, judge prompts and judgments, one JSON a line.

What differs between the programs that write them is taken in here: ids are numbers or strings, Swallow's judgments
hold lists of N, Nejumi's name the judge by other keys. A line that cannot be used is named by file and number.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from edgellm.errors import BadInput
from edgellm.evals.judge import FAILED_CALL
from edgellm.store.atomic import write_text
from edgellm.store.json_lines import rows_of

Row = dict[str, Any]
T = TypeVar("T")
NUMBER = re.compile(r"-?\d+(\.\d+)?", re.ASCII)
NO_SCORE = -1.0  # as FastChat writes it
# Ids in blocks of ten, in these orders.
JAPANESE = ("coding", "extraction", "humanities", "math", "reasoning", "roleplay", "stem", "writing")
ENGLISH = ("writing", "roleplay", "reasoning", "math", "coding", "extraction", "stem", "humanities")
BLOCKS = ((1, JAPANESE), (81, ENGLISH), (1001, JAPANESE))
BLOCK = 10


@dataclass(frozen=True)
class Question:
    id: str
    category: str
    turns: tuple[str, ...]
    references: tuple[str, ...] = ()  # one a turn, where the question's own line has them


@dataclass(frozen=True)
class Answers:
    """N conversations about one question: `choices[n][turn]`."""

    question: str
    model: str
    choices: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class JudgePrompt:
    name: str
    system: str
    template: str


@dataclass(frozen=True)
class Judged:
    """One line of a judgment file: one turn of one question, judged once or N times.

    `scores` has NO_SCORE for a judgment that failed, and None where the line says nothing of a score.
    """

    question: str
    model: str
    turn: int
    prompt: str  # name of the judge prompt
    scores: tuple[float | None, ...]
    texts: tuple[str, ...]  # the judgments; as many as scores, or none
    category: str = ""  # "" where neither the line nor the id tells
    statuses: tuple[str, ...] = ()  # ours: `empty` or `refused`, of each answer that was judged
    judge: str = ""
    where: str = ""  # file and line, for messages


def category_of(question: str) -> str:
    """By the block of ten in which an id stands; "" for an id of no known block."""
    if question.isascii() and question.isdigit():
        for first, names in BLOCKS:
            place = (int(question) - first) // BLOCK
            if 0 <= place < len(names):
                return names[place]
    return ""


def read_questions(path: Path) -> list[Question]:
    """Raises BadInput for a broken line, and for a question that stands twice."""
    questions = read(path, question_of)
    seen: set[str] = set()
    for question in questions:
        if question.id in seen:
            raise BadInput(f"{path} holds question {question.id} twice; keep one of them")
        seen.add(question.id)
    return questions


def read_answers(path: Path) -> list[Answers]:
    return read(path, answers_of)


def read_references(path: Path) -> dict[str, tuple[str, ...]]:
    """Reference answers by question: the first choice, one a turn. A later line of a question stands for it."""
    return {answers.question: answers.choices[0] for answers in read_answers(path)}


def read_judge_prompts(path: Path) -> dict[str, JudgePrompt]:
    return {prompt.name: prompt for prompt in read(path, prompt_of)}


def read_judgments(path: Path) -> list[Judged]:
    return read(path, judged_of)


def write_answers(path: Path, answers: Iterable[Answers]) -> None:
    """One line a question, as FastChat's `model_answer` has them."""
    from edgellm.store import digest

    lines = []
    for given in answers:
        choices = [{"index": index, "turns": list(turns)} for index, turns in enumerate(given.choices)]
        answer_id = digest.of_value([given.question, given.model, choices]).removeprefix("sha256:")[:22]
        lines.append(
            {"question_id": as_id(given.question), "answer_id": answer_id, "model_id": given.model,
             "choices": choices, "tstamp": time.time()}
        )  # fmt: skip
    write_lines(path, lines)


def write_judgments(path: Path, judgments: Iterable[Judged], prompts: Sequence[Sequence[str]]) -> None:
    """One line a turn, as FastChat's `model_judgment` has them; with lists where there are N judgments, as Swallow
    writes them. `prompts`: what the judge was asked, for each judgment of each line."""
    lines = []
    for judged, asked in zip(judgments, prompts, strict=True):
        scores = [as_number(NO_SCORE if score is None else score) for score in judged.scores]
        single = len(scores) == 1
        line: Row = {
            "question_id": as_id(judged.question), "model": judged.model, "judge": [judged.judge, judged.prompt],
            "user_prompt": asked[0] if single else list(asked),
            "judgment": judged.texts[0] if single else list(judged.texts),
            "score": scores[0] if single else scores,
            "turn": judged.turn, "tstamp": time.time(), "category": judged.category,
        }  # fmt: skip
        if any(status != "ok" for status in judged.statuses):
            line["status"] = judged.statuses[0] if single else list(judged.statuses)
        lines.append(line)
    write_lines(path, lines)


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read(path: Path, make: Callable[[Row, str], T]) -> list[T]:
    """What `make` makes of each line. Raises BadInput, by file and line, for what it cannot use."""
    found = []
    for number, row in rows_of(path):
        where = f"{path}, line {number}"
        try:
            found.append(make(row, where))
        except KeyError as error:
            raise BadInput(f"{where} has no {error.args[0]!r}; it must be a line as FastChat writes it") from None
        except (TypeError, ValueError, IndexError) as error:
            raise BadInput(f"{where} cannot be used ({error}); correct or remove it") from None
    if not found:
        raise BadInput(f"{path} holds no line; check that it is the file that you mean")
    return found


def question_of(row: Row, where: str) -> Question:
    turns = texts(row["turns"], "turns")
    if not turns:
        raise ValueError("`turns` is empty")
    own = id_of(row["question_id"])
    return Question(own, str(row.get("category") or category_of(own)), turns, references_of(row.get("reference")))


def references_of(given: object) -> tuple[str, ...]:
    """One a turn; some files have them as texts, some as `[{"turns": [...]}]`."""
    if not isinstance(given, list) or not given:
        return ()
    if isinstance(given[0], Mapping):
        return texts(given[0].get("turns"), "reference")
    return texts(given, "reference")


def answers_of(row: Row, where: str) -> Answers:
    choices = row["choices"]
    if not isinstance(choices, list) or not choices:
        raise ValueError("`choices` is no list with an answer")
    model = str(row.get("model_id") or "")
    return Answers(id_of(row["question_id"]), model, tuple(texts(choice["turns"], "turns") for choice in choices))


def prompt_of(row: Row, where: str) -> JudgePrompt:
    return JudgePrompt(str(row["name"]), str(row.get("system_prompt") or ""), str(row.get("prompt_template") or ""))


def judged_of(row: Row, where: str) -> Judged:
    if "model_1" in row:
        raise ValueError("it compares two models; only judgments of single answers can be counted")
    question = id_of(row["question_id"])
    model = next((str(row[key]) for key in ("model", "model_name", "model_id") if row.get(key)), None)
    if model is None:
        raise KeyError("model")
    judge, prompt = judge_of(row)
    said = listed(row.get("judgment"))
    scores = tuple(score_of(score) for score in listed(row.get("score", [None] * max(1, len(said)))))
    if said and len(said) != len(scores):
        raise ValueError(f"it has {len(said)} judgments and {len(scores)} scores")
    words = tuple(str(text) for text in said)
    if words:
        scores = tuple(NO_SCORE if text == FAILED_CALL else score for score, text in zip(scores, words, strict=True))
    turn = row.get("turn", 2 if prompt.endswith("multi-turn") else 1)
    if isinstance(turn, bool) or not isinstance(turn, int) or turn < 1:
        raise ValueError(f"`turn` is {turn!r}, no number from 1")
    status = tuple(str(one) for one in listed(row.get("status")))
    category = str(row.get("category") or category_of(question))
    return Judged(question, model, turn, prompt, scores, words, category, status, judge, where)


def judge_of(row: Row) -> tuple[str, str]:
    """(judge, name of the prompt)."""
    judge = row.get("judge")
    if isinstance(judge, list):
        return str(judge[0]) if judge else "", str(judge[1]) if len(judge) > 1 else ""
    return str(row.get("judge_model") or judge or ""), str(row.get("judge_prompt_template") or "")


def score_of(given: object) -> float | None:
    """The score as it stands; None where there is none."""
    if given is None:
        return None
    if isinstance(given, str) and NUMBER.fullmatch(given):
        given = float(given)
    if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
        raise ValueError(f"`score` is {given!r}, no number")
    return float(given)


def listed(given: object) -> list[Any]:
    """A list as it is, one thing as a list of it, nothing as an empty list."""
    return given if isinstance(given, list) else [] if given is None else [given]


def id_of(given: object) -> str:
    """Ids are compared as text, so that 7 and "7" are the same question."""
    if isinstance(given, bool) or not isinstance(given, int | str) or given == "":
        raise ValueError(f"`question_id` is {given!r}, neither a number nor a text")
    return str(given)


def as_id(own: str) -> int | str:
    """A number where it was one, as FastChat writes them."""
    return int(own) if own.isascii() and own.isdigit() and str(int(own)) == own else own


def as_number(score: float) -> int | float:
    return int(score) if score == int(score) else score


def texts(given: object, name: str) -> tuple[str, ...]:
    if not isinstance(given, list) or not all(isinstance(text, str) for text in given):
        raise ValueError(f"`{name}` is no list of texts")
    return tuple(given)

"""The suite `exam`: the Japanese medical licensing examination, by its points and pass marks.

400 questions, 500 points: one each, but three for numbers 26 to 50 of the required blocks B and E. It is passed with
enough points in the required part (200) and in the rest (300); the marks change every year. No question ships.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from edgellm.errors import UsageError
from edgellm.evals.choice.answers import Answer, read_answers
from edgellm.evals.choice.exam_answers import leniently, same_number, strictly
from edgellm.evals.choice.exam_files import ExamItem, read_exam
from edgellm.evals.choice.generation import asked
from edgellm.evals.options import SuiteOptions
from edgellm.evals.run import Outcome, Run
from edgellm.evals.scoring import by_category, is_refusal, mean_score
from edgellm.records.evals import ItemRecord
from edgellm.store import digest

RULES = 1  # raised when wording, reading or points change
MAX_TOKENS = 2048
REQUIRED_POINTS, GENERAL_POINTS = 200, 300  # of a whole examination
PROTOCOL = re.compile(r"jmle(?:-(\d+)-(\d+))?")
ASKED = (
    "次は医師国家試験の問題です。問題をよく読み、{what}\n\n{question}\n\n"
    "最後の行に、次の形で答えだけを書いてください。\n"
)
CHOOSE = "正しい選択肢を{count}つ選んでください。"
CALCULATE = "数値で答えてください。"


@dataclass(frozen=True)
class PassMarks:
    """Points that are needed; the defaults are those of the 119th examination."""

    required: int = 160
    general: int = 221


class Exam:
    """Takes `items` and `protocol`: `jmle`, or `jmle-R-G` with other marks for the required and the general part."""

    name = "exam"

    def __init__(self, options: SuiteOptions) -> None:
        """Raises BadInput for a file that cannot be read, UsageError where there is none or an option has no sense."""
        options.refuse(
            self.name, ["judge", "judge_prompts", "references", "repeats", "shots", "lengths", "quirks", "cache"]
        )
        if options.mode == "likelihood":
            raise UsageError("the suite exam has questions with several answers; ask it with --mode generation")
        if options.items is None:
            raise UsageError(
                "the suite exam ships no questions; give --items FILE, in JMLE2026-Bench's JSON or IgakuQA's JSONL"
            )
        found = PROTOCOL.fullmatch(options.protocol or "jmle")
        if found is None:
            raise UsageError(f"the suite exam has no protocol {options.protocol!r}; take jmle, or jmle-160-221")
        self.marks = PassMarks(int(found[1]), int(found[2])) if found[1] else PassMarks()
        self.protocol = "jmle"
        self.items = read_exam(options.items)

    def digests(self) -> tuple[str, str]:
        """As `Suite.digests`. The pass marks decide no score, so they are not in it."""
        return digest.of_value([asdict(item) for item in self.items]), digest.of_value([RULES, ASKED, MAX_TOKENS])

    def run(self, run: Run) -> Outcome:
        """Every question is put in words alone, those with pictures too, which are also kept apart in the measures."""
        items = run.limited(self.items)
        jobs = {item.id: partial(asked, run.model, prompt_of(item), MAX_TOKENS) for item in items}
        found = run.each(jobs, "questions")
        records = []
        for item, said in zip(items, found.values(), strict=True):
            more = {key: said[key] for key in ("prompt_tokens", "reasoning_characters", "seconds")}
            records.append(record_of(item, Answer("", None, said["answer"])).model_copy(update=more))
        return exam_outcome(items, records, self.marks)


def prompt_of(item: ExamItem) -> str:
    what = CALCULATE if item.calculation else CHOOSE.format(count=item.select)
    example = "【回答】12.3" if item.calculation else "【回答】" + ",".join("ace"[: item.select])
    return ASKED.format(what=what, question=item.question) + example


def record_of(item: ExamItem, answer: Answer | None) -> ItemRecord:
    """Right or wrong by the strict reading; the lenient one stands beside it. Points are in the detail."""
    detail: dict[str, Any] = {"points": item.points, "required": item.required, "requires_image": item.requires_image}
    record = ItemRecord(id=item.id, category=item.block, prompt=prompt_of(item), score=0.0, detail=detail)
    if not item.answer:
        return record.model_copy(update={"score": None, "status": "unscored", "reason": "it has no right answer"})
    if answer is None:
        return record.model_copy(update={"status": "empty", "reason": "the file has no answer to it"})
    read = strict_reading(item, answer)
    lenient = lenient_reading(item, answer) or read
    detail |= {
        "chosen": list(read),
        "right": list(item.answer),
        "lenient": list(lenient),
        "right_leniently": agrees(item, read) or agrees(item, lenient, by_value=True),
    }
    record = record.model_copy(update={"answer": answer.words, "detail": detail, "score": float(agrees(item, read))})
    if not read and not answer.words.strip():
        return record.model_copy(update={"status": "empty", "reason": "the model said nothing"})
    if not read and is_refusal(answer.words):
        return record.model_copy(update={"status": "refused", "reason": "the model declined to answer"})
    return record if read else record.model_copy(update={"reason": "nothing to be read after 【回答】"})


def strict_reading(item: ExamItem, answer: Answer) -> tuple[str, ...]:
    """What whoever wrote the file has read out of the response goes before our own reading."""
    if answer.given is None:
        return strictly(answer.text, calculation=item.calculation)
    if item.calculation:
        return tuple(one.strip() for one in answer.given)
    read = {letter for one in answer.given for letter in strictly(one, calculation=False)}
    return tuple(sorted(read))


def lenient_reading(item: ExamItem, answer: Answer) -> tuple[str, ...]:
    return leniently(answer.text or ", ".join(answer.given or ()), calculation=item.calculation)


def agrees(item: ExamItem, read: tuple[str, ...], *, by_value: bool = False) -> bool:
    """All right choices and no other; a calculation's number as it is written, or `by_value`."""
    if item.calculation and by_value:
        return len(read) == 1 and same_number(read[0], item.answer[0])
    return sorted(read) == sorted(item.answer)


def exam_outcome(items: Sequence[ExamItem], records: Sequence[ItemRecord], marks: PassMarks) -> Outcome:
    """Score: share of questions answered right. Points and pass marks are in the measures.

    Questions with pictures that have no answer count for the points, where they earn none, but not for the score.
    """
    pairs = [
        (item, record) for item, record in zip(items, records, strict=True)
        if record.score is not None and (not item.requires_image or "chosen" in record.detail)
    ]  # fmt: skip
    if not pairs:
        raise UsageError("no question of the exam could be scored; give a file with answers")
    measures, notes = measured(items, pairs, marks)
    kept = [record for _, record in pairs]
    return Outcome(
        records=records,
        score=mean_score([record.score or 0.0 for record in kept]),
        categories=by_category(kept),
        items=len(kept),
        measures=measures,
        notes=notes,
    )


def measured(
    items: Sequence[ExamItem], pairs: Sequence[tuple[ExamItem, ItemRecord]], marks: PassMarks
) -> tuple[dict[str, float], list[str]]:
    def points(kept: Sequence[tuple[ExamItem, ItemRecord]]) -> float:
        return float(sum(item.points for item, record in kept if record.score == 1))

    text_only = [pair for pair in pairs if not pair[0].requires_image]
    required = [pair for pair in pairs if pair[0].required]
    general = [pair for pair in pairs if not pair[0].required]
    found = {
        "points": points(pairs),
        "points_possible": float(sum(item.points for item in items)),
        "required_points": points(required),
        "general_points": points(general),
        "points_lenient": float(sum(item.points for item, record in pairs if record.detail.get("right_leniently"))),
        "unread_answers": float(sum(not record.detail.get("chosen") for _, record in pairs)),
        "image_questions": float(sum(item.requires_image for item in items)),
        "text_only_questions": float(len(text_only)),
        "text_only_points": points(text_only),
        "text_only_points_possible": float(sum(item.points for item in items if not item.requires_image)),
    }
    if text_only:
        found["text_only_accuracy"] = sum(record.score or 0.0 for _, record in text_only) / len(text_only)
    notes = [f"pictures are not shown: {int(found['image_questions'])} questions need them, see text_only_accuracy"]
    if unanswered := sum(item.requires_image for item in items) - (len(pairs) - len(text_only)):
        notes.append(f"{unanswered} questions with pictures have no answer: no points, and not in the score")
    whole = [sum(i.points for i in items if i.required), sum(i.points for i in items if not i.required)]
    if whole == [REQUIRED_POINTS, GENERAL_POINTS]:
        found["passed"] = float(
            found["required_points"] >= marks.required and found["general_points"] >= marks.general
        )  # fmt: skip
        notes.append(
            f"passed means {marks.required} of 200 points in the required part and {marks.general} of 300 in the "
            "general part; unless set otherwise these are the marks of the 119th examination, a year before the 120th"
        )
    else:
        notes.append(f"not a whole examination ({sum(whole)} of 500 points), so nothing is said about passing")
    return found, notes


def score_file(answers: Path, items: Path, marks: PassMarks = PassMarks()) -> Outcome:
    """Score answers that were given already, one model a file; see `answers` for what it looks like.

    Questions without an answer are wrong; those with pictures are then left out of the score. Raises BadInput naming
    the line of a file.
    """
    questions = read_exam(items)
    given = read_answers(answers, {item.id for item in questions})
    return exam_outcome(questions, [record_of(item, given.get(item.id)) for item in questions], marks)

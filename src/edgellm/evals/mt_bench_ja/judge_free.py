"""The suite `judge-free`: our questions of coding, extraction, mathematics and reasoning, scored by programs alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from edgellm.errors import UsageError
from edgellm.evals.checkers import check_all
from edgellm.evals.checkers.outcome import Checked
from edgellm.evals.mt_bench_ja.answers import Answer, Asker, Place, as_files_have_them
from edgellm.evals.mt_bench_ja.files import Question, Row, write_answers
from edgellm.evals.mt_bench_ja.protocols import Protocol
from edgellm.evals.mt_bench_ja.questions import load_questions
from edgellm.evals.mt_bench_ja.verify import read_checks
from edgellm.evals.options import SuiteOptions
from edgellm.evals.run import Outcome, Run
from edgellm.evals.scoring import by_category, is_refusal, mean_score
from edgellm.records.evals import ItemRecord, ItemStatus
from edgellm.store import digest

NAME = "judge-free"
VERSION = 1  # goes up when an answer can get another score by the same checks
CATEGORIES = ("coding", "extraction", "math", "reasoning")
CHECKED = Protocol(
    name="checks", source="edgellm", counting="rows", temperatures=dict.fromkeys(CATEGORIES, 0.0), max_tokens=2048
)
REFUSED_OPTIONS = (
    "items", "judge", "judge_prompts", "references", "repeats", "mode", "shots", "lengths", "quirks", "cache",
    "judgment_file",
)  # fmt: skip


class JudgeFree:
    """Both turns are asked once, greedily, the second after the model's own first answer. A turn's score is the mean
    of its checks, from 0 to 1; the score is the mean over turns, with an interval over questions.

    Code that cannot be confined on this machine is not run, and its turns count neither as right nor as wrong.
    """

    name = NAME
    protocol = CHECKED.name

    def __init__(self, options: SuiteOptions) -> None:
        """Raises UsageError for options that mean nothing here."""
        options.refuse(NAME, REFUSED_OPTIONS)
        if options.protocol not in (None, CHECKED.name):
            raise UsageError(f"{NAME} has the protocol {CHECKED.name} alone, not {options.protocol}; leave it out")
        self._answer_file = options.answer_file
        self._questions = [
            replace(own, references=()) for own in load_questions(None, None) if own.category in CATEGORIES
        ]
        self._checks = read_checks()

    def digests(self) -> tuple[str, str]:
        """Of the questions; and of the checks and how they are asked."""
        items = [[own.id, own.category, *own.turns] for own in self._questions]
        checks = [[*place, specs] for place, specs in sorted(self._checks.items())]
        rules = {"version": VERSION, "protocol": CHECKED.facts(), "checks": checks}
        return digest.of_value(items), digest.of_value(rules)

    def run(self, run: Run) -> Outcome:
        questions = list(run.limited(self._questions))
        answers = Asker(run, CHECKED, system="", quirks=False).all(questions)
        if self._answer_file:
            write_answers(self._answer_file, as_files_have_them(answers, run.model.name))
        checked = self._checked(answers, run.concurrency)
        records = [
            record_of(question, turn, answers[question.id, 0, turn], checked[question.id, 0, turn])
            for question in questions
            for turn in range(1, len(question.turns) + 1)
        ]
        scored = [(own.score, own.id) for own in records if own.score is not None]
        score = mean_score([value for value, _ in scored], [item for _, item in scored]) if scored else None
        return Outcome(
            records=records, score=score, categories=by_category(records), items=len(questions),
            notes=notes_of(records),
        )  # fmt: skip

    def _checked(self, answers: Mapping[Place, Answer], concurrency: int) -> dict[Place, Checked]:
        """Not kept in the journal: where a sandbox is had only at the second start, code is run then."""

        def check(place: Place) -> Checked:
            question, repeat, turn = place
            earlier = [answers[question, repeat, before].text for before in range(1, turn)]
            return checked_answer(self._checks.get((question, turn), []), answers[place], earlier)

        with ThreadPoolExecutor(max(1, concurrency)) as workers:
            return dict(zip(answers, workers.map(check, answers), strict=True))


def checked_answer(specs: Sequence[Row], answer: Answer, earlier: Sequence[str]) -> Checked:
    """An empty answer gets 0; one that there is not gets no score."""
    if answer.error:
        return Checked(None, "failed", f"the model gave no answer: {answer.error}")
    if not answer.text.strip():
        return Checked(0.0, "empty", "the answer is empty")
    found = check_all(specs, answer.text, earlier)
    refused = found.score == 0 and is_refusal(answer.text)
    return replace(found, status="refused") if refused else found


def record_of(question: Question, turn: int, answer: Answer, checked: Checked) -> ItemRecord:
    status: ItemStatus = checked.status
    return ItemRecord(
        id=question.id, category=question.category, turn=turn, prompt=question.turns[turn - 1],
        prompt_tokens=answer.prompt_tokens, answer=answer.text, reasoning_characters=answer.reasoning_characters,
        seconds=answer.seconds, score=checked.score, status=status, reason=checked.reason,
        detail={"finish_reason": answer.finish_reason, "completion_tokens": answer.completion_tokens},
    )  # fmt: skip


def notes_of(records: Sequence[ItemRecord]) -> list[str]:
    notes = []
    unscored = [own for own in records if own.status == "unscored"]
    if unscored:
        notes.append(f"{len(unscored)} answers were not scored, neither as right nor as wrong: {unscored[0].reason}")
    cut = sum(own.detail.get("finish_reason") == "length" for own in records)
    if cut:
        notes.append(f"{cut} answers were cut off at {CHECKED.max_tokens} tokens")
    return notes

"""A judge at work on answers that are there already: to be calibrated, or to compare two models."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edgellm.build.eval_models import Asked, opened
from edgellm.build.evaluating import JUDGE_BREAKS, Shown, journaled
from edgellm.errors import BadInput
from edgellm.evals.journal import Journal
from edgellm.evals.judge import Judge
from edgellm.evals.judge_calibration import calibrate
from edgellm.evals.mt_bench_ja.answers import Answer
from edgellm.evals.mt_bench_ja.files import Answers, Judged, Question, read_answers, read_judgments
from edgellm.evals.mt_bench_ja.judge_prompts import JudgePrompts, load_judge_prompts
from edgellm.evals.mt_bench_ja.judging import Marker, as_judged, conversations_of
from edgellm.evals.mt_bench_ja.protocols import EDGELLM
from edgellm.evals.mt_bench_ja.questions import for_protocol, load_questions
from edgellm.evals.pairwise import PROMPTS_SHA256, compare_pairs, pairs_of, read_side, tally
from edgellm.evals.run import Run
from edgellm.records.judging import JudgeCalibration, PairwiseResult
from edgellm.stages import Progress
from edgellm.stages.bundle import now
from edgellm.store import digest
from edgellm.store.disk import need_writable
from edgellm.store.lock import lock_file, locked
from edgellm.store.work import EVALUATIONS, WorkFolder

VERSION = 1  # of what a journal holds


@dataclass(frozen=True)
class Materials:
    """Files that a judge is shown from; None: ours."""

    questions: Path | None = None
    references: Path | None = None
    judge_prompts: Path | None = None


def calibrate_files(path: Path, against: Path, require_spearman: float | None = None) -> JudgeCalibration:
    """Judgments held against judgments. Raises BadInput for files that cannot be used."""
    return calibrate(read_judgments(path), read_judgments(against), require_spearman)


def calibrate_now(
    answers: Path, against: Path, judge: Asked, materials: Materials, work: WorkFolder, *, concurrency: int = 4,
    require_spearman: float | None = None, progress: Progress | None = None,
) -> JudgeCalibration:  # fmt: skip
    """The same, where the judge is asked now, by our protocol, about the answers that `against` has judgments of.

    A run that was stopped goes on where it was. Raises what the judge raises, and BadInput for files that do not fit
    together.
    """
    known = read_judgments(against)
    wanted = {(line.question, line.model, line.turn) for line in known}
    given = [one for one in read_answers(answers) if any((one.question, one.model, turn) in wanted for turn in (1, 2))]
    if not given:
        raise BadInput(f"{answers} has no answer that {against} judges; bring answers of the same models")
    questions = for_protocol(load_questions(materials.questions, materials.references), EDGELLM)
    prompts = load_judge_prompts(materials.judge_prompts)
    what = {
        "kind": "calibration", "answers": digest.of_file(answers), "questions": digest.of_value(
            [[question.id, question.category, question.turns, question.references] for question in questions]
        ),
        "prompts": prompts.sha256, "protocol": EDGELLM.facts(),
    }  # fmt: skip
    with judge_at_work(judge, work, progress) as (asked, identity), Shown(progress) as shown:
        structured = asked.can_structure()
        judged: list[Judged] = []
        for model in sorted({one.model for one in given}):
            of_model = what | {"judge": identity, "model": model}
            with remembered(of_model, "calibration", work) as journal:
                run = Run(asked.model, journal, concurrency, progress=shown.report)
                own = [one for one in given if one.model == model]
                judged += judged_now(run, asked, prompts, questions, own, structured=structured)
    found = calibrate(judged, known, require_spearman)
    fingerprint = asked.fingerprint(prompts.whose, prompts.sha256, structured=structured)
    return found.model_copy(update={"judge": fingerprint, "judges": (asked.name,)})


def judged_now(
    run: Run, judge: Judge, prompts: JudgePrompts, questions: Sequence[Question], given: Sequence[Answers],
    *, structured: bool,
) -> list[Judged]:  # fmt: skip
    """Judgments of one model's answers, as a file of judgments would have them."""
    turns = {question.id: len(question.turns) for question in questions}
    lacking = sorted({one.question for one in given} - turns.keys())
    if lacking:
        raise BadInput(f"there are answers to question {lacking[0]}, but no such question; give it with --questions")
    answers = {
        (one.question, repeat, turn): Answer(text)
        for one in given
        for repeat, choice in enumerate(one.choices)
        for turn, text in enumerate(choice[: turns[one.question]], 1)
    }
    marker = Marker(run, judge, prompts, EDGELLM, structured=structured)
    verdicts = marker.all(conversations_of(questions, answers))
    return as_judged(verdicts, dict.fromkeys(verdicts, "ok"), questions, given[0].model, judge.name)


@dataclass(frozen=True)
class Compared:
    """Two files of answers, and which model's where a file has several."""

    a: Path
    b: Path
    model_a: str | None = None
    model_b: str | None = None
    limit: int | None = None  # only the first so many questions


def compare_answers(
    compared: Compared, judge: Asked, questions: Path | None, work: WorkFolder, *, concurrency: int = 4,
    progress: Progress | None = None,
) -> PairwiseResult:  # fmt: skip
    """Which of two models' answers the judge prefers; a run that was stopped goes on where it was.

    Raises BadInput for files that do not fit together, and what the judge raises.
    """
    began = time.monotonic()
    a, b = read_side(compared.a, compared.model_a), read_side(compared.b, compared.model_b)
    pairs, unmatched = pairs_of(a, b, load_questions(questions, None))
    kept = list(dict.fromkeys(pair.place[0] for pair in pairs))[: compared.limit]
    pairs = [pair for pair in pairs if pair.place[0] in kept]
    with judge_at_work(judge, work, progress) as (asked, identity), Shown(progress) as shown:
        structured = asked.can_structure()
        what = {
            "pairs": digest.of_value([asdict(pair) for pair in pairs]), "judge": identity, "structured": structured,
            "prompts": PROMPTS_SHA256,
        }  # fmt: skip
        with remembered(what, "pairwise", work) as journal:
            run = Run(asked.model, journal, concurrency, progress=shown.report)
            found = compare_pairs(run, asked, pairs, structured=structured)
        fingerprint = asked.fingerprint("edgellm", PROMPTS_SHA256, structured=structured)
    return PairwiseResult(
        a=a.name, b=b.name, unmatched=unmatched, judge=fingerprint, records=tuple(found), created=now(),
        seconds=time.monotonic() - began, **vars(tally(found, a.name, b.name)),
    )  # fmt: skip


@contextmanager
def judge_at_work(
    asked: Asked, work: WorkFolder, progress: Progress | None
) -> Iterator[tuple[Judge, Mapping[str, Any]]]:  # fmt: skip
    """The judge, which remembers what it said in earlier runs, and what tells it from others."""
    patient = replace(asked, patience=replace(asked.patience, breaks=JUDGE_BREAKS))
    with ExitStack() as stack:
        found = stack.enter_context(opened(patient, "the judge", work, progress))
        judge = Judge(found.model, model_sha256=found.record.sha256 if found.record else None)
        stack.callback(judge.close)
        name = digest.of_value(dict(found.identity)).removeprefix("sha256:")[:24]
        judge.remember_in(work.root / EVALUATIONS / f"judgments-{name}")
        yield judge, found.identity


@contextmanager
def remembered(what: Mapping[str, Any], name: str, work: WorkFolder) -> Iterator[Journal]:
    """The journal of a run that is all of `what`; it goes when the block has ended without an error."""
    run = digest.of_value({"version": VERSION} | dict(what)).removeprefix("sha256:")
    path = work.root / EVALUATIONS / f"{name}-{run[:24]}.jsonl"
    need_writable(path, f"the journal {path}", "name another work folder with EDGELLM_WORK")
    with locked(lock_file(path), f"the same run, whose journal is {path}"):
        with journaled(path, run) as journal:
            yield journal
        path.unlink(missing_ok=True)

"""One run of a suite, from whom to ask to the result; a run that was killed goes on where it was."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from edgellm.build.eval_models import Asked, AskedModel, opened
from edgellm.evals.journal import Journal
from edgellm.evals.judge import Judge
from edgellm.evals.options import SuiteOptions
from edgellm.evals.run import Outcome, Run, Suite
from edgellm.evals.suites import make_suite
from edgellm.records.evals import EvalResult
from edgellm.stages import Progress, Report
from edgellm.stages.bundle import now
from edgellm.store import digest
from edgellm.store.disk import need_writable
from edgellm.store.lock import lock_file, locked
from edgellm.store.work import EVALUATIONS, WorkFolder

VERSION = 1  # of what a journal holds; a run goes on only from one of its own version
JUDGE_BREAKS = 2  # what broke off is judged again at the end


@dataclass(frozen=True)
class Evaluation:
    """What is asked of whom. `options.judge` and `options.cache` are filled in here."""

    suite: str
    asked: Asked
    options: SuiteOptions = field(default_factory=SuiteOptions)
    judge: Asked | None = None
    limit: int | None = None
    fresh: bool = False  # begin anew, and use no judgment of an earlier run


def evaluate(evaluation: Evaluation, work: WorkFolder, progress: Progress | None = None) -> EvalResult:
    """The result of `evaluated`, where losing it costs no more than its run did."""
    with evaluated(evaluation, work, progress) as result:
        return result


@contextmanager
def evaluated(evaluation: Evaluation, work: WorkFolder, progress: Progress | None = None) -> Iterator[EvalResult]:
    """Run the suite and give the result to the block; the journal goes when the block has ended without an error.

    Raises Busy where the same evaluation runs already, and whatever the suite, the model and the judge raise; then what
    was done is kept, and the next call with the same evaluation asks nothing twice.
    """
    with ExitStack() as stack:
        judge, judge_identity = judging(evaluation, stack, work, progress)
        options = replace(evaluation.options, judge=judge, cache=judgments(evaluation, judge_identity, work))
        if judge is not None:
            judge.remember_in(options.cache)
        suite = make_suite(evaluation.suite, options)  # before the model: what is wrong with it is told sooner
        asked = stack.enter_context(opened(evaluation.asked, "the model", work, progress))
        run = digest.of_value(depends_on(suite, options, asked, judge_identity)).removeprefix("sha256:")
        path = work.root / EVALUATIONS / f"{evaluation.suite}-{run[:24]}.jsonl"
        need_writable(path, f"the journal {path}", "name another work folder with EDGELLM_WORK")
        stack.enter_context(locked(lock_file(path), f"the same evaluation, whose journal is {path}"))
        if evaluation.fresh:
            path.unlink(missing_ok=True)
        began = time.monotonic()
        with journaled(path, run) as journal, Shown(progress) as shown:
            if resumed := len(journal):
                shown.note(f"{resumed} answers and judgments are there from a run that was stopped; they are kept")
            outcome = suite.run(
                Run(asked.model, journal, options.concurrency, evaluation.limit, options.seed, shown.report)
            )
            result = result_of(evaluation, suite, outcome, asked, resumed, time.monotonic() - began)
        yield result
        path.unlink(missing_ok=True)


def judging(
    evaluation: Evaluation, stack: ExitStack, work: WorkFolder, progress: Progress | None
) -> tuple[Judge | None, Mapping[str, Any] | None]:  # fmt: skip
    """The judge, if one is asked for, and what tells it from others."""
    if evaluation.judge is None:
        return None, None
    patient = replace(evaluation.judge.patience, breaks=JUDGE_BREAKS)
    found = stack.enter_context(opened(replace(evaluation.judge, patience=patient), "the judge", work, progress))
    judge = Judge(found.model, model_sha256=found.record.sha256 if found.record else None)
    stack.callback(judge.close)
    return judge, found.identity


def judgments(evaluation: Evaluation, judge: Mapping[str, Any] | None, work: WorkFolder) -> Path | None:
    """The folder of what this judge has said in any run: two servers may call different judges by one name."""
    if judge is None or evaluation.fresh:
        return None
    name = digest.of_value(dict(judge)).removeprefix("sha256:")[:24]
    return evaluation.options.cache or work.root / EVALUATIONS / f"judgments-{name}"


def depends_on(
    suite: Suite, options: SuiteOptions, asked: AskedModel, judge: Mapping[str, Any] | None
) -> dict[str, Any]:  # fmt: skip
    """All that decides what an answer, or a judgment, of this run is. How many items are asked, and how many at once,
    does not."""
    items, protocol = suite.digests()
    files = {name: getattr(options, name) for name in ("items", "references", "judge_prompts")}
    return {
        "version": VERSION, "suite": suite.name, "protocol": suite.protocol, "items": items,
        "protocol_sha256": protocol, "model": dict(asked.identity), "judge": dict(judge) if judge else None,
        "repeats": options.repeats, "mode": options.mode, "shots": options.shots, "lengths": list(options.lengths),
        "seed": options.seed, "quirks": options.quirks,
        "files": {name: digest.of_file(file) for name, file in files.items() if file is not None and file.is_file()},
    }  # fmt: skip


@contextmanager
def journaled(path: Path, run: str) -> Iterator[Journal]:
    """The journal for the time of the block; one in which nothing stands is not left behind."""
    journal = Journal(path, run)
    try:
        yield journal
    finally:
        journal.close(finished=not len(journal))


def result_of(
    evaluation: Evaluation, suite: Suite, outcome: Outcome, asked: AskedModel, resumed: int, seconds: float
) -> EvalResult:
    counts = Counter(record.status for record in outcome.records)
    items, protocol = suite.digests()
    return EvalResult(
        suite=suite.name, protocol=suite.protocol, target=evaluation.asked.place, model=asked.record,
        model_name=asked.model.name, score=outcome.score, scale=outcome.scale, categories=dict(outcome.categories),
        items=outcome.items, failed=counts["failed"], empty=counts["empty"], refused=counts["refused"],
        unscored=counts["unscored"], strict=outcome.strict, loose=outcome.loose, measures=dict(outcome.measures),
        judge=outcome.judge, items_sha256=items, protocol_sha256=protocol,
        settings=settings_of(evaluation, asked) | {"resumed": resumed}, notes=notes_on(outcome, asked),
        records=tuple(outcome.records), seconds=seconds, machine=this_machine(), versions=versions_of(asked),
        created=now(),
    )  # fmt: skip


@cache
def this_machine() -> dict[str, Any]:
    """Asking the processor for its name takes most of a second."""
    from edgellm.bench.machine import describe_machine

    return describe_machine()


def settings_of(evaluation: Evaluation, asked: AskedModel) -> dict[str, Any]:
    options, info = evaluation.options, asked.info
    loaded = {} if info is None else {
        "context_tokens": info.context_tokens, "sequences": info.sequences, "batch_invariant": info.batch_invariant,
    }  # fmt: skip
    return {
        "limit": evaluation.limit, "seed": options.seed, "repeats": options.repeats, "mode": options.mode,
        "shots": options.shots, "lengths": list(options.lengths), "quirks": options.quirks,
        "concurrency": options.concurrency,
    } | loaded  # fmt: skip


def notes_on(outcome: Outcome, asked: AskedModel) -> tuple[str, ...]:
    notes = list(outcome.notes)
    if asked.record is not None and asked.record.random_weights:
        notes.append("the model's weights are random, so its scores mean nothing")
    judge = outcome.judge
    if judge is not None and asked.record is not None and judge.model_sha256 == asked.record.sha256 is not None:
        notes.append("the judge is the model that it judges; judges favour answers like their own")
    return tuple(notes)


def versions_of(asked: AskedModel) -> dict[str, str]:
    from importlib.metadata import version

    from edgellm.bench.conditions import software

    return software(asked.info) if asked.info else {"edgellm": version("edgellm")}


class Shown:
    """Shows the jobs of a run under their labels, from whatever thread they are reported."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._open: dict[str, tuple[ExitStack, Report]] = {}

    def note(self, text: str) -> None:
        if self._progress:
            self._progress.note(text)

    def report(self, label: str, done: int, of: int) -> None:
        if self._progress is None:
            return
        with self._lock:
            if label not in self._open:
                stack = ExitStack()
                self._open[label] = stack, stack.enter_context(self._progress.work(label))
            stack, tell = self._open[label]
            tell(done, of)
            if done >= of:
                stack.close()
                del self._open[label]

    def __enter__(self) -> Shown:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            for stack, _tell in self._open.values():
                stack.close()
            self._open.clear()

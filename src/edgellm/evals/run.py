"""One run of a suite: jobs done several at once, each remembered, so that a killed run goes on where it was."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, Protocol

from edgellm.evals.journal import Journal
from edgellm.evals.model import Model
from edgellm.records.evals import Accuracy, ItemRecord, JudgeFingerprint, Score

Job = Callable[[], dict[str, Any]]
Progress = Callable[[str, int, int], None]  # what is done, how many, of how many


@dataclass(frozen=True)
class Outcome:
    """What a suite found."""

    records: Sequence[ItemRecord]
    score: Score | None
    categories: Mapping[str, Score]
    items: int
    scale: float = 1.0
    strict: Accuracy | None = None
    loose: Accuracy | None = None
    measures: Mapping[str, float] = field(default_factory=dict)
    judge: JudgeFingerprint | None = None
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Run:
    model: Model
    journal: Journal
    concurrency: int = 1
    limit: int | None = None  # only the first so many items
    seed: int = 0
    progress: Progress | None = None

    def limited(self, items: Sequence[Any]) -> Sequence[Any]:
        return items if self.limit is None else items[: self.limit]

    def each(self, jobs: Mapping[str, Job], label: str) -> dict[str, dict[str, Any]]:
        """Do the jobs that the journal does not know, `concurrency` at once; gives every result by its key, in the
        order of the jobs.

        A job's result must be made of what JSON holds. An exception of a job ends the run when those under way have
        ended; what is done stays in the journal.
        """
        found = {key: value for key in jobs if (value := self.journal.get(key)) is not None}
        todo = {key: job for key, job in jobs.items() if key not in found}
        self._tell(label, len(found), len(jobs))

        broken = threading.Event()  # nothing more is begun, also by a worker that is quicker than the cancelling

        def do(key: str, job: Job) -> None:
            if broken.is_set():
                return
            try:
                found[key] = value = job()
                self.journal.put(key, value)
            except BaseException:
                broken.set()
                raise
            self._tell(label, len(found), len(jobs))

        with ThreadPoolExecutor(max(1, self.concurrency)) as workers:
            running = [workers.submit(do, key, job) for key, job in todo.items()]
            try:
                ended, _ = wait(running, return_when=FIRST_EXCEPTION)
            finally:
                for future in running:
                    future.cancel()
        for future in ended:
            future.result()
        return {key: found[key] for key in jobs}

    def _tell(self, label: str, done: int, of: int) -> None:
        if self.progress:
            self.progress(label, done, of)


class Suite(Protocol):
    """Items, how they are asked, and how answers are scored."""

    name: str
    protocol: str

    def digests(self) -> tuple[str, str]:
        """SHA-256 of the items, and of everything else that decides the score: prompts, sampling, rules, versions."""
        ...

    def run(self, run: Run) -> Outcome: ...

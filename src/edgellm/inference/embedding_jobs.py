"""Texts to embed, handed from any thread to the one that drives the runtime, which takes one text between two steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from edgellm.engines.protocol import Logits, Runtime
from edgellm.errors import EdgellmError


@dataclass
class _Job:
    prompts: Sequence[Sequence[int]]
    rows: list[Logits] = field(default_factory=list)
    result: Future[Logits] = field(default_factory=Future)


class EmbeddingJobs:
    """The jobs take turns, so that a short one does not wait for all of a long one. Callers keep two threads from
    changing it at once, except during `work`."""

    def __init__(self) -> None:
        self._jobs: deque[_Job] = deque()

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, prompts: Sequence[Sequence[int]]) -> Future[Logits]:
        job = _Job(prompts)
        self._jobs.append(job)
        return job.result

    def work(self, runtime: Runtime) -> None:
        """Embed the next text, if there is one; an error is its caller's.

        Never several at once: that takes as long, and then a vector would depend on its neighbours in the last bits.
        """
        if not self._jobs:
            return
        job = self._jobs[0]  # taken out when it is done, so that `end` reaches it too
        try:
            done = len(job.rows)
            job.rows.append(runtime.embed(job.prompts[done : done + 1]))
            if len(job.rows) < len(job.prompts):
                self._jobs.rotate(-1)
            else:
                self._jobs.popleft().result.set_result(np.concatenate(job.rows))
        except EdgellmError as error:
            self._jobs.popleft().result.set_exception(error)

    def end(self, error: EdgellmError) -> None:
        """Nobody will work here any more."""
        while self._jobs:
            self._jobs.popleft().result.set_exception(error)

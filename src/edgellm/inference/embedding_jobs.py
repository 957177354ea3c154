"""Texts to embed, handed from any thread to the one that drives the runtime, which takes a few between two steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import accumulate, takewhile

import numpy as np

from edgellm.engines.protocol import Logits, Runtime
from edgellm.errors import EdgellmError

TOKENS_AT_ONCE = 64  # of several texts; a step of answers waits for them


@dataclass
class _Job:
    prompts: Sequence[Sequence[int]]
    rows: list[Logits] = field(default_factory=list)
    done: int = 0  # prompts
    result: Future[Logits] = field(default_factory=Future)

    def next_texts(self) -> Sequence[Sequence[int]]:
        """One text, or as many as have few tokens together: those cost little more than one of them."""
        sizes = accumulate(len(prompt) for prompt in self.prompts[self.done :])
        count = sum(1 for _ in takewhile(lambda size: size <= TOKENS_AT_ONCE, sizes))
        return self.prompts[self.done : self.done + max(1, count)]


class EmbeddingJobs:
    """The jobs take turns, so that a short one does not wait for all of a long one. Callers keep two threads from changing it at once, except during `work`."""

    def __init__(self) -> None:
        self._jobs: deque[_Job] = deque()

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, prompts: Sequence[Sequence[int]]) -> Future[Logits]:
        job = _Job(prompts)
        self._jobs.append(job)
        return job.result

    def work(self, runtime: Runtime) -> None:
        """Embed the next texts, if there are any; an error is their caller's."""
        if not self._jobs:
            return
        job = self._jobs[0]
        texts = job.next_texts()
        try:
            job.rows.append(runtime.embed(texts))
        except EdgellmError as error:
            self._jobs.popleft().result.set_exception(error)
            return
        job.done += len(texts)
        if job.done == len(job.prompts):
            self._jobs.popleft().result.set_result(np.concatenate(job.rows))
        else:
            self._jobs.rotate(-1)

    def end(self, error: EdgellmError) -> None:
        """Nobody will work here any more."""
        while self._jobs:
            self._jobs.popleft().result.set_exception(error)

"""Continuous batching: one thread drives a Runtime; requests join and leave its steps at any time.

Every step feeds the last token of each answer under way and, with the room that is left, a chunk of the
prompts that still have to be read, first come first served. Where later work goes: prefix reuse decides in
`_place` which sequence a request gets and how much it already holds; speculation feeds more than one token
in `_compose` and takes more than one row in `_take`; fairness between users is the order in which `_admit`
takes requests. Requests with different adapters share a step; the runtime keeps them apart.
"""

from __future__ import annotations

import heapq
import math
import threading
import time
from collections import deque
from dataclasses import dataclass, field

from edgellm.engines.protocol import Feed, Logits, Runtime, Wanted
from edgellm.errors import EdgellmError, EngineFailed, PromptTooLong, QueueFull, UsageError
from edgellm.inference.generation import End, Generation, Listener, Request, SchedulerState
from edgellm.inference.sampling import Sampler, check_ranges

FAILURES_TO_DEATH = 3  # steps that fail one after the other before the engine is given up
SMOOTHING = 0.2  # weight of the newest request in the running mean of service times


@dataclass
class _Active:
    """A request that holds a sequence: `ids` is prompt and answer, of which the runtime holds `held`."""

    generation: Generation
    sequence: int
    sampler: Sampler
    ids: list[int]
    limit: int  # of len(ids)
    held: int = 0
    since: float = field(default_factory=time.monotonic)

    @property
    def decoding(self) -> bool:
        return self.held == len(self.ids) - 1 and self.generation.completion_tokens > 0

    def feed(self, ids: list[int], wanted: Wanted = "last") -> Feed:
        return Feed(self.sequence, ids, wanted, self.generation.request.adapter)


class Scheduler:
    """Serves many requests with one Runtime, which nobody else may use; its owner closes it afterwards."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        max_waiting: int = 64,
        chunk_tokens: int = 512,
        shared_chunk_tokens: int = 128,
    ) -> None:
        """Starts the decode thread. Prompts are read `chunk_tokens` a step, or `shared_chunk_tokens` while
        others are being answered, so that a long prompt slows them down but never stops them."""
        self.info = runtime.info
        if self.info.sequences > self.info.step_tokens:
            raise UsageError(
                f"{self.info.sequences} sequences need steps of as many tokens, but the engine takes "
                f"{self.info.step_tokens}; ask for fewer"
            )
        self._runtime = runtime
        self._max_waiting = max_waiting
        self._chunk_tokens = chunk_tokens
        self._shared_chunk_tokens = shared_chunk_tokens
        self._condition = threading.Condition()  # guards _waiting, _free, _closing and _failure
        self._waiting: deque[Generation] = deque()
        # A heap: low numbers first keeps the running ones together, and engines compute neighbours at once.
        self._free = list(range(self.info.sequences))
        self._closing = False
        self._failure: EngineFailed | None = None
        self._running: list[_Active] = []  # touched by the decode thread alone
        self._failures = 0
        self._service_s = 0.0
        self._steps = self._widest_step = self._failed_steps = 0
        self._prompt_tokens = self._completion_tokens = 0
        self._thread = threading.Thread(target=self._run, name="edgellm-decode", daemon=True)
        self._thread.start()

    def submit(self, request: Request, listener: Listener | None = None) -> Generation:
        """Queue a request. `listener`, where given, gets every item on the decode thread and must not block.

        Raises UsageError (PromptTooLong if no token would fit after the prompt), QueueFull, and EngineFailed
        if the engine is dead or the scheduler closed.
        """
        self._check(request)
        generation = Generation(request, listener, self._wake)
        with self._condition:
            if self._failure is not None:
                raise self._failure
            if self._closing:
                raise EngineFailed("the scheduler is closed and takes no more requests; open the model again")
            if len(self._waiting) >= len(self._free) + self._max_waiting:
                raise QueueFull(
                    f"{self.info.sequences} requests are being answered and {self._max_waiting} wait; try again later",
                    self._retry_after_s(),
                )
            self._waiting.append(generation)
            self._condition.notify()
        return generation

    @property
    def failure(self) -> EngineFailed | None:
        """Why the scheduler is dead; None while it works."""
        return self._failure

    def state(self) -> SchedulerState:
        return SchedulerState(
            sequences=self.info.sequences,
            running=len(self._running),
            waiting=len(self._waiting),
            steps=self._steps,
            widest_step=self._widest_step,
            prompt_tokens=self._prompt_tokens,
            completion_tokens=self._completion_tokens,
            failed_steps=self._failed_steps,
        )

    def close(self, patience_s: float | None = None) -> bool:
        """End the decode thread after the step that runs now; requests under way end with EngineFailed.

        False if that step still runs after `patience_s`: the runtime must not be touched then.
        """
        with self._condition:
            self._closing = True
            self._condition.notify()
        self._thread.join(patience_s)
        return not self._thread.is_alive()

    def __enter__(self) -> Scheduler:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check(self, request: Request) -> None:
        check_ranges(request.sampling)
        if not request.ids:
            raise UsageError("the prompt is empty; give at least one token")
        if len(request.ids) >= self.info.context_tokens:
            raise PromptTooLong(
                f"the prompt has {len(request.ids)} tokens, but the context of {self.info.context_tokens} "
                "must hold prompt and answer; shorten the prompt or start with a larger --context"
            )
        if min(request.ids) < 0 or max(request.ids) >= self.info.vocab_tokens:
            raise UsageError(f"the prompt holds token ids outside the vocabulary of {self.info.vocab_tokens}")
        if request.adapter is not None and request.adapter not in self.info.adapters:
            raise UsageError(f"there is no adapter {request.adapter!r} here; load it with --lora")
        if request.max_tokens is not None and request.max_tokens < 1:
            raise UsageError(f"max_tokens is {request.max_tokens}; it must be 1 or more")

    def _wake(self) -> None:
        with self._condition:
            self._condition.notify()

    def _retry_after_s(self) -> int:
        """A place frees about every mean service time / places."""
        return max(1, min(60, math.ceil(self._service_s / self.info.sequences)))

    # From here on everything runs on the decode thread.

    def _run(self) -> None:
        try:
            while self._wait_for_work():
                self._drop_cancelled()
                self._admit()
                if batch := self._compose():
                    self._step(batch)
            self._end_all(EngineFailed("the scheduler was closed before the answer was complete; ask again"))
        except BaseException as fault:  # a fault of ours must not leave anyone waiting for ever
            self._die(EngineFailed(f"the scheduler stopped on {type(fault).__name__}: {fault}; start it again"))
            raise

    def _wait_for_work(self) -> bool:
        with self._condition:
            self._condition.wait_for(lambda: self._closing or self._waiting or self._running)
            return not self._closing

    def _drop_cancelled(self) -> None:
        for active in [a for a in self._running if a.generation.cancelled]:
            self._finish(active, End("cancelled"))
        with self._condition:
            dropped = [g for g in self._waiting if g.cancelled]
            for generation in dropped:
                self._waiting.remove(generation)
        for generation in dropped:
            generation.deliver(End("cancelled"))

    def _admit(self) -> None:
        """Give waiting requests the free sequences, first come first served."""
        while True:
            with self._condition:
                if not (self._waiting and self._free):
                    return
                generation, sequence = self._waiting.popleft(), heapq.heappop(self._free)
                active = self._place(generation, sequence)
                self._running.append(active)
            try:
                self._runtime.keep(sequence, active.held)
            except EdgellmError as error:
                self._fail([active], error)

    def _place(self, generation: Generation, sequence: int) -> _Active:
        request = generation.request
        room = self.info.context_tokens - len(request.ids)
        answer = room if request.max_tokens is None else min(room, request.max_tokens)
        ids = list(request.ids)
        return _Active(generation, sequence, Sampler(request.sampling), ids, len(ids) + answer)

    def _compose(self) -> list[tuple[_Active, Feed]]:
        """What the next step feeds: one token for every answer, then prompts as far as the room goes."""
        answers = [a for a in self._running if a.decoding]
        batch = [(a, a.feed(a.ids[a.held :])) for a in answers]
        room = self._shared_chunk_tokens if answers else self._chunk_tokens
        room = min(room, self.info.step_tokens - len(batch))
        for active in self._running:
            if active.decoding or room == 0:
                continue
            rest = active.ids[active.held :]
            chunk = rest[: _chunk_length(len(rest), room, bool(batch))]
            if not chunk:
                continue
            batch.append((active, active.feed(chunk, "last" if len(chunk) == len(rest) else "none")))
            room -= len(chunk)
        return batch

    def _step(self, batch: list[tuple[_Active, Feed]]) -> None:
        try:
            rows = self._runtime.step([feed for _, feed in batch])
        except EdgellmError as error:
            self._failed_steps += 1
            self._fail([active for active, _ in batch], error)
            return
        self._failures = 0
        self._steps += 1
        self._widest_step = max(self._widest_step, len(batch))
        for (active, feed), logits in zip(batch, rows, strict=True):
            if not active.decoding:
                self._prompt_tokens += len(feed.ids)
            active.held += len(feed.ids)
            if len(logits):
                self._take(active, logits)

    def _take(self, active: _Active, logits: Logits) -> None:
        """Draw the next token of one answer from logits of shape (1, vocab_tokens)."""
        request = active.generation.request
        try:
            token = active.sampler.draw(logits[-1])
        except EngineFailed as error:
            self._finish(active, End("failed", error))
            return
        active.ids.append(token)
        self._completion_tokens += 1
        active.generation.deliver(token)
        if token in request.stop_ids and not request.ignore_eos:
            self._finish(active, End("stop"))
        elif len(active.ids) >= active.limit:
            self._finish(active, End("length"))

    def _finish(self, active: _Active, end: End) -> None:
        served_s = time.monotonic() - active.since
        self._service_s += SMOOTHING * (served_s - self._service_s) if self._service_s else served_s
        with self._condition:
            self._running.remove(active)
            heapq.heappush(self._free, active.sequence)
        active.generation.deliver(end)

    def _fail(self, affected: list[_Active], error: EdgellmError) -> None:
        """End the requests that a failed call was for; after several in a row give the engine up."""
        failure = EngineFailed(f"the engine failed while it answered: {error}")
        for active in affected:
            self._finish(active, End("failed", failure))
        self._failures += 1
        if self._failures >= FAILURES_TO_DEATH:
            self._die(EngineFailed(f"the engine failed {self._failures} times in a row, last with: {error}"))

    def _die(self, failure: EngineFailed) -> None:
        with self._condition:
            self._failure = failure
        self._end_all(failure)

    def _end_all(self, failure: EngineFailed) -> None:
        for active in list(self._running):
            self._finish(active, End("failed", failure))
        with self._condition:
            waiting = list(self._waiting)
            self._waiting.clear()
        for generation in waiting:
            generation.deliver(End("failed", failure))


def _chunk_length(rest: int, room: int, can_wait: bool) -> int:
    """How many of the `rest` tokens of a prompt go into a step that has room for `room`.

    A prompt is never cut so that one token stands alone: engines compute a single token in another way than
    several, and where a prompt is cut depends on who else is being served. It waits for the next step instead,
    unless this one would be empty: steps of under three tokens leave no choice.
    """
    fits = min(rest, room)
    taken = fits - 1 if rest - fits == 1 else fits
    if taken > 1 or taken == rest:
        return taken
    return 0 if can_wait else fits

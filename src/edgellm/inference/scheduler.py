"""Continuous batching: one thread drives a Runtime; requests join and leave between its steps at any time.

A turn has two halves. First one step feeds the last token of every answer under way (and what speculation guesses to
come after it), and what is drawn from its logits is delivered. Then one step reads a piece of one prompt, as long as
`pacing` finds that the answers can wait. The two never share a step: engines compute the sum of both in no less time.
Whose request gets a place and whose prompt is read next is for `fair_queue` to say. Requests with different adapters
share a step; the runtime keeps them apart.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from edgellm.engines.protocol import Logits, Runtime
from edgellm.errors import EngineFailed, UsageError
from edgellm.inference.admission import ServiceTime, check_request
from edgellm.inference.answering import Answering
from edgellm.inference.constraint import Constraint, Matcher
from edgellm.inference.embedding_jobs import EmbeddingJobs
from edgellm.inference.fair_queue import Shares
from edgellm.inference.generation import End, Generation, Listener, Request, SchedulerState
from edgellm.inference.pacing import ReadingPace
from edgellm.inference.places import Cache, Places
from edgellm.inference.sampling import Sampler
from edgellm.inference.scheduler_options import SchedulerOptions
from edgellm.inference.stepping import Drafter, Stepper

FAILURES_TO_DEATH = 3  # steps that fail one after the other before the engine is given up


class Scheduler:
    """Serves many requests with one Runtime, which nobody else may use; its owner closes it afterwards."""

    def __init__(
        self,
        runtime: Runtime,
        options: SchedulerOptions | None = None,
        *,
        matchers: Callable[[Constraint], Matcher] | None = None,
        cache: Cache | None = None,
        drafter: Drafter | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts the decode thread.

        `matchers` makes what holds an answer to its constraint (without it a request with one is refused), `cache`
        knows what sequences hold, `drafter` guesses tokens; `clock` gives seconds.
        """
        self.info = runtime.info
        # Called on the decode thread whenever what a step gave has been delivered.
        self.after_turn: Callable[[], None] = lambda: None
        if self.info.sequences > self.info.step_tokens:
            raise UsageError(
                f"{self.info.sequences} sequences need steps of as many tokens, but the engine takes "
                f"{self.info.step_tokens}; ask for fewer"
            )
        options = options or SchedulerOptions()
        self._runtime = runtime
        self._max_waiting = options.max_waiting
        self._matchers = matchers
        self._clock = clock
        self._condition = threading.Condition()  # guards what other threads read or change: the next six
        self._waiting: list[Answering] = []
        self._places = Places(runtime, cache)
        self._shares = Shares()
        self._embeddings = EmbeddingJobs()
        self._closing = False
        self._failure: EngineFailed | None = None
        self._running: list[Answering] = []  # touched by the decode thread alone
        self._reading: Answering | None = None  # whose prompt the last step read
        self._service_time = ServiceTime()
        pace = ReadingPace(options.stall_ms / 1000, self.info.piece_tokens)
        self._stepper = Stepper(runtime, self._places, self._shares, pace, drafter, clock)
        self._thread = threading.Thread(target=self._run, name="edgellm-decode", daemon=True)
        self._thread.start()

    def submit(self, request: Request, listener: Listener | None = None) -> Generation:
        """Queue a request. `listener`, where given, gets every item on the decode thread and must not block.

        Raises UsageError (PromptTooLong if no token would fit after the prompt), QueueFull, and EngineFailed
        if the engine is dead or the scheduler closed.
        """
        check_request(request, self.info)
        answering = self._answering(request, listener)
        with self._condition:
            self._check_open()
            if len(self._waiting) >= len(self._places.free) + self._max_waiting:
                raise self._service_time.queue_full(self.info.sequences, self._max_waiting)
            self._waiting.append(answering)
            self._shares.enter(request.user)
            self._condition.notify()
        return answering.generation

    def embed(self, prompts: Sequence[Sequence[int]]) -> Logits:
        """As `Runtime.embed`, a text between two steps. Raises QueueFull too, and EngineFailed as `submit`."""
        with self._condition:
            self._check_open()
            if len(self._embeddings) > self._max_waiting:
                raise self._service_time.queue_full(self.info.sequences, self._max_waiting)
            result = self._embeddings.add(prompts)
            self._condition.notify()
        return result.result()

    @property
    def failure(self) -> EngineFailed | None:
        """Why the scheduler is dead; None while it works."""
        return self._failure

    def state(self) -> SchedulerState:
        stepper = self._stepper
        return SchedulerState(
            sequences=self.info.sequences,
            running=len(self._running),
            waiting=len(self._waiting),
            steps=stepper.steps,
            widest_step=stepper.widest_step,
            prompt_tokens=stepper.prompt_tokens,
            completion_tokens=stepper.completion_tokens,
            failed_steps=stepper.failed_steps,
            cached_tokens=stepper.cached_tokens,
            drafted_tokens=stepper.drafted_tokens,
            accepted_tokens=stepper.accepted_tokens,
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

    def _answering(self, request: Request, listener: Listener | None) -> Answering:
        """Raises UsageError for a constraint that cannot be held to: no answer is ever left unconstrained."""
        matcher = None
        if request.constraint is not None:
            if self._matchers is None:
                raise UsageError("this model cannot hold answers to a grammar; ask without one")
            matcher = self._matchers(request.constraint)
        ids = list(request.ids)
        room = self.info.context_tokens - len(ids)
        limit = len(ids) + (room if request.max_tokens is None else min(room, request.max_tokens))
        generation = Generation(request, listener, self._wake)
        return Answering(generation, Sampler(request.sampling, ids), matcher, ids, limit, self._clock())

    def _check_open(self) -> None:
        if self._failure is not None:
            raise self._failure.again()
        if self._closing:
            raise EngineFailed("the scheduler is closed and takes no more requests; open the model again")

    def _wake(self) -> None:
        with self._condition:
            self._condition.notify()

    # From here on everything runs on the decode thread.

    def _run(self) -> None:
        try:
            while self._wait_for_work():
                self._drop_cancelled()
                self._admit()
                self._answer()
                self._read()
                self._embeddings.work(self._runtime)
            self._end_all(EngineFailed("the scheduler was closed before the answer was complete; ask again"))
        except BaseException as fault:  # a fault of ours must not leave anyone waiting for ever
            self._die(EngineFailed(f"the scheduler stopped on {type(fault).__name__}: {fault}; start it again"))
            raise

    def _wait_for_work(self) -> bool:
        if self._running and not self._closing:
            return True
        with self._condition:
            self._condition.wait_for(lambda: self._closing or self._waiting or self._running or self._embeddings)
            return not self._closing

    def _drop_cancelled(self) -> None:
        dropped = [a for a in self._running if a.generation.cancelled]
        for answering in dropped:
            self._finish(answering, End("cancelled", timing=answering.timing(self._clock())))
        waiting = []
        if self._waiting:
            with self._condition:
                waiting = [a for a in self._waiting if a.generation.cancelled]
                for answering in waiting:
                    self._waiting.remove(answering)
                    self._shares.leave(answering.user)
        for answering in waiting:
            answering.generation.deliver(End("cancelled"))
        if dropped or waiting:
            self.after_turn()

    def _admit(self) -> None:
        """Give free sequences to waiting requests."""
        if not self._waiting:
            return
        with self._condition:
            while self._waiting and self._places.free:
                answering = self._waiting.pop(self._shares.turn([a.work for a in self._waiting]))
                answering.sequence = self._places.take(answering.request)
                answering.admitted_at = self._clock()
                self._running.append(answering)

    def _answer(self) -> None:
        answers = [a for a in self._running if a.decoding]
        if answers:
            self._finish_ended(answers, self._stepper.answer(answers))

    def _read(self) -> None:
        prompts = [a for a in self._running if not a.decoding]
        if prompts:
            current = prompts.index(self._reading) if self._reading in prompts else None
            self._reading = prompts[self._shares.turn([a.work for a in prompts], current)]
            end = self._stepper.read(self._reading, len(prompts), len(prompts) < len(self._running))
            self._finish_ended([self._reading], [end])

    def _finish_ended(self, stepped: Sequence[Answering], ends: Sequence[End | None]) -> None:
        """Finish those that have an end; after several failures in a row give the engine up."""
        for answering, end in zip(stepped, ends, strict=True):
            if end is not None:
                self._finish(answering, end)
        failures = self._stepper.failures
        if len(failures) >= FAILURES_TO_DEATH:
            self._die(EngineFailed(f"the engine failed {len(failures)} times in a row, last with: {failures[-1]}"))
        self.after_turn()

    def _finish(self, answering: Answering, end: End) -> None:
        self._service_time.note(self._clock() - answering.admitted_at)
        if end.reason == "failed":
            self._places.empty(answering.sequence)
        elif answering.begun_at is not None:
            self._places.remember(answering.sequence, answering.ids[: answering.held], answering.request)
        self._release(answering)
        answering.generation.deliver(end)

    def _release(self, answering: Answering) -> None:
        with self._condition:
            self._running.remove(answering)
            self._shares.leave(answering.user)
            self._places.give_back(answering.sequence)

    def _die(self, failure: EngineFailed) -> None:
        with self._condition:
            self._failure = failure
        self._end_all(failure)

    def _end_all(self, failure: EngineFailed) -> None:
        for answering in list(self._running):
            self._release(answering)
            answering.generation.deliver(End("failed", failure, answering.timing(self._clock())))
        with self._condition:
            waiting = list(self._waiting)
            self._waiting.clear()
            self._embeddings.end(failure)
            for answering in waiting:
                self._shares.leave(answering.user)
        for answering in waiting:
            answering.generation.deliver(End("failed", failure))
        self.after_turn()

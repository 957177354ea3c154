"""The two steps of a scheduler's turn: one for all answers under way, one for a piece of a prompt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from math import ceil
from typing import Protocol

from edgellm.engines.protocol import Feed, Logits, Runtime
from edgellm.errors import EdgellmError, EngineFailed
from edgellm.inference.answering import Answering
from edgellm.inference.fair_queue import ANSWER_WEIGHT, Shares
from edgellm.inference.generation import End
from edgellm.inference.pacing import ReadingPace
from edgellm.inference.places import Places

LONG_PIECE = 128  # tokens, from which length hardly changes what a token costs
LONGEST_CHUNK = 512  # tokens of a prompt that are read at once while nobody is being answered


class Drafter(Protocol):
    """As `speculation.Speculation`."""

    def begin(self, sequence: int) -> None: ...
    def propose(self, texts: Mapping[int, Sequence[int]], room: Mapping[int, int]) -> dict[int, list[int]]: ...
    def observe(self, answers: int, drafted: int, seconds: float) -> None: ...


class Stepper:
    """Drives the runtime for requests that have places, on one thread, and counts what it does.

    Where the engine fails, the requests of that step end and all others go on.
    """

    def __init__(
        self, runtime: Runtime, places: Places, shares: Shares, pace: ReadingPace, drafter: Drafter | None,
        clock: Callable[[], float],
    ) -> None:  # fmt: skip
        self.steps = self.widest_step = self.failed_steps = 0
        self.failures: list[EdgellmError] = []  # of the latest steps, one after the other
        self.prompt_tokens = self.completion_tokens = self.cached_tokens = 0
        self.drafted_tokens = self.accepted_tokens = 0
        self._runtime = runtime
        self._places = places
        self._shares = shares
        self._pace = pace
        self._drafter = drafter if runtime.info.can_cut else None
        self._clock = clock

    def answer(self, answers: Sequence[Answering]) -> list[End | None]:
        """One token, or more with accepted drafts, for every answer; and how those that did not go on have ended."""
        drafted = self._draft(answers) if self._drafter else 0
        began = self._clock()
        try:
            rows = self._step([answering.next_feed() for answering in answers])
        except EdgellmError as error:
            return [self._failed(answering, error) for answering in answers]
        if self._drafter:
            self._drafter.observe(len(answers), drafted, self._clock() - began)
        ends = [self._take(answering, logits) for answering, logits in zip(answers, rows, strict=True)]
        # Only now, for the logits are the runtime's and last until it is told to do something else.
        return [self._without_drafts(answering, end) for answering, end in zip(answers, ends, strict=True)]

    def read(self, answering: Answering, prompts: int, beside_answers: bool) -> End | None:
        """A piece of a prompt, of the so many that are to be read, and with its last piece the first token; how it
        ended, if it did."""
        try:
            if answering.begun_at is None:
                self._begin(answering)
            pause = self._places.pause(answering.sequence, answering.held)
            goal = len(answering.ids) if pause is None else pause
            room = self._pace.tokens(answering.held, prompts, answering.waited_s) if beside_answers else LONGEST_CHUNK
            length = chunk_length(goal - answering.held, min(room, LONGEST_CHUNK, self._runtime.info.step_tokens))
            end = answering.held + length
            whole = end == len(answering.ids)
            began = self._clock()
            chunk = answering.ids[answering.held : end]
            rows = self._step([answering.feed(chunk, "last" if whole else "none")])
        except EdgellmError as error:
            return self._failed(answering, error)
        self._pace.observe(answering.held, length, self._clock() - began)
        answering.held = end
        self.prompt_tokens += length
        self._shares.serve(answering.user, length)
        if whole:
            return self._first(answering, rows[0])
        if end == pause:
            self._places.remember(answering.sequence, answering.ids[:end], answering.request)
        return None

    def _begin(self, answering: Answering) -> None:
        """Let its sequence hold what is known of its prompt."""
        answering.begun_at = self._clock()
        answering.held = answering.cached = self._places.begin(answering.sequence, answering.request)
        self.cached_tokens += answering.cached
        if self._drafter:
            self._drafter.begin(answering.sequence)

    def _first(self, answering: Answering, logits: Logits) -> End | None:
        """Its prompt is read: the first token, and then others may use what was read."""
        answering.first_at = self._clock()
        end = self._take(answering, logits)
        if end is None:
            self._places.remember(answering.sequence, answering.request.ids, answering.request)
        return end

    def _draft(self, answers: Sequence[Answering]) -> int:
        """Let every answer have its drafts for the next step; how many they are together."""
        assert self._drafter is not None
        # No answer outgrows its limit, and the step has room for a token of each.
        spare = self._runtime.info.step_tokens // len(answers) - 1
        room = {a.sequence: max(0, min(spare, a.limit - len(a.ids) - 1)) for a in answers}
        try:
            proposed = self._drafter.propose({a.sequence: a.ids for a in answers}, room)
        except EdgellmError:  # of a draft model: the answers themselves can do without
            self.failed_steps += 1
            proposed = {}
        for answering in answers:
            answering.drafts = proposed.get(answering.sequence, ())
            answering.drafted += len(answering.drafts)
        drafted = sum(map(len, proposed.values()))
        self.drafted_tokens += drafted
        return drafted

    def _step(self, feeds: Sequence[Feed]) -> list[Logits]:
        rows = self._runtime.step(feeds)
        self.failures.clear()
        self.steps += 1
        self.widest_step = max(self.widest_step, len(feeds))
        return rows

    def _take(self, answering: Answering, logits: Logits) -> End | None:
        """Draw and deliver tokens from logits of shape (1 + drafts, vocab_tokens): one, and one more after each draft
        that was right. Gives how the answer ended, if it did."""
        for row, draft in zip_longest(logits, answering.drafts):
            try:
                item = answering.draw(row)
            except EdgellmError as error:
                return End("failed", error, answering.timing(self._clock()))
            answering.last_at = self._clock()
            answering.held = len(answering.ids) - 1
            self.completion_tokens += 1
            self._shares.serve(answering.user, ANSWER_WEIGHT)
            answering.generation.deliver(item)
            right = answering.ids[-1] == draft
            answering.accepted += right
            self.accepted_tokens += right
            if reason := answering.reason_to_end():
                answering.held += right
                return End(reason, timing=answering.timing(answering.last_at))
            if not right:
                break
        return None

    def _without_drafts(self, answering: Answering, end: End | None) -> End | None:
        """Take back the drafts that were wrong."""
        if not answering.drafts:
            return end
        try:
            self._runtime.keep(answering.sequence, answering.held)
        except EdgellmError as error:
            return self._failed(answering, error)
        return end

    def _failed(self, answering: Answering, error: EdgellmError) -> End:
        if error not in self.failures:
            self.failures.append(error)
            self.failed_steps += 1
        failure = EngineFailed(f"the engine failed while it answered: {error}")
        return End("failed", failure, answering.timing(self._clock()))


def chunk_length(rest: int, room: int) -> int:
    """How many of the `rest` tokens of a prompt go into a step that has room for `room`.

    Long pieces are as good as equal: a short one after them would take more time a token.
    A prompt is never cut so that one token stands alone: engines compute a single token in another way than
    several, and where a prompt is cut depends on who else is being served. Room for under three leaves no choice.
    """
    fits = min(rest, room)
    if (equal := ceil(rest / ceil(rest / fits))) >= LONG_PIECE:
        fits = equal
    taken = fits - 1 if rest - fits == 1 else fits
    return taken if taken > 1 or taken == rest else fits

"""Speculation: guesses of the next tokens of running answers, which the scheduler feeds together and then checks.

The scheduler feeds an answer's last token and its drafts in one step, draws from each row of logits with the
ordinary sampler, and goes on while what it drew is what was guessed. So every token is drawn from the logits that
follow the tokens before it, and answers are those that there would be without speculation.

A scheduler calls `begin` for each request that gets a sequence, `propose` before a step for all answers in it, and
`observe` after every step of answers alone, with drafts or without: the times of both decide what is proposed next.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from edgellm.engines import open_runtime
from edgellm.engines.protocol import RuntimeInfo, RuntimeOptions
from edgellm.errors import EdgellmError, UsageError
from edgellm.inference.draft_model import DraftModel, common_prefix
from edgellm.inference.drafting_pace import Acceptance, Pace
from edgellm.inference.prompt_lookup import PromptLookup
from edgellm.inference.scheduler_options import SchedulerOptions
from edgellm.inference.target import Target

LONGEST_DRAFT = 8  # tokens of one answer
FAILURES_TO_END = 3
FIRST_GUESS = 0.6  # acceptance that is expected before anything was measured
LOG = logging.getLogger("edgellm.speculation")


class Guesser(Protocol):
    """Guesses what follows texts, each known by the number of its sequence."""

    guesses: dict[int, tuple[int, list[int]]]  # the last guess about a text: after how many tokens, and which follow

    def begin(self, sequence: int) -> None:
        """Another text has this number now."""
        ...

    def reach(self, texts: Mapping[int, Sequence[int]], most: Mapping[int, int]) -> dict[int, int]:
        """How many tokens it could draft for each text, at most so many."""
        ...

    def draft(self, texts: Mapping[int, Sequence[int]], counts: Mapping[int, int]) -> dict[int, list[int]]:
        """Drafts of so many tokens, or fewer, for the texts that `counts` names."""
        ...

    def close(self) -> None: ...


class Speculation:
    """Drafts for the answers of one scheduler, as long as that makes them faster."""

    def __init__(self, guesser: Guesser, clock: Callable[[], float] = time.perf_counter) -> None:
        self._guesser = guesser
        self._clock = clock
        self._pace = Pace()
        self._overall = Acceptance()
        self._each: dict[int, Acceptance] = {}
        self._drafting_s = 0.0
        self._failures = 0  # to draft, one after the other

    def begin(self, sequence: int) -> None:
        """A new request holds the sequence."""
        self._guesser.begin(sequence)
        self._each[sequence] = Acceptance()

    def propose(self, texts: Mapping[int, Sequence[int]], room: Mapping[int, int]) -> dict[int, list[int]]:
        """Drafts to feed after the last token of answers under way, by sequence; those without any are left out.

        `texts` holds prompt and answer of every answer of the step, and `room` how many drafts an answer can take.
        Raises what a draft model fails with; after FAILURES_TO_END of these in a row, nothing is proposed any more.
        """
        if self._failures >= FAILURES_TO_END:
            return {}
        start = self._clock()
        for sequence, ids in texts.items():
            self._learn(sequence, ids)
        reach = self._guesser.reach(texts, {s: max(0, min(room[s], LONGEST_DRAFT)) for s in texts})
        expected = self._overall.rate(FIRST_GUESS)
        gains = []
        for sequence, count in reach.items():
            rate = self._each[sequence].rate(expected)
            gains += [(rate**place, sequence) for place in range(1, count + 1)]
        gains.sort(key=lambda gain: -gain[0])
        tokens = self._pace.tokens(len(texts), [gain for gain, _ in gains])
        counts = Counter(sequence for _, sequence in gains[:tokens])
        drafts = self._drafts(texts, counts) if counts else {}
        self._drafting_s = self._clock() - start
        return drafts

    def observe(self, answers: int, drafted: int, seconds: float) -> None:
        """The step after `propose` served so many answers, with so many draft tokens, and took so long."""
        self._pace.observe(answers, drafted, seconds + (self._drafting_s if drafted else 0.0))

    def close(self) -> None:
        self._guesser.close()

    def _drafts(self, texts: Mapping[int, Sequence[int]], counts: Mapping[int, int]) -> dict[int, list[int]]:
        try:
            drafts = self._guesser.draft(texts, counts)
        except EdgellmError as error:
            self._failures += 1
            if self._failures == FAILURES_TO_END:
                LOG.warning("speculation is over until the next start, since its draft model fails: %s", error)
            raise
        self._failures = 0
        return {sequence: ids for sequence, ids in drafts.items() if ids}

    def _learn(self, sequence: int, ids: Sequence[int]) -> None:
        """See what became of the last guess: a text that was not fed its draft shows as well whether it was right."""
        start, tokens = self._guesser.guesses.pop(sequence, (0, []))
        came = ids[start : start + len(tokens)]
        accepted = common_prefix(tokens, came)
        if came:
            tried = min(accepted + 1, len(came))
            for acceptance in (self._each[sequence], self._overall):
                acceptance.learn(accepted, tried)


def open_speculation(
    options: SchedulerOptions, target: Target, info: RuntimeInfo, loading: RuntimeOptions
) -> Speculation | None:  # fmt: skip
    """What `options` ask for beside a model that was loaded from `target`; None for none.

    Raises UsageError for a model that cannot take tokens back, a draft model that is missing or has another
    vocabulary, and what `open_runtime` raises for its file.
    """
    if options.speculation == "off":
        return None
    if not info.can_cut:
        raise UsageError(
            f"speculation takes back tokens that were not accepted, which a {info.architecture} model cannot; "
            "leave --speculation away"
        )
    if options.speculation == "lookup":
        return Speculation(PromptLookup())
    if options.draft is None:
        raise UsageError("speculation by a draft model needs its file; give it with --draft")
    context_tokens = min(info.context_tokens, checked_context(target, options.draft))
    drafting = replace(
        loading,
        context_tokens=context_tokens,
        sequences=info.sequences,
        batch_invariant=False,
        adapters={},
        second_weights=False,
    )
    return Speculation(DraftModel(open_runtime("gguf", options.draft, drafting)))


def checked_context(target: Target, draft: Path) -> int:
    """The context that a draft model declares; raises UsageError unless both GGUF files give every id the same text."""
    from edgellm.engines.gguf.header import read_header

    if target.engine != "gguf" or target.artifact is None:
        raise UsageError(f"a draft model works beside a GGUF, which {target.path} is not; take --speculation lookup")
    if not draft.is_file():
        raise UsageError(f"there is no draft model at {draft}; give the path of a .gguf file")
    ours, theirs = read_header(target.artifact), read_header(draft)
    if ours.tokens != theirs.tokens or ours.vocab_tokens != theirs.vocab_tokens:
        raise UsageError(
            f"{draft} has another vocabulary ({theirs.vocab_tokens} tokens) than {target.artifact} "
            f"({ours.vocab_tokens} tokens), so it cannot draft for it; give a smaller model of the same family"
        )
    return theirs.context_tokens

"""A Runtime whose next token is a rule or a script, and whose steps a test can hold back or make fail.

`FakeRuntime` draws noise; this one says what a test wants to hear, when the test wants it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np

from edgellm.engines.feeds import check_prompts, rows_wanted
from edgellm.engines.protocol import Feed, Logits, RuntimeInfo
from edgellm.engines.states import pack, unpack
from edgellm.errors import EngineFailed


class ScriptedRuntime:
    """`rule` gives the token that follows (all ids so far, how many of them are the prompt).

    Without one, after t₀ … tₙ comes (sum of all + n) mod vocabulary: any lost token changes the answer.
    """

    def __init__(
        self,
        *,
        sequences: int = 2,
        vocab: int = 97,
        context: int = 64,
        step_tokens: int = 32,
        held_back: bool = False,
        rule: Callable[[Sequence[int], int], int] | None = None,
    ) -> None:
        self.info = RuntimeInfo("scripted", "rule", vocab, context, sequences, step_tokens, True, True, "scripted 1")
        self.steps: list[list[tuple[int, int]]] = []  # of each step: (sequence, number of ids)
        self.failures = 0  # how many of the next steps raise
        self.broken_logits = False
        self.closed = False
        self._ids: list[list[int]] = [[] for _ in range(sequences)]
        self._prompts = [0] * sequences
        self._rule = rule or (lambda ids, _: follower(ids, vocab))
        self._permits = threading.Semaphore(0) if held_back else None

    def allow(self, steps: int) -> None:
        """Let this many more steps through."""
        assert self._permits is not None
        for _ in range(steps):
            self._permits.release()

    def let_go(self) -> None:
        """Hold nothing back from now on."""
        permits, self._permits = self._permits, None
        if permits is not None:
            permits.release(1)

    def step(self, feeds: Sequence[Feed]) -> list[Logits]:
        assert not self.closed
        permits = self._permits
        if permits is not None:
            permits.acquire()
        if self.failures:
            self.failures -= 1
            raise EngineFailed("the script says so")
        assert sum(len(feed.ids) for feed in feeds) <= self.info.step_tokens
        assert len({feed.sequence for feed in feeds}) == len(feeds)
        self.steps.append([(feed.sequence, len(feed.ids)) for feed in feeds])
        return [self._row(feed) for feed in feeds]

    def _row(self, feed: Feed) -> Logits:
        held = self._ids[feed.sequence]
        held += feed.ids
        assert len(held) <= self.info.context_tokens
        rows = rows_wanted(feed)
        logits = np.zeros((rows, self.info.vocab_tokens), np.float32)
        if rows and not self._prompts[feed.sequence]:
            self._prompts[feed.sequence] = len(held)
        for row in range(rows):
            known = held[: len(held) - rows + 1 + row]
            logits[row, self._rule(known, self._prompts[feed.sequence])] = 20.0
        return logits * np.float32("nan") if self.broken_logits else logits

    def held(self, sequence: int) -> int:
        return len(self._ids[sequence])

    def keep(self, sequence: int, tokens: int) -> None:
        del self._ids[sequence][tokens:]
        if tokens < self._prompts[sequence]:
            self._prompts[sequence] = 0

    def copy(self, source: int, target: int) -> None:
        self._ids[target] = list(self._ids[source])
        self._prompts[target] = 0

    def save(self, sequence: int) -> bytes:
        ids = self._ids[sequence]
        return pack(self.info, len(ids), None, np.array(ids, np.int64).view(np.uint8))

    def restore(self, sequence: int, state: bytes) -> None:
        self._ids[sequence] = unpack(self.info, state).payload.copy().view(np.int64).tolist()
        self._prompts[sequence] = 0

    def embed(self, prompts: Sequence[Sequence[int]]) -> Logits:
        check_prompts(prompts, self.info)
        return np.empty((0, 0), np.float32)

    def close(self) -> None:
        self.closed = True


def follower(ids: Sequence[int], vocab: int = 97) -> int:
    return (sum(ids) + len(ids) - 1) % vocab


def expected(prompt: Sequence[int], count: int, vocab: int = 97) -> list[int]:
    """The greedy answer to a prompt."""
    ids = list(prompt)
    for _ in range(count):
        ids.append(follower(ids, vocab))
    return ids[len(prompt) :]


def saying(answer: Sequence[int]) -> Callable[[Sequence[int], int], int]:
    """The rule that says `answer` after any prompt, and its last token for ever after."""
    return lambda ids, prompt: answer[min(len(ids) - prompt, len(answer) - 1)]

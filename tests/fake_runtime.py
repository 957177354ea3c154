"""A Runtime without an engine: exact, instant, and obedient to the contract, for tests of the layers above.

Every row of logits is drawn from a generator seeded by a rolling hash of all ids up to that position, so the
same history gives the same logits to the last bit however it was fed, and any other history gives others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edgellm.engines.feeds import check_number, check_prompts, checked_ids, rows_wanted
from edgellm.engines.protocol import Feed, Logits, RuntimeInfo
from edgellm.engines.states import pack, unpack
from edgellm.errors import EngineFailed, UsageError

_MODULUS, _MULTIPLIER = 2**61 - 1, 1_000_003


@dataclass
class FakeRuntime:
    """Set `failures` to n to let the next n steps fail as an engine does."""

    vocab_tokens: int = 512
    context_tokens: int = 128
    sequences: int = 4
    step_tokens: int = 256
    can_cut: bool = True
    adapters: tuple[str, ...] = ()
    embedding_width: int = 0
    failures: int = 0
    closed: bool = False
    _hashes: list[list[int]] = field(default_factory=list)  # of each sequence, one for each token that it holds
    _begun_with: list[str | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._hashes = [[] for _ in range(self.sequences)]
        self._begun_with = [None] * self.sequences

    @property
    def info(self) -> RuntimeInfo:
        return RuntimeInfo(
            engine="fake", architecture="hash", vocab_tokens=self.vocab_tokens,
            context_tokens=self.context_tokens, sequences=self.sequences, step_tokens=self.step_tokens,
            can_cut=self.can_cut, batch_invariant=True, build="fake 1", adapters=self.adapters,
            embedding_width=self.embedding_width,
        )  # fmt: skip

    def step(self, feeds: Sequence[Feed]) -> list[Logits]:
        self._check_open()
        checked_ids(feeds, [len(hashes) for hashes in self._hashes], self.info)
        for feed in feeds:
            if self._hashes[feed.sequence] and self._begun_with[feed.sequence] != feed.adapter:
                raise UsageError(f"sequence {feed.sequence} was begun with another adapter; empty it first")
        if self.failures:
            self.failures -= 1
            for feed in feeds:
                if not self.can_cut:
                    self._hashes[feed.sequence].clear()
            raise EngineFailed("the fake engine was told to fail; try again")
        return [self._feed(feed) for feed in feeds]

    def held(self, sequence: int) -> int:
        self._check_open()
        check_number(sequence, self.sequences)
        return len(self._hashes[sequence])

    def keep(self, sequence: int, tokens: int) -> None:
        held = self.held(sequence)
        if tokens < 0:
            raise UsageError(f"a sequence cannot keep {tokens} tokens; keep 0 to empty it")
        if not self.can_cut and 0 < tokens < held:
            raise UsageError("this fake cannot forget the tail of a sequence; empty it and feed it again")
        del self._hashes[sequence][tokens:]

    def copy(self, source: int, target: int) -> None:
        self.held(source), self.held(target)
        self._hashes[target] = list(self._hashes[source])
        self._begun_with[target] = self._begun_with[source]

    def save(self, sequence: int) -> bytes:
        held = self.held(sequence)
        payload = np.array(self._hashes[sequence], np.uint64).view(np.uint8)
        return pack(self.info, held, self._begun_with[sequence], payload)

    def restore(self, sequence: int, state: bytes) -> None:
        self.keep(sequence, 0)
        saved = unpack(self.info, state)
        self._hashes[sequence] = saved.payload.copy().view(np.uint64).tolist()
        self._begun_with[sequence] = saved.adapter

    def embed(self, prompts: Sequence[Sequence[int]]) -> Logits:
        self._check_open()
        check_prompts(prompts, self.info)
        vectors = [np.random.default_rng(list(prompt)).standard_normal(self.embedding_width) for prompt in prompts]
        rows = np.array(vectors, np.float32).reshape(len(prompts), self.embedding_width)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def close(self) -> None:
        self.closed = True

    def _check_open(self) -> None:
        if self.closed:
            raise EngineFailed("the fake engine has been closed; make another")

    def _feed(self, feed: Feed) -> Logits:
        hashes = self._hashes[feed.sequence]
        self._begun_with[feed.sequence] = feed.adapter
        for token in feed.ids:
            before = hashes[-1] if hashes else 1 + sum((feed.adapter or "").encode())
            hashes.append((before * _MULTIPLIER + int(token) + 1) % _MODULUS)
        wanted = hashes[len(hashes) - rows_wanted(feed) :]
        rows = [np.random.default_rng(each).standard_normal(self.vocab_tokens) * 2 for each in wanted]
        return np.array(rows, np.float32).reshape(len(rows), self.vocab_tokens)

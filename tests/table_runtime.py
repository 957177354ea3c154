"""A Runtime whose every distribution is known, for tests of what is measured with one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgellm.engines.protocol import Feed, Logits, RuntimeInfo
from edgellm.measures.fidelity import Document


class TableRuntime:
    """The distribution of the next token depends on the last one alone: row i of a table of logits."""

    def __init__(self, table: np.ndarray, step_tokens: int = 64) -> None:
        self.table = table.astype(np.float32)
        self.info = RuntimeInfo("table", "markov", len(table), 4096, 1, step_tokens, True, True, "table 1")
        self.fed: list[list[int]] = []

    def step(self, feeds: Sequence[Feed]) -> list[Logits]:
        assert len(feeds) == 1
        assert len(feeds[0].ids) <= self.info.step_tokens
        self.fed[-1] += feeds[0].ids
        return [self.table[np.asarray(feeds[0].ids)]]

    def held(self, sequence: int) -> int:
        return len(self.fed[-1])

    def keep(self, sequence: int, tokens: int) -> None:
        assert tokens == 0
        self.fed.append([])

    def copy(self, source: int, target: int) -> None:
        raise AssertionError("fidelity needs one sequence")

    def close(self) -> None:
        pass


def everywhere(*probabilities: float) -> TableRuntime:
    """The same distribution after every token."""
    return TableRuntime(np.tile(np.log(probabilities), (len(probabilities), 1)))


def random_documents(vocab: int, count: int, tokens: int, seed: int = 1) -> list[Document]:
    rng = np.random.default_rng(seed)
    return [Document([0, *rng.integers(1, vocab, tokens).tolist()], 3 * tokens) for _ in range(count)]

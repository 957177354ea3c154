"""Drafts from a smaller model with the same vocabulary, for all answers of a step at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgellm.engines.protocol import Feed, Runtime
from edgellm.errors import EdgellmError

CATCH_UP_TOKENS = 256  # of prompts and answers that the smaller model reads before one step, so that steps stay short


class DraftModel:
    """As `speculation.Guesser`. It owns its runtime, whose sequences have the numbers of the scheduler's.

    What it holds of a text is `agreed` tokens that are the text's and drafts after them, which are cut away
    as far as the text went on otherwise.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.guesses: dict[int, tuple[int, list[int]]] = {}
        self._runtime = runtime
        self._agreed = [0] * runtime.info.sequences
        self._drafts: list[list[int]] = [[] for _ in range(runtime.info.sequences)]  # fed after those

    def begin(self, sequence: int) -> None:
        self._agreed[sequence] = 0  # what the engine holds is cut away when the new text is read
        self._drafts[sequence] = []
        self.guesses.pop(sequence, None)

    def reach(self, texts: Mapping[int, Sequence[int]], most: Mapping[int, int]) -> dict[int, int]:
        room = self._runtime.info.context_tokens
        return {sequence: max(0, min(most[sequence], room - len(ids))) for sequence, ids in texts.items()}

    def draft(self, texts: Mapping[int, Sequence[int]], counts: Mapping[int, int]) -> dict[int, list[int]]:
        """Greedy drafts of so many tokens; fewer sequences where one still reads its text. Raises EngineFailed."""
        try:
            drafts = self._drafted(self._catch_up(texts, counts), counts)
        except EdgellmError:
            for sequence in counts:  # what the engine holds now is not known: read the texts anew
                self.begin(sequence)
            raise
        for sequence, tokens in drafts.items():
            self.guesses[sequence] = len(texts[sequence]), tokens
        return drafts

    def close(self) -> None:
        self._runtime.close()

    def _drafted(self, feeds: list[Feed], counts: Mapping[int, int]) -> dict[int, list[int]]:
        """The likeliest tokens, one step after the other, after `feeds` that reach the end of their texts."""
        drafts: dict[int, list[int]] = {}
        while feeds:
            rows = self._runtime.step(feeds)
            ready = [(feed.sequence, row) for feed, row in zip(feeds, rows, strict=True) if len(row)]
            feeds = []
            for sequence, row in ready:
                token = int(np.argmax(row[-1]))
                tokens = drafts.setdefault(sequence, [])
                tokens.append(token)
                if len(tokens) < counts[sequence]:
                    self._drafts[sequence].append(token)
                    feeds.append(Feed(sequence, [token]))
        return drafts

    def _catch_up(self, texts: Mapping[int, Sequence[int]], counts: Mapping[int, int]) -> list[Feed]:
        """Feeds of what each text holds beyond what is known of it, logits wanted where they reach its end."""
        feeds = []
        room = min(CATCH_UP_TOKENS, self._runtime.info.step_tokens)
        for sequence in counts:
            ids = texts[sequence]
            known = min(self._agreed[sequence] + self._right(sequence, ids), len(ids) - 1)
            self._runtime.keep(sequence, known)
            read = ids[known : known + room]
            self._agreed[sequence], self._drafts[sequence] = known + len(read), []
            if read:
                feeds.append(Feed(sequence, list(read), "last" if known + len(read) == len(ids) else "none"))
            room -= len(read)
        return feeds

    def _right(self, sequence: int, ids: Sequence[int]) -> int:
        """How many of the drafts that it holds the text has taken."""
        agreed, drafts = self._agreed[sequence], self._drafts[sequence]
        return common_prefix(drafts, ids[agreed : agreed + len(drafts)])


def common_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))

"""Drafts from the text itself: what followed the last time that the latest tokens stood in prompt or answer.

Saxena 2023, "Prompt lookup decoding". Answers that quote, summarise or edit their prompt say much of it again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

LONGEST_MATCH, SHORTEST_MATCH = 4, 2  # tokens; the longest that is found counts


class Index:
    """Where each run of 2 to 4 tokens of one growing text last ended."""

    def __init__(self) -> None:
        self._ends: dict[tuple[int, ...], int] = {}
        self._read = 0  # tokens of the text whose runs are known

    def following(self, ids: Sequence[int], most: int) -> list[int]:
        """At most `most` tokens that may come after `ids`; none if the latest tokens stood nowhere before.

        `ids` must go on from what was given last. Where the match reaches up to the end, the text is taken to
        repeat itself.
        """
        self._learn(ids)
        for length in range(LONGEST_MATCH, SHORTEST_MATCH - 1, -1):
            end = self._ends.get(tuple(ids[-length:])) if len(ids) > length else None
            if end is not None:
                period = len(ids) - end
                return [ids[end + i % period] for i in range(most)]
        return []

    def _learn(self, ids: Sequence[int]) -> None:
        """All runs that end before the last token: the last ones are what is looked for."""
        for end in range(self._read + 1, len(ids)):
            for length in range(SHORTEST_MATCH, min(LONGEST_MATCH, end) + 1):
                self._ends[tuple(ids[end - length : end])] = end
        self._read = max(self._read, len(ids) - 1)


class PromptLookup:
    """As `speculation.Guesser`; guesses cost next to nothing, so they are made and judged even when none is fed."""

    def __init__(self) -> None:
        self.guesses: dict[int, tuple[int, list[int]]] = {}
        self._indexes: dict[int, Index] = {}

    def begin(self, sequence: int) -> None:
        self._indexes[sequence] = Index()
        self.guesses.pop(sequence, None)

    def reach(self, texts: Mapping[int, Sequence[int]], most: Mapping[int, int]) -> dict[int, int]:
        for sequence, ids in texts.items():
            self.guesses[sequence] = len(ids), self._indexes[sequence].following(ids, most[sequence])
        return {sequence: len(self.guesses[sequence][1]) for sequence in texts}

    def draft(self, texts: Mapping[int, Sequence[int]], counts: Mapping[int, int]) -> dict[int, list[int]]:
        return {sequence: self.guesses[sequence][1][:count] for sequence, count in counts.items()}

    def close(self) -> None:
        self._indexes.clear()

"""When speculation pays: how many draft tokens a step should feed, from measured times and measured acceptance.

A step that feeds draft tokens takes longer and, where they are accepted, gives more tokens. Both are measured while
serving, for each number of answers by itself, since drafts that are nearly free beside one answer are not so beside
eight. What is worth most is tokens a second (Leviathan et al. 2023, "Fast inference from transformers via
speculative decoding", section 3.3, with measured times in place of a cost ratio).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

FORGETTING = 0.95  # of the weight of earlier drafts, at each new one
DOUBT = 2.0  # how many tokens the expectation for a new answer weighs as much as
RECENT = 3  # the best of so many times counts: what makes a step slow now and then is not the drafts
PLAIN_FIRST = 2  # steps without drafts that are timed before the first with any
RETRY, RETRY_LIMIT = 64, 1024  # declined chances before another try; doubled with each try that did not pay


@dataclass
class Acceptance:
    """How likely the next token is what was guessed, given that all guesses before it were right."""

    accepted: float = 0.0
    tried: float = 0.0

    def learn(self, accepted: int, tried: int) -> None:
        self.accepted = FORGETTING * self.accepted + accepted
        self.tried = FORGETTING * self.tried + tried

    def rate(self, expected: float) -> float:
        return (self.accepted + DOUBT * expected) / (self.tried + DOUBT)


class Pace:
    """Decides for one runtime how many draft tokens all answers of a step get together."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[int, int], deque[float]] = {}  # (answers, size class of the drafts) → latest times
        self._declined = 0
        self._retry = RETRY
        self._since_plain = 0

    def observe(self, answers: int, drafted: int, seconds: float) -> None:
        """A step for so many answers that fed `drafted` tokens more than theirs took so long, drafting included."""
        self._seconds.setdefault((answers, _size_class(drafted)), deque(maxlen=RECENT)).append(seconds)

    def tokens(self, answers: int, gains: Sequence[float]) -> int:
        """How many draft tokens to feed beside one token for each of the answers.

        `gains` says of each token that could be fed, best first, how many tokens it is expected to bring.
        """
        plain = self._seconds.get((answers, 0), ())
        if not gains or len(plain) < PLAIN_FIRST:
            return 0
        best, runner_up = self._rank(answers, gains, min(plain))
        if best == 0:
            self._declined += 1
            if self._declined < self._retry:
                return 0
            self._declined, self._retry = 0, min(2 * self._retry, RETRY_LIMIT)
            return runner_up
        self._since_plain += 1
        if self._since_plain >= RETRY:  # what it would take without drafts is measured now and then as well
            self._since_plain = 0
            return 0
        return best

    def _rank(self, answers: int, gains: Sequence[float], plain_s: float) -> tuple[int, int]:
        """The count of draft tokens that gives most tokens a second, and the best one above 0.

        A size that was never timed counts as no slower than the sizes below it, so that it is tried; sizes are
        tried from small to large, and not at all above one that does not come near to paying.
        """
        best, best_rate = 0, answers / plain_s
        runner_up, runner_up_rate = 1, 0.0
        slowest, total, fed, size = plain_s, 0.0, 0, 1
        while fed < len(gains):
            count = min(size, len(gains))
            total += sum(gains[fed:count])
            fed = count
            times = self._seconds.get((answers, _size_class(count)))
            slowest = max(slowest, min(times)) if times else slowest
            rate = (answers + total) / slowest
            if rate > runner_up_rate:
                runner_up, runner_up_rate = count, rate
            if not times:
                break
            size *= 2
        if runner_up_rate > best_rate:
            best = runner_up
            self._declined, self._retry = 0, RETRY
        return best, runner_up


def _size_class(drafted: int) -> int:
    """0 for none, 1 for 1, 2 for 2, 3 for 3 and 4, 4 for 5 to 8 …"""
    return (drafted - 1).bit_length() + 1 if drafted else 0

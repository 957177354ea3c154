"""How many tokens of a prompt may be read between two tokens of the answers under way, by what reading has taken."""

from __future__ import annotations

from collections import deque

GROWTH = 2  # a chunk is at most so many times as long as the longest of the recent ones
HEADROOM = 0.9  # the part of the bound that is aimed at
WAITED_SHARE = 0.25  # of the time that a prompt waited for its turn, which others may wait for a piece of it
FORGETTING = 0.95  # of the weight of earlier chunks, at each new one
RECENT = 64  # chunks whose deviations from what was expected are remembered
WORST = 3.0  # deviations beyond this are the machine's, and shorter chunks would not help
SHRINKAGE = 256.0  # tokens: depths that lie closer together than this say little about what depth costs


class ReadingPace:
    """The longest chunk whose time stays within a bound in nearly all cases.

    What a token costs is fitted as a straight line over its depth, since attention looks at all tokens before it;
    and the bound is held against the second worst of the recent deviations from that line. No chunk is shorter than
    `fewest`, whatever it takes: below, a token costs more and more, so that little time is to be had for a lot.
    """

    def __init__(self, bound_s: float, fewest: int) -> None:
        self._bound_s = bound_s
        self._fewest = fewest
        self._deviations: deque[float] = deque(maxlen=RECENT)  # measured time / expected time
        self._lengths: deque[int] = deque(maxlen=RECENT)
        # Weighted sums over the chunks: weights, middle depths, their squares, seconds a token, and depths × these.
        self._weight = self._depths = self._squares = self._costs = self._products = 0.0

    def tokens(self, depth: int, prompts: int = 1, waited_s: float = 0.0) -> int:
        """How many tokens to read at most, in a sequence that holds `depth`, while so many prompts are to be read, and
        this one waited so long for its turn.

        Two prompts or more are a crowd, in which each of them may add the bound for each of them: held to that of one,
        all but the first would wait for their first token until the answers of the others are nearly done, and what
        short pieces cost more than long ones is lost to everybody. Nor shall the last of a crowd, which has waited
        longest, be held up most.
        """
        if not self._lengths:
            return self._fewest
        sure_s = self._bound_s / self._margin()
        budget_s = HEADROOM * max(sure_s, WAITED_SHARE * waited_s, prompts**2 * self._bound_s if prompts > 1 else 0.0)
        fits = budget_s / self._token_s(depth)
        fits = budget_s / self._token_s(depth + fits / 2)
        return max(self._fewest, min(int(fits), GROWTH * max(self._lengths)))

    def observe(self, depth: int, tokens: int, seconds: float) -> None:
        """A chunk of so many tokens, read after `depth` others, took so long."""
        if self._lengths and 2 * tokens < self.tokens(depth):
            return  # the short end of a prompt: what every call costs would count as its tokens'
        middle, cost = depth + tokens / 2, seconds / tokens
        if self._lengths:
            self._deviations.append(cost / self._token_s(middle))
        self._lengths.append(tokens)
        self._weight = FORGETTING * self._weight + 1.0
        self._depths = FORGETTING * self._depths + middle
        self._squares = FORGETTING * self._squares + middle * middle
        self._costs = FORGETTING * self._costs + cost
        self._products = FORGETTING * self._products + middle * cost

    def _token_s(self, depth: float) -> float:
        """Expected seconds a token at this depth, by weighted least squares; never much below the recent mean."""
        mean_depth, mean_cost = self._depths / self._weight, self._costs / self._weight
        spread = self._squares / self._weight - mean_depth**2
        together = self._products / self._weight - mean_depth * mean_cost
        slope = max(0.0, together / (spread + SHRINKAGE**2))
        return max(mean_cost + slope * (depth - mean_depth), mean_cost / 2, 1e-9)

    def _margin(self) -> float:
        worst = sorted(self._deviations)[-2:]
        return min(max(1.0, worst[0]), WORST) if worst else 1.0

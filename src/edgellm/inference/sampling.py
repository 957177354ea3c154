"""Drawing the next token from logits: temperature, then top-k, top-p and min-p, then one draw.

The order is that of transformers' logits processors, so the same settings mean the same here.
A vocabulary of 200,000 is never sorted as a whole: only the few candidates that can survive are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgellm.errors import EngineFailed, UsageError
from edgellm.inference.chat import SamplingOptions

Floats = NDArray[np.float32]
Ids = NDArray[np.intp]
# The nucleus is looked for among tokens at least this likely relative to the best one; when they hold too
# little mass the bar is lowered by the same factor again.
FIRST_BAR = 1e-2
COLDEST = 1e-6  # below it the best token has all the weight that float32 can tell from none
BLOCK = 64  # vocabularies are looked at block by block first; about the square root of 4,096 to 262,144


class Sampler:
    """Draws the tokens of one request; holds that request's random generator.

    Two samplers with the same seed draw the same tokens from the same logits.
    """

    def __init__(self, options: SamplingOptions) -> None:
        """Raises UsageError for settings outside their ranges."""
        check_ranges(options)
        self.options = options
        self._random = np.random.default_rng(options.seed)

    def draw(self, logits: Floats) -> int:
        """One token id from logits of shape (vocab_tokens,).

        Raises EngineFailed if the largest logit is not a finite number: the engine's output is broken.
        """
        best = int(np.argmax(logits))  # the first NaN, if there is one
        if not np.isfinite(logits[best]):
            raise EngineFailed("the model's output is not a number, so no token can be drawn; the file may be damaged")
        if self.options.temperature < COLDEST:
            return best
        ids, weights = candidates(logits, self.options)
        drawn = pick(weights, self._random.random())
        return drawn if ids is None else int(ids[drawn])


def check_ranges(options: SamplingOptions) -> None:
    """Raises UsageError, naming the setting and its range."""
    if not 0.0 <= options.temperature <= 100.0:
        raise UsageError(f"temperature is {options.temperature}; it must lie between 0 and 100")
    if not 0.0 <= options.top_p <= 1.0:
        raise UsageError(f"top_p is {options.top_p}; it must lie between 0 and 1")
    if not 0.0 <= options.min_p <= 1.0:
        raise UsageError(f"min_p is {options.min_p}; it must lie between 0 and 1")
    if options.top_k < 0:
        raise UsageError(f"top_k is {options.top_k}; it must be 0 (all tokens) or more")
    if options.seed is not None and options.seed < 0:
        raise UsageError(f"seed is {options.seed}; it must be 0 or more")


def candidates(logits: Floats, options: SamplingOptions) -> tuple[Ids | None, Floats]:
    """The tokens that may be drawn and their weights (unnormalised probabilities, the best has 1).

    Ids are None where every token may be drawn; then weights has the shape of `logits`. Of equally likely
    tokens at a limit, those with the smaller ids stay.
    """
    ids: Ids | None = None
    if 0 < options.top_k < len(logits):
        ids = largest(logits, options.top_k)
        logits = logits[ids]
    # Scaled after the maximum is taken off, so that a tiny temperature cannot overflow.
    weights = np.exp((logits - logits.max()) / np.float32(options.temperature))
    if options.top_p < 1.0:
        kept = nucleus(weights, options.top_p)
        ids, weights = (kept if ids is None else ids[kept]), weights[kept]
    if options.min_p > 0.0:
        kept = np.flatnonzero(weights >= np.float32(options.min_p))
        ids, weights = (kept if ids is None else ids[kept]), weights[kept]
    return ids, weights


def largest(values: Floats, count: int) -> Ids:
    """Indexes of the `count` largest values, ascending by index; 0 < count < len(values)."""
    blocks = len(values) // BLOCK
    pool: Ids | None = None
    if count < blocks:
        # At least `count` blocks, and so at least `count` values, reach this bar: the rest cannot belong.
        peaks = values[: blocks * BLOCK].reshape(blocks, BLOCK).max(axis=1)
        pool = np.flatnonzero(values >= np.partition(peaks, -count)[-count])
        values = values[pool]
    limit = np.partition(values, -count)[-count]
    above = np.flatnonzero(values > limit)
    level = np.flatnonzero(values == limit)[: count - len(above)]
    found = np.sort(np.concatenate([above, level]))
    return found if pool is None else pool[found]


def nucleus(weights: Floats, top_p: float) -> Ids:
    """Indexes of the smallest set of likeliest tokens whose mass reaches `top_p` of the whole, best first.

    Holtzman et al. 2020, "The curious case of neural text degeneration", section 3.1. The best weight is 1.
    """
    wanted = top_p * weights.sum(dtype=np.float64)
    bar = FIRST_BAR
    while True:
        likely = np.flatnonzero(weights >= bar)
        if weights[likely].sum(dtype=np.float64) >= wanted or len(likely) == len(weights):
            break
        bar = bar * FIRST_BAR if bar > 1e-30 else 0.0
    ranked = likely[np.argsort(-weights[likely], kind="stable")]
    mass = np.cumsum(weights[ranked], dtype=np.float64)
    return ranked[: int(np.searchsorted(mass, wanted, side="left")) + 1]


def pick(weights: Floats, share: float) -> int:
    """The index at which the running sum of `weights` first exceeds `share` of the sum; 0 ≤ share < 1."""
    starts = np.arange(0, len(weights), BLOCK)
    sums = np.cumsum(np.add.reduceat(weights, starts), dtype=np.float64)
    goal = share * sums[-1]
    block = min(int(np.searchsorted(sums, goal, side="right")), len(sums) - 1)
    inside = np.cumsum(weights[starts[block] : starts[block] + BLOCK], dtype=np.float64)
    before = sums[block - 1] if block else 0.0
    # Rounding may put the goal a hair past the block's own sum; its last token with any weight is meant then.
    place = int(np.searchsorted(inside, goal - before, side="right"))
    return int(starts[block]) + min(place, int(np.searchsorted(inside, inside[-1], side="left")))

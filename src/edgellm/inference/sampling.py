"""Drawing the next token from logits: bias and penalties, then temperature, then top-k, top-p and min-p, then one draw.

The order is that of transformers' logits processors, so the same settings mean the same here.
A vocabulary of 200,000 is never sorted as a whole: only the few candidates that can survive are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgellm.errors import EngineFailed, UsageError
from edgellm.inference.chat import SamplingOptions, TokenLogprob
from edgellm.inference.penalties import check_penalties, penalties_of

Floats = NDArray[np.float32]
Ids = NDArray[np.intp]
# The nucleus is looked for among tokens at least this likely relative to the best one; when they hold too
# little mass the bar is lowered by the same factor again.
FIRST_BAR = 1e-2
MANY = 4096  # tokens that are gathered or sorted; more are not
TRIES = 4
COLDEST = 1e-6  # below it the best token has all the weight that float32 can tell from none
BLOCK = 64  # vocabularies are looked at block by block first; about the square root of 4,096 to 262,144
TOP_LOGPROBS_LIMIT = 20  # OpenAI's


class Sampler:
    """Draws the tokens of one request; holds that request's random generator and counts what its text holds.

    Two samplers with the same seed draw the same tokens from the same logits.
    """

    def __init__(self, options: SamplingOptions, prompt: Sequence[int] = ()) -> None:
        """`prompt` holds the token ids before the answer. Raises UsageError for settings outside their ranges."""
        check_ranges(options)
        self.options = options
        self._random = np.random.default_rng(options.seed)
        self._penalties = penalties_of(options, prompt)

    def draw(self, logits: Floats) -> int:
        """One token id from logits of shape (vocab_tokens,), which stay as they are.

        Raises EngineFailed if the largest logit is not a finite number: the engine's output is broken.
        """
        if self._penalties is not None:
            logits = self._penalties.applied(logits)
        best = int(np.argmax(logits))  # the first NaN, if there is one
        if not math.isfinite(logits[best]):
            raise EngineFailed("the model's output is not a number, so no token can be drawn; the file may be damaged")
        if self.options.temperature < COLDEST:
            return best
        if self.options.top_k == 0 and (token := self._tried(logits)) is not None:
            return token
        ids, weights = candidates(logits, self.options)
        drawn = pick(weights, self._random.random())
        return drawn if ids is None else int(ids[drawn])

    def _tried(self, logits: Floats) -> int | None:
        """A token drawn from all of them, and drawn anew where it is no candidate; None after TRIES.

        Each time the candidates have the chances that they have among themselves, so what is drawn from them in the
        end has these as well. That one token belongs to the nucleus is sooner found out than which ones do.
        """
        weights = tempered(logits, self.options.temperature)
        sums = running_sums(weights)
        for _ in range(TRIES):
            token = pick(weights, self._random.random(), sums)
            if weights[token] >= np.float32(self.options.min_p) and (
                self.options.top_p >= 1.0 or mass_before(weights, token) < self.options.top_p * sums[-1]
            ):
                return token
        return None

    def take(self, token: int) -> None:
        """The token has become part of the answer. A draw that was refused is not taken."""
        if self._penalties is not None:
            self._penalties.take(token)


def token_logprob(logits: Floats, token: int, top: int) -> TokenLogprob:
    """The log probability of a drawn token and of the `top` likeliest ones, before any setting, as OpenAI means it.

    From logits of shape (vocab_tokens,) as the engine gave them. Of equally likely tokens the smaller id comes first.
    """
    best = logits.max()
    log_sum = float(best) + float(np.log(np.exp(logits - best).sum(dtype=np.float64)))
    ranked: Ids = np.empty(0, np.intp)
    if top > 0:
        likely = largest(logits, top) if top < len(logits) else np.arange(len(logits))
        ranked = likely[np.argsort(-logits[likely], kind="stable")]
    return TokenLogprob(
        token,
        float(logits[token]) - log_sum,
        tuple((int(each), float(logits[each]) - log_sum) for each in ranked),
    )


def check_ranges(options: SamplingOptions, vocab_tokens: int | None = None) -> None:
    """Raises UsageError, naming the setting and its range; with the size of the vocabulary, ids are checked too."""
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
    check_penalties(options, vocab_tokens)


def check_top_logprobs(top: int | None) -> None:
    """Raises UsageError for more tokens than are told beside a drawn one."""
    if top is not None and not 0 <= top <= TOP_LOGPROBS_LIMIT:
        raise UsageError(f"top_logprobs is {top}; it must lie between 0 and {TOP_LOGPROBS_LIMIT}")


def candidates(logits: Floats, options: SamplingOptions) -> tuple[Ids | None, Floats]:
    """The tokens that may be drawn and their weights (unnormalised probabilities, the best has 1).

    Ids are None where every token may be drawn; then weights has the shape of `logits`. Of equally likely
    tokens at a limit, those with the smaller ids stay.
    """
    ids: Ids | None = None
    if 0 < options.top_k < len(logits):
        ids = largest(logits, options.top_k)
        logits = logits[ids]
    weights = tempered(logits, options.temperature)
    if options.top_p < 1.0:
        kept = nucleus(weights, options.top_p)
        ids, weights = (kept if ids is None else ids[kept]), weights[kept]
    if options.min_p > 0.0:
        kept = np.flatnonzero(weights >= np.float32(options.min_p))
        ids, weights = (kept if ids is None else ids[kept]), weights[kept]
    return ids, weights


def tempered(logits: Floats, temperature: float) -> Floats:
    """Weights of all tokens, of which the best has 1."""
    # Scaled after the maximum is taken off, so that a tiny temperature cannot overflow.
    scaled = logits - logits.max()
    scaled *= np.float32(1.0 / temperature)
    weights: Floats = np.exp(scaled, out=scaled)
    return weights


def mass_before(weights: Floats, token: int) -> float:
    """What all likelier tokens weigh, and those as likely with smaller ids."""
    own = weights[token]
    above = weights > own
    if np.count_nonzero(above) > MANY:
        before = float(running_sums(weights * above)[-1])
    else:
        before = float(weights[above].sum(dtype=np.float64))
    return before + float(own) * int(np.count_nonzero(weights[:token] == own))


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
    """Indexes of the smallest set of likeliest tokens whose mass reaches `top_p` of the whole, in an order of its own.

    Holtzman et al. 2020, "The curious case of neural text degeneration", section 3.1. The best weight is 1.
    """
    wanted = top_p * weights.sum(dtype=np.float64)
    bar = FIRST_BAR
    while True:
        above = weights >= bar
        if np.count_nonzero(above) > MANY:
            return _wide_nucleus(weights, wanted)
        likely = np.flatnonzero(above)
        if weights[likely].sum(dtype=np.float64) >= wanted or len(likely) == len(weights):
            break
        bar = bar * FIRST_BAR if bar > 1e-30 else 0.0
    ranked = likely[np.argsort(-weights[likely], kind="stable")]
    mass = np.cumsum(weights[ranked], dtype=np.float64)
    return ranked[: int(np.searchsorted(mass, wanted, side="left")) + 1]


def _wide_nucleus(weights: Floats, wanted: float) -> Ids:
    """The same for a distribution so flat that sorting its candidates would take longer than all else together.

    The weights are told apart by their leading bits, which are in the order of positive numbers: only those that share
    the limit's are sorted.
    """
    levels = weights.view(np.int32) >> 15  # sign, exponent and 8 bits
    mass = np.cumsum(np.bincount(levels, weights)[::-1])
    place = min(int(np.searchsorted(mass, wanted, side="left")), len(mass) - 1)
    limit = len(mass) - 1 - place
    level = np.flatnonzero(levels == limit)
    ranked = level[np.argsort(-weights[level], kind="stable")]
    inside = np.cumsum(weights[ranked], dtype=np.float64) + (mass[place - 1] if place else 0.0)
    taken = ranked[: int(np.searchsorted(inside, wanted, side="left")) + 1]
    return np.concatenate([np.flatnonzero(levels > limit), taken])


def running_sums(weights: Floats) -> NDArray[np.float64]:
    """The running sum of `weights` at the end of each block."""
    whole = len(weights) // BLOCK * BLOCK
    sums = np.einsum("ij->i", weights[:whole].reshape(-1, BLOCK))  # a third of the time of `sum` and `reduceat`
    if whole < len(weights):
        sums = np.append(sums, weights[whole:].sum())
    return np.cumsum(sums, dtype=np.float64)


def pick(weights: Floats, share: float, sums: NDArray[np.float64] | None = None) -> int:
    """The index at which the running sum of `weights` first exceeds `share` of the sum; 0 ≤ share < 1.

    `sums` are their `running_sums`, where the caller has them.
    """
    sums = running_sums(weights) if sums is None else sums
    goal = share * sums[-1]
    block = min(int(np.searchsorted(sums, goal, side="right")), len(sums) - 1)
    start = block * BLOCK
    inside = np.cumsum(weights[start : start + BLOCK], dtype=np.float64)
    before = sums[block - 1] if block else 0.0
    # Rounding may put the goal a hair past the block's own sum; its last token with any weight is meant then.
    place = int(np.searchsorted(inside, goal - before, side="right"))
    return start + min(place, int(np.searchsorted(inside, inside[-1], side="left")))

"""How much faster one is than the other, with an interval that few runs deserve.

A percentile bootstrap of n values is too narrow by √((n−1)/n), and takes the normal's tails where Student's are due:
with five runs it would see a difference where there is none twice as often as it says. So the percentiles are
moved outward to Φ(−t √(n/(n−1))), the expanded percentile interval (T. Hesterberg, "What Teachers Should Know About the
Bootstrap", The American Statistician 69, 2015). For hundreds of values it is the usual one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgellm.records.bench import EngineTest
from edgellm.records.comparison import Verdict
from edgellm.records.statistics import Interval

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]  # of values along the last axis

FEW = 64  # values, up to which percentiles far in the tails are asked for
RESAMPLES_OF_FEW, RESAMPLES = 20_000, 2_000
AT_ONCE = 2_000_000  # values drawn at a time
SEED = 0  # the same files give the same interval


def mean(values: Floats) -> Floats:
    return np.asarray(np.mean(values, axis=-1))


def percentile(share: float) -> Statistic:
    """The statistic that `share` percent of the values lie below."""
    return lambda values: np.asarray(np.percentile(values, share, axis=-1))


def ratio(a: Floats, b: Floats, statistic: Statistic = mean, *, paired: bool = False) -> Interval:
    """statistic(b) / statistic(a) with its 95 % interval; a and b have shapes (runs of A,) and (runs of B,).

    Each side's values are drawn again with replacement, independently of the other's, or with `paired` together: then
    a[i] and b[i] were measured side by side. With fewer than two values of either the ends equal the value.
    """
    if paired and len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} runs are no pairs")
    value = float(statistic(b) / statistic(a))
    if min(len(a), len(b)) < 2:
        return Interval(value=value, low=value, high=value)
    draws = resampled(a, b, statistic, paired)
    cut = 100 * tail(min(len(a), len(b)), freedom(a, b, paired))
    low, high = np.percentile(draws, [cut, 100 - cut])
    return Interval(value=value, low=min(float(low), value), high=max(float(high), value))


def resampled(a: Floats, b: Floats, statistic: Statistic, paired: bool) -> Floats:
    rng = np.random.default_rng(SEED)
    count = RESAMPLES_OF_FEW if max(len(a), len(b)) <= FEW else RESAMPLES
    step = max(1, AT_ONCE // max(len(a), len(b)))
    found = []
    for start in range(0, count, step):
        rows = min(step, count - start)
        of_a = rng.integers(0, len(a), (rows, len(a)))
        of_b = of_a if paired else rng.integers(0, len(b), (rows, len(b)))
        found.append(statistic(b[of_b]) / statistic(a[of_a]))
    return np.concatenate(found)


def paired_difference(differences: Sequence[float], groups: Sequence[str]) -> Interval:
    """Mean of the differences with its 95 % interval; `groups` names the item of each, and whole items are drawn again.

    With fewer than two items the ends equal the value.
    """
    places = {name: place for place, name in enumerate(dict.fromkeys(groups))}
    totals, counts = np.zeros(len(places)), np.zeros(len(places))
    for name, difference in zip(groups, differences, strict=True):
        totals[places[name]] += difference
        counts[places[name]] += 1
    value, items = float(totals.sum() / counts.sum()), len(places)
    if items < 2:
        return Interval(value=value, low=value, high=value)
    rng = np.random.default_rng(SEED)
    draws = []
    count = RESAMPLES_OF_FEW if items <= FEW else RESAMPLES
    step = max(1, AT_ONCE // items)
    for start in range(0, count, step):
        drawn = rng.integers(0, items, (min(step, count - start), items))
        draws.append(totals[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    cut = 100 * tail(items, items - 1)
    low, high = np.percentile(np.concatenate(draws), [cut, 100 - cut])
    return Interval(value=value, low=min(float(low), value), high=max(float(high), value))


def freedom(a: Floats, b: Floats, paired: bool) -> float:
    """Degrees of freedom of the difference of two means, as Welch counts them, of the values' relative spread."""
    if paired:
        return len(a) - 1
    parts = [(float(np.var(v, ddof=1)) / (len(v) * float(np.mean(v)) ** 2), len(v) - 1) for v in (a, b)]
    below = sum(part**2 / count for part, count in parts)
    return sum(part for part, _ in parts) ** 2 / below if below else min(len(a), len(b)) - 1


def tail(values: int, degrees: float) -> float:
    """Share of the resamples to leave out at each end for 95 %: Φ(−t √(n/(n−1)))."""
    from scipy.stats import norm, t  # type: ignore[attr-defined]  # here, since it takes a second to import

    return float(norm.cdf(-math.sqrt(values / (values - 1)) * t.ppf(0.975, degrees)))


def per_second(amounts: Floats, other: Floats, duration_s: float, other_duration_s: float) -> Interval:
    """(Σother / other_duration) / (Σamounts / duration): what requests brought a second, resampling requests.

    How many requests there were is the load's doing and stays as it was.
    """
    found = ratio(amounts, other)
    factor = (len(other) / other_duration_s) / (len(amounts) / duration_s)
    return Interval(value=found.value * factor, low=found.low * factor, high=found.high * factor)


def speed_ratio(a: EngineTest, b: EngineTest, *, paired: bool = False) -> tuple[Interval, str, bool]:
    """Tokens a second of B over A in the same test: (ratio, where its interval comes from, whether it has one).

    A's mean time over B's, for equal work. Files that do not hold the single runs give the range that slowest and
    fastest runs allow.
    """
    if a.seconds and b.seconds:
        paired = paired and len(a.seconds) == len(b.seconds)
        found = ratio(np.array(b.seconds), np.array(a.seconds), paired=paired)
        drawn = "pairs of runs" if paired else f"{len(a.seconds)} and {len(b.seconds)} runs"
        return found, f"mean times, {drawn} resampled", min(len(a.seconds), len(b.seconds)) > 1
    one, other = a.tokens_per_s, b.tokens_per_s
    found = Interval(value=other.median / one.median, low=other.low / one.high, high=other.high / one.low)
    return found, "medians, ends from slowest and fastest runs", found.low < found.high


def verdict(found: Interval, better: Literal["higher", "lower"], *, has_interval: bool) -> Verdict:
    """What a ratio of B over A means. Without an interval nothing is concluded."""
    if not has_interval:
        return "not known"
    if found.low <= 1 <= found.high:
        return "no difference seen"
    return "B is better" if (found.low > 1) == (better == "higher") else "B is worse"


def advantage(found: Interval, better: Literal["higher", "lower"]) -> float:
    """The lower end of how many times as good B is: what a gate is held against."""
    return found.low if better == "higher" else 1 / found.high

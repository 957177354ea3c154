"""How much a measure differs between two artifacts of one reference, paired document by document.

What makes a document hard is the same for both, so far smaller differences are seen than the two intervals show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgellm.errors import UsageError
from edgellm.measures.fidelity import Document, Floats, Tally
from edgellm.measures.fidelity_figures import QUANTILES, RATIOS, Ratio, Sums, pooled, resamples, sums_of
from edgellm.measures.statistics import RESAMPLES, SEED, ratio_interval
from edgellm.records.statistics import Interval


@dataclass(frozen=True)
class Sample:
    """An artifact's tally and its reference's, of the same documents."""

    tally: Tally
    own: Tally
    documents: Sequence[Document]

    @property
    def sums(self) -> Sums:
        return sums_of(self.tally, self.own, self.documents)


def change(measure: str, before: Sample, after: Sample) -> Interval:
    """after − before of any measure of `Fidelity` that has an interval, with a 95 % bootstrap that resamples documents.

    Raises UsageError where the two were not measured on the same documents.
    """
    if measure in RATIOS:
        return change_of_sums(measure, before.sums, after.sums)
    check_same(before.sums, after.sums)
    return quantile_change(before.tally.kld, after.tally.kld, QUANTILES[measure])


def change_of_sums(measure: str, before: Sums, after: Sums) -> Interval:
    """The same from the sums over documents alone, for the measures in `RATIOS`."""
    check_same(before, after)
    rule = RATIOS[measure]
    if rule.finish is None:
        return ratio_interval(rule.over(after) - rule.over(before), rule.under(before))
    return bent_change(rule, before, after)


def bent_change(rule: Ratio, before: Sums, after: Sums) -> Interval:
    """Of a measure that is no ratio itself: both are worked out in every resample, and then taken from each other."""
    assert rule.finish is not None
    count = len(before.tokens)
    one, other, under = rule.over(before), rule.over(after), rule.under(before)

    def difference(places: np.ndarray) -> Floats:
        below = under[places].sum(axis=-1)
        ends = [rule.finish(over[places].sum(axis=-1) / below) for over in (other, one)]  # type: ignore[misc]
        return np.asarray(ends[0] - ends[1])

    value = float(difference(np.arange(count)))
    if count < 2:
        return Interval(value=value, low=value, high=value)
    draws = difference(np.random.default_rng(SEED).integers(0, count, (RESAMPLES, count)))
    low, high = np.percentile(draws, [2.5, 97.5])
    return Interval(value=value, low=float(low), high=float(high))


def quantile_change(before: Sequence[Floats], after: Sequence[Floats], share: float) -> Interval:
    """Of a quantile of all documents' values pooled; each document is an array of shape (tokens,)."""

    def difference(places: Sequence[int]) -> float:
        return float(np.quantile(pooled(after, places), share) - np.quantile(pooled(before, places), share))

    value = difference(range(len(before)))
    if len(before) < 2:
        return Interval(value=value, low=value, high=value)
    low, high = np.percentile([difference(places) for places in resamples(len(before))], [2.5, 97.5])
    return Interval(value=value, low=float(low), high=float(high))


def check_same(before: Sums, after: Sums) -> None:
    same = len(before.tokens) == len(after.tokens) and bool(np.array_equal(before.tokens, after.tokens))
    if not same or not np.allclose(before.reference_nats, after.reference_nats, rtol=1e-3):
        raise UsageError(
            "the two were not measured on the same documents against the same reference, so they are no pairs; measure "
            "both with the same texts"
        )

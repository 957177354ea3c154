"""Intervals for measures over documents, and spreads of repeated timings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgellm.records.statistics import Interval, Spread

Floats = NDArray[np.float64]

RESAMPLES = 1000
SEED = 0  # the same file gives the same interval


def ratio_interval(numerators: Floats, denominators: Floats) -> Interval:
    """Σnumerators/Σdenominators over documents, with a 95 % percentile bootstrap that resamples documents.

    Both arrays have shape (documents,). With a single document the interval is the value itself.
    """

    def ratio(a: Floats, b: Floats, axis: int = -1) -> Floats:
        return np.asarray(np.sum(a, axis=axis) / np.sum(b, axis=axis))

    value = float(np.sum(numerators) / np.sum(denominators))
    if len(numerators) < 2:
        return Interval(value=value, low=value, high=value)
    data = (numerators, denominators)
    return bootstrapped(value, data, ratio, paired=True, vectorized=True, n_resamples=RESAMPLES)


def pooled_interval(documents: Sequence[Floats], statistic: Callable[[Floats], float]) -> Interval:
    """`statistic` of all documents' values pooled, with a 95 % percentile bootstrap that resamples documents.

    For statistics that are no ratio of sums, such as a median. Each document is an array of shape (tokens,).
    """
    value = float(statistic(np.concatenate(documents)))
    if len(documents) < 2:
        return Interval(value=value, low=value, high=value)

    def of(indices: NDArray[np.int64]) -> float:
        return statistic(np.concatenate([documents[i] for i in indices]))

    return bootstrapped(value, (np.arange(len(documents)),), of, vectorized=False, n_resamples=RESAMPLES // 4)


def bootstrapped(value: float, data: tuple[NDArray[Any], ...], statistic: Callable[..., Any], **how: Any) -> Interval:
    # Here, since it takes a second to import and most verbs measure nothing.
    from scipy.stats import bootstrap  # type: ignore[attr-defined]  # scipy does not declare its exports

    found = bootstrap(data, statistic, method="percentile", rng=np.random.default_rng(SEED), **how)
    return Interval(value=value, low=float(found.confidence_interval.low), high=float(found.confidence_interval.high))


def spread(values: Sequence[float]) -> Spread:
    """Median, smallest and largest of at least one value."""
    return Spread(median=float(np.median(values)), low=float(min(values)), high=float(max(values)))

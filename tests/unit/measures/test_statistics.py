"""Intervals are what a percentile bootstrap over documents gives, and say more with more documents."""

from __future__ import annotations

import numpy as np
import pytest

from edgellm.measures.statistics import Floats, pooled_interval, ratio_interval, spread
from edgellm.records.statistics import Interval


def documents(count: int, seed: int = 7) -> tuple[Floats, Floats]:
    """Sums and token counts of `count` documents of unequal length whose means differ."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(20, 400, count).astype(np.float64)
    return tokens * rng.gamma(4.0, 0.25, count), tokens


def width(interval: Interval) -> float:
    return interval.high - interval.low


def mean(values: Floats) -> float:
    return float(np.mean(values))


def test_the_ratio_is_of_sums_and_not_a_mean_of_ratios() -> None:
    found = ratio_interval(np.array([1.0, 30.0]), np.array([10.0, 100.0]))
    assert found.value == pytest.approx(31 / 110)


def test_the_interval_agrees_with_a_bootstrap_written_out_in_numpy() -> None:
    sums, tokens = documents(40)
    rng = np.random.default_rng(99)
    draws = [rng.integers(0, 40, 40) for _ in range(20_000)]
    low, high = np.percentile([sums[d].sum() / tokens[d].sum() for d in draws], [2.5, 97.5])
    found = ratio_interval(sums, tokens)
    # 1,000 resamples find an end of the interval to within some 5 % of its width.
    assert found.low == pytest.approx(low, abs=0.08 * (high - low))
    assert found.high == pytest.approx(high, abs=0.08 * (high - low))


def test_the_pooled_interval_agrees_with_a_bootstrap_written_out_in_numpy() -> None:
    rng = np.random.default_rng(5)
    texts = [rng.gamma(2.0, scale, 50) for scale in rng.uniform(0.5, 2.0, 30)]
    draws = [rng.integers(0, 30, 30) for _ in range(4_000)]
    low, high = np.percentile([np.median(np.concatenate([texts[i] for i in d])) for d in draws], [2.5, 97.5])
    found = pooled_interval(texts, lambda v: float(np.median(v)))
    assert found.value == np.median(np.concatenate(texts))
    assert found.low == pytest.approx(low, abs=0.15 * (high - low))
    assert found.high == pytest.approx(high, abs=0.15 * (high - low))


def test_eight_times_the_documents_make_the_interval_about_root_eight_narrower() -> None:
    sums, tokens = documents(8)
    few, many = ratio_interval(sums, tokens), ratio_interval(np.tile(sums, 8), np.tile(tokens, 8))
    assert few.value == pytest.approx(many.value)
    assert 2.2 < width(few) / width(many) < 3.6


def test_tokens_of_one_document_are_not_taken_for_independent_ones() -> None:
    # Within a document all tokens agree, so 1,000 tokens each tell no more than one.
    short = [np.full(1, v) for v in (0.1, 0.2, 0.4, 0.8, 1.6)]
    long = [np.repeat(d, 1000) for d in short]
    found = width(pooled_interval(long, mean))
    assert found == pytest.approx(width(pooled_interval(short, mean)))
    assert found > 0.5


def test_the_interval_holds_the_true_value_about_95_times_in_100() -> None:
    held = 0
    for seed in range(200):
        found = ratio_interval(*documents(40, seed))
        held += found.low <= 1.0 <= found.high  # the mean of gamma(4, 0.25)
    # A percentile bootstrap of 40 skewed documents falls a little short; three standard errors are 0.05.
    assert 0.87 <= held / 200 <= 0.99


def test_the_same_values_give_the_same_interval() -> None:
    assert ratio_interval(*documents(12)) == ratio_interval(*documents(12))
    texts = [np.arange(5.0) * k for k in range(1, 6)]
    assert pooled_interval(texts, np.median) == pooled_interval(texts, np.median)


def test_the_value_lies_inside_its_interval() -> None:
    found = ratio_interval(*documents(25))
    assert found.low < found.value < found.high


def test_a_single_document_has_no_width() -> None:
    assert ratio_interval(np.array([3.0]), np.array([4.0])) == Interval(value=0.75, low=0.75, high=0.75)
    assert pooled_interval([np.array([1.0, 2.0, 9.0])], np.median) == Interval(value=2.0, low=2.0, high=2.0)


def test_documents_that_agree_have_no_width() -> None:
    found = ratio_interval(np.zeros(6), np.full(6, 50.0))
    assert found == Interval(value=0.0, low=0.0, high=0.0)


def test_spread_is_median_smallest_and_largest() -> None:
    found = spread([5.0, 1.0, 9.0, 2.0])
    assert (found.median, found.low, found.high) == (3.5, 1.0, 9.0)

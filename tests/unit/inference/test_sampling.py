"""Sampling against a plain reference that sorts the whole vocabulary."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chisquare

from edgellm.errors import EngineFailed, UsageError
from edgellm.inference.chat import SamplingOptions
from edgellm.inference.sampling import Sampler, candidates, largest, pick


def reference(logits: np.ndarray, options: SamplingOptions) -> dict[int, float]:
    """Probability of each token that may be drawn, by sorting everything in float64."""
    order = np.argsort(-logits, kind="stable")
    if options.top_k:
        order = order[: options.top_k]
    scaled = (logits[order].astype(np.float64) - logits.max()) / options.temperature
    shares = np.exp(scaled) / np.exp(scaled).sum()
    count = int(np.searchsorted(np.cumsum(shares), options.top_p - 1e-12)) + 1 if options.top_p < 1 else len(order)
    order, shares = order[:count], shares[:count]
    keep = shares >= options.min_p * shares[0]
    order, shares = order[keep], shares[keep] / shares[keep].sum()
    return dict(zip(order.tolist(), shares.tolist(), strict=True))


@pytest.mark.parametrize(
    "options",
    [
        SamplingOptions(),
        SamplingOptions(temperature=1.5, top_p=0.999),
        SamplingOptions(temperature=1.0, top_p=1.0),
        SamplingOptions(temperature=0.7, top_p=0.9, top_k=40),
        SamplingOptions(temperature=1.0, top_p=1.0, top_k=5000),
        SamplingOptions(temperature=1.0, top_p=1.0, min_p=0.05),
        SamplingOptions(temperature=0.9, top_p=0.95, top_k=200, min_p=0.01),
        SamplingOptions(temperature=1e-3),
        SamplingOptions(temperature=1.0, top_p=0.0),
    ],
)
@pytest.mark.parametrize("spread", [0.1, 1.0, 5.0])
def test_candidates_and_their_weights_are_those_of_a_full_sort(options: SamplingOptions, spread: float) -> None:
    rng = np.random.default_rng(7)
    for size in (1, 63, 8192):
        logits = (rng.standard_normal(size) * spread).astype(np.float32)
        wanted = reference(logits, options)
        ids, weights = candidates(logits, options)
        found = np.arange(size) if ids is None else ids
        shares = weights / weights.sum(dtype=np.float64)
        # float32 and float64 may disagree about a token whose share is lost in rounding at the limit
        differing = set(found.tolist()) ^ set(wanted)
        assert len(differing) <= 1 + len(wanted) // 1000
        got = dict(zip(found.tolist(), shares.tolist(), strict=True))
        for token in set(got) & set(wanted):
            assert got[token] == pytest.approx(wanted[token], rel=2e-3, abs=1e-9)


def test_equal_logits_at_a_limit_leave_the_smaller_ids() -> None:
    logits = np.zeros(500, np.float32)
    logits[300] = 1.0
    ids, _ = candidates(logits, SamplingOptions(top_p=1.0, top_k=4))
    assert ids is not None
    assert ids.tolist() == [0, 1, 2, 300]


def test_the_largest_are_found_in_blocks_as_by_sorting() -> None:
    rng = np.random.default_rng(3)
    for size, count in ((10, 3), (1000, 7), (8192, 40), (8192, 127), (8192, 128), (8200, 500)):
        values = rng.integers(0, size // 2, size).astype(np.float32)
        wanted = np.sort(np.argsort(-values, kind="stable")[:count])
        assert largest(values, count).tolist() == wanted.tolist()


def test_drawn_tokens_have_the_frequencies_of_their_probabilities() -> None:
    logits = np.log(np.array([0.4, 0.3, 0.15, 0.1, 0.05], np.float32))
    for options in (
        SamplingOptions(temperature=1.0, top_p=1.0, seed=1),
        SamplingOptions(temperature=0.7, top_p=0.9, seed=2),
        SamplingOptions(temperature=1.3, top_p=1.0, top_k=3, seed=3),
    ):
        sampler = Sampler(options)
        drawn = np.bincount([sampler.draw(logits) for _ in range(6_000)], minlength=5)
        shares = reference(logits, options)
        assert all(drawn[token] == 0 for token in range(5) if token not in shares)
        kept = sorted(shares)
        assert chisquare(drawn[kept], 6_000 * np.array([shares[token] for token in kept])).pvalue > 1e-3


def test_a_draw_over_many_blocks_lands_where_the_running_sum_says() -> None:
    rng = np.random.default_rng(5)
    weights = rng.random(1000).astype(np.float32) * (rng.random(1000) < 0.3)
    bounds = np.cumsum(weights, dtype=np.float64)
    for share in [0.0, *rng.random(500).tolist(), np.nextafter(1.0, 0.0)]:
        place = pick(weights, share)
        assert weights[place] > 0
        assert abs(bounds[place] - share * bounds[-1]) <= weights[place] + 1e-4


def test_temperature_zero_takes_the_best_and_the_first_of_equals() -> None:
    logits = np.array([0.0, 3.0, 3.0, 1.0], np.float32)
    assert Sampler(SamplingOptions(temperature=0.0)).draw(logits) == 1


def test_the_same_seed_draws_the_same_tokens_and_another_does_not() -> None:
    logits = np.random.default_rng(0).standard_normal(1000).astype(np.float32)

    def draws(seed: int) -> list[int]:
        sampler = Sampler(SamplingOptions(seed=seed, temperature=1.0))
        return [sampler.draw(logits) for _ in range(20)]

    assert draws(1) == draws(1)
    assert draws(1) != draws(2)


def test_a_tiny_temperature_is_greedy_and_does_not_overflow() -> None:
    logits = np.array([100.0, 120.0, -50.0], np.float32)
    with np.errstate(over="raise", invalid="raise"):
        for temperature in (1e-5, 1e-30, 1e-300):
            assert Sampler(SamplingOptions(temperature=temperature, seed=1)).draw(logits) == 1


def test_tokens_forbidden_by_minus_infinity_are_never_drawn() -> None:
    logits = np.full(200, -np.inf, np.float32)
    logits[[3, 150]] = 0.0
    sampler = Sampler(SamplingOptions(temperature=1.0, top_p=1.0, seed=0))
    assert {sampler.draw(logits) for _ in range(50)} == {3, 150}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_no_numbers_are_an_engine_failure(bad: float) -> None:
    logits = np.zeros(10, np.float32)
    logits[4] = bad
    with pytest.raises(EngineFailed, match="not a number"):
        Sampler(SamplingOptions()).draw(logits)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (SamplingOptions(temperature=-1), "temperature"),
        (SamplingOptions(temperature=float("nan")), "temperature"),
        (SamplingOptions(top_p=1.1), "top_p"),
        (SamplingOptions(min_p=-0.1), "min_p"),
        (SamplingOptions(top_k=-1), "top_k"),
        (SamplingOptions(seed=-1), "seed"),
    ],
)
def test_settings_outside_their_ranges_are_refused_by_name(options: SamplingOptions, name: str) -> None:
    with pytest.raises(UsageError, match=name):
        Sampler(options)


def test_of_a_flat_distribution_exactly_the_nucleus_is_drawn_with_its_own_frequencies() -> None:
    logits = (np.random.default_rng(2).standard_normal(20_000) * 0.5).astype(np.float32)
    options = SamplingOptions(temperature=1.0, top_p=0.9, seed=3)
    weights = np.exp(logits.astype(np.float64))
    ranked = np.argsort(-weights, kind="stable")
    mass = np.cumsum(weights[ranked]) / weights.sum()
    kept = ranked[: int(np.searchsorted(mass, 0.9)) + 1]
    ids, _ = candidates(logits, options)
    assert ids is not None
    assert abs(len(ids) - len(kept)) <= 2  # single precision
    assert len(np.setxor1d(ids, kept)) <= 2
    sampler = Sampler(options)
    drawn = np.array([sampler.draw(logits) for _ in range(4_000)])
    rank = np.empty(len(logits), int)
    rank[ranked] = np.arange(len(logits))
    assert rank[drawn].max() <= len(kept)
    # By rank, in ten groups of equal chances.
    counts, _ = np.histogram(mass[rank[drawn]] / mass[len(kept) - 1], bins=10, range=(0.0, 1.0))
    assert chisquare(counts).pvalue > 1e-3


def test_a_small_nucleus_of_a_flat_distribution_is_found_though_most_tries_miss_it() -> None:
    logits = (np.random.default_rng(2).standard_normal(20_000) * 0.5).astype(np.float32)
    options = SamplingOptions(temperature=1.0, top_p=0.02, seed=3)
    ids, _ = candidates(logits, options)
    assert ids is not None
    sampler = Sampler(options)
    assert {sampler.draw(logits) for _ in range(300)} <= set(ids.tolist())

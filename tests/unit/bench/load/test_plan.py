"""Arrivals: as many as the rate says, evenly spaced or independent of each other, and the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from edgellm.bench.load.plan import Load, arrival_times


def test_constant_arrivals_are_evenly_spaced_from_the_start() -> None:
    times = arrival_times(Load("constant", rate_per_s=4, duration_s=2), 0)
    assert times == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75])


def test_poisson_gaps_are_exponential_and_independent() -> None:
    times = np.array(arrival_times(Load("poisson", rate_per_s=200, duration_s=60), 0))
    gaps = np.diff(times)
    assert abs(len(times) - 12_000) < 4 * 12_000**0.5
    assert stats.kstest(gaps, "expon", args=(0, 1 / 200)).pvalue > 0.01
    assert abs(np.corrcoef(gaps[:-1], gaps[1:])[0, 1]) < 0.04
    assert times[-1] < 60


def test_the_seed_decides_the_arrivals() -> None:
    load = Load("poisson", rate_per_s=5, requests=20)
    assert arrival_times(load, 1) == arrival_times(load, 1)
    assert arrival_times(load, 1) != arrival_times(load, 2)


def test_whichever_of_duration_and_requests_comes_first_ends_the_load() -> None:
    assert len(arrival_times(Load("constant", rate_per_s=10, requests=5, duration_s=60), 0)) == 5
    assert len(arrival_times(Load("constant", rate_per_s=10, requests=50, duration_s=1), 0)) == 10


def test_a_sweep_doubles_the_load() -> None:
    assert Load("closed", concurrency=3, requests=6).doubled() == Load("closed", concurrency=6, requests=12)
    assert Load("poisson", rate_per_s=0.5, duration_s=9).doubled().label == "rate=1"

"""Measures by hand: what they count from, what they leave out, and intervals that mean something."""

from __future__ import annotations

import numpy as np
import pytest

from edgellm.bench.load.measures import percentiles, step_of
from load_records import record, run_of


def test_latencies_count_from_the_scheduled_time() -> None:
    step = step_of(run_of(record(1.0, 1.5, 1.7, 1.9, sent_s=1.2, end_s=2.0)), {})
    assert step.ttft_ms is not None
    assert step.tpot_ms is not None
    assert step.itl_ms is not None
    assert step.e2e_ms is not None
    assert step.lateness_ms is not None
    assert step.ttft_ms.p50 == pytest.approx(500)
    assert step.e2e_ms.p50 == pytest.approx(1000)
    assert step.tpot_ms.p50 == pytest.approx(250)  # (1000 - 500) / 2
    assert step.itl_ms.p50 == pytest.approx(200)
    assert step.lateness_ms.p50 == pytest.approx(200)


def test_failed_and_rejected_requests_take_part_in_nothing_but_their_counts() -> None:
    good = record(0.0, 0.1, 0.2)
    bad = record(0.0, 5.0, 9.0, status="failed", error="cut off")
    turned_away = record(0.0, status="rejected")
    step = step_of(run_of(good, bad, bad, turned_away), {"ttft": 1000.0})
    assert (step.requests.ok, step.requests.failed, step.requests.rejected) == (1, 2, 1)
    assert step.failures == {"cut off": 2}
    alone = step_of(run_of(good), {"ttft": 1000.0})
    for measure in (
        "ttft_ms",
        "tpot_ms",
        "itl_ms",
        "e2e_ms",
        "output_tokens_per_s",
        "output_characters_per_s",
        "goodput_per_s",
    ):
        assert getattr(step, measure) == getattr(alone, measure)
    assert step.output_tokens_per_s == pytest.approx(0.2)


def test_tokens_are_those_that_the_server_counts_or_none() -> None:
    counted = step_of(run_of(record(0.0, 1.0, 2.0, tokens=30)), {})
    assert counted.output_tokens_per_s == 3.0
    uncounted = step_of(run_of(record(0.0, 1.0, 2.0, tokens=30), record(0.0, 1.0, tokens=None)), {})
    assert uncounted.output_tokens_per_s is None
    assert uncounted.output_characters_per_s == pytest.approx(0.6)


def test_goodput_keeps_every_limit() -> None:
    fast, slow_start, slow_end = record(0.0, 0.1, 0.2), record(0.0, 0.9, 1.0), record(0.0, 0.1, 3.0)
    run = run_of(fast, slow_start, slow_end)
    assert step_of(run, {"ttft": 500}).goodput_per_s == pytest.approx(0.2)
    assert step_of(run, {"ttft": 500, "tpot": 500}).goodput_per_s == pytest.approx(0.1)
    assert step_of(run, {"e2e": 5000}).goodput_per_s == pytest.approx(0.3)
    assert step_of(run, {}).goodput_per_s is None


def test_an_interval_covers_the_true_percentile_about_as_often_as_it_says() -> None:
    dice = np.random.default_rng(0)
    hits = 0
    for _ in range(60):
        found = percentiles([[value] for value in dice.exponential(1.0, 100)])
        assert found is not None
        hits += found.p50_low <= np.log(2) <= found.p50_high
    assert 52 <= hits < 60


def test_gaps_of_one_request_are_not_counted_as_independent() -> None:
    """A hundred equal gaps of each of ten requests tell no more than ten gaps do."""
    dice = np.random.default_rng(0)
    levels = dice.exponential(1.0, 10)
    pooled, alone = percentiles([[level] * 100 for level in levels]), percentiles([[level] for level in levels])
    assert pooled is not None
    assert alone is not None
    assert pooled.p50_high - pooled.p50_low == pytest.approx(alone.p50_high - alone.p50_low, rel=0.2)


def test_nothing_to_measure_is_none_and_one_request_has_no_spread() -> None:
    assert percentiles([[], []]) is None
    one = percentiles([[3.0]])
    assert one is not None
    assert (one.p50_low, one.p50, one.p50_high, one.mean) == (3.0, 3.0, 3.0, 3.0)

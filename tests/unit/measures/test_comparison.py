"""A difference is seen where there is one, and rarely where there is none, even with five runs."""

from __future__ import annotations

import numpy as np
import pytest

from bench_results import timed
from edgellm.measures import comparison
from edgellm.measures.comparison import (
    advantage,
    mean,
    paired_difference,
    per_second,
    percentile,
    ratio,
    speed_ratio,
    tail,
    verdict,
)
from edgellm.records.statistics import Interval


def test_the_ratio_is_that_of_the_means_and_lies_in_its_interval() -> None:
    found = ratio(np.array([1.0, 1.1, 0.9]), np.array([2.0, 2.3, 2.0]))
    assert found.value == pytest.approx(2.1)
    assert found.low < found.value < found.high


def test_five_runs_of_the_same_thing_differ_in_about_one_of_twenty_comparisons(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(comparison, "RESAMPLES_OF_FEW", 3000)
    dice = np.random.default_rng(11)
    seen = 0
    for _ in range(300):
        a, b = dice.normal(1.0, 0.03, 5), dice.normal(1.0, 0.03, 5)
        found = ratio(a, b)
        seen += not found.low <= 1 <= found.high
    # 5 % are 15, and 28 are 3.4 deviations more; a plain percentile bootstrap sees a difference in 11.5 %, or 35.
    assert seen <= 28


def test_a_difference_of_ten_percent_is_seen_in_five_runs() -> None:
    found = ratio(np.array([1.0, 1.01, 0.99, 1.0, 1.02]), np.array([1.1, 1.12, 1.09, 1.11, 1.1]))
    assert found.low > 1.05


def test_pairs_take_away_what_both_share() -> None:
    slow_days = np.array([1.0, 1.5, 2.0, 1.2, 1.8, 1.1])
    faster = slow_days * np.array([0.951, 0.949, 0.95, 0.95, 0.952, 0.948])
    paired, apart = ratio(slow_days, faster, paired=True), ratio(slow_days, faster)
    assert paired.high < 0.96
    assert apart.high > 1
    assert paired.value == apart.value


def test_one_run_has_no_interval_and_no_verdict() -> None:
    found = ratio(np.array([1.0]), np.array([2.0, 2.1]))
    assert found.low == found.value == found.high
    assert verdict(found, "higher", has_interval=False) == "not known"


def test_unequal_numbers_of_runs_are_no_pairs() -> None:
    with pytest.raises(ValueError, match="no pairs"):
        ratio(np.ones(3), np.ones(4), paired=True)


def test_a_percentile_is_compared_as_a_percentile() -> None:
    values = np.arange(1.0, 101.0)
    found = ratio(values, 3 * values, percentile(99))
    assert found.value == pytest.approx(3.0)


def test_the_cut_for_many_values_is_the_usual_one_and_for_few_lies_farther_out() -> None:
    assert tail(10_000, 9_999) == pytest.approx(0.025, rel=0.01)
    assert tail(5, 4) < 0.002


def test_amounts_a_second_count_how_many_requests_there_were() -> None:
    found = per_second(np.full(10, 100.0), np.full(30, 100.0), 60.0, 60.0)
    assert found.value == pytest.approx(3.0)


def test_speed_is_work_over_time() -> None:
    found, how, has_interval = speed_ratio(timed("tg", 10.0), timed("tg", 25.0))
    assert found.value == pytest.approx(2.5)
    assert has_interval
    assert "5 and 5 runs" in how


def test_without_single_runs_the_slowest_and_fastest_bound_it() -> None:
    a, b = (timed("tg", rate).model_copy(update={"seconds": ()}) for rate in (10.0, 20.0))
    found, how, _ = speed_ratio(a, b)
    assert found.low == pytest.approx(b.tokens_per_s.low / a.tokens_per_s.high)
    assert "slowest and fastest" in how


@pytest.mark.parametrize(
    ("low", "high", "better", "said"),
    [
        (0.98, 1.02, "higher", "no difference seen"),
        (1.01, 1.2, "higher", "B is better"),
        (1.01, 1.2, "lower", "B is worse"),
        (0.8, 0.9, "higher", "B is worse"),
        (0.8, 0.9, "lower", "B is better"),
    ],
)
def test_the_verdict_minds_which_way_is_better(low: float, high: float, better: str, said: str) -> None:
    found = Interval(value=(low + high) / 2, low=low, high=high)
    assert verdict(found, better, has_interval=True) == said  # type: ignore[arg-type]


def test_the_advantage_is_the_end_that_a_gate_has_to_fear() -> None:
    found = Interval(value=1.0, low=0.8, high=1.25)
    assert advantage(found, "higher") == 0.8
    assert advantage(found, "lower") == 0.8


def test_the_mean_is_over_the_last_axis() -> None:
    assert mean(np.array([[1.0, 3.0], [2.0, 6.0]])).tolist() == [2.0, 4.0]


def test_differences_of_one_item_are_drawn_together() -> None:
    apart = paired_difference([0.5, 0.5, -0.1, -0.1], ["a", "b", "c", "d"])
    together = paired_difference([0.5, 0.5, -0.1, -0.1], ["a", "a", "b", "b"])
    assert apart.value == together.value == pytest.approx(0.2)
    assert together.low <= apart.low < 0.2 < apart.high <= together.high


def test_the_interval_of_differences_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    found = [paired_difference(list(rng.normal(0.3, 1.0, 12)), [str(n) for n in range(12)]) for _ in range(120)]
    covered = sum(each.low <= 0.3 <= each.high for each in found)
    assert covered >= 0.89 * len(found)


def test_one_item_has_a_difference_and_no_interval() -> None:
    found = paired_difference([1.0, 3.0], ["a", "a"])
    assert (found.value, found.low, found.high) == (2.0, 2.0, 2.0)

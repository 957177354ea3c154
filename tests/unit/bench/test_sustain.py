"""A test that is repeated for a while, and what is said of its speed."""

from __future__ import annotations

from itertools import count

import pytest

from edgellm.bench.engine import Bench, Case, EngineLoad
from edgellm.bench.samples import Sample
from edgellm.bench.sustain import Stretch, sustained, thirds, told, windows_of
from edgellm.records.bench import Window
from fake_runtime import FakeRuntime


def windows(*rates: float) -> list[Window]:
    return [Window(start_s=10.0 * i, end_s=10.0 * (i + 1), tokens_per_s=rate) for i, rate in enumerate(rates)]


def sample(at_s: float, clock_mhz: float | None, celsius: float | None, gpu_mhz: int | None = None) -> Sample:
    return Sample(at_s, 1.0, clock_mhz, celsius, [], [], [gpu_mhz], [70], [0])


def test_the_case_is_run_until_the_time_is_over_in_stretches_without_gaps() -> None:
    clock, runtime = count(0.0, 1.5).__next__, FakeRuntime(vocab_tokens=8)  # each run takes a second and a half
    found = sustained(Bench(runtime, None, [], EngineLoad((0,), (4,))), Case("tg", 4), 8.0, clock=clock)
    assert [(stretch.begin_s, stretch.end_s) for stretch in found] == [(0.0, 3.0), (3.0, 6.0), (6.0, 9.0)]
    assert all(stretch.tokens_per_s > 0 for stretch in found)
    assert runtime.held(0) == 0


def test_a_window_has_the_clock_and_the_warmest_sensor_of_its_own_time() -> None:
    stretches = [Stretch(100.0, 105.0, 9.0), Stretch(105.0, 110.0, 8.0), Stretch(110.0, 111.0, 8.5)]
    samples = [sample(101, 3000, 50), sample(104, 2000, 60), sample(107, None, 65, 1500)]
    first, second, third = windows_of(stretches, samples)
    assert (first.start_s, first.end_s, first.clock_mhz, first.temperature_c) == (0.0, 5.0, 2500, 60)
    assert (second.clock_mhz, second.temperature_c) == (None, 65)
    assert (third.clock_mhz, third.temperature_c) == (None, None)


def test_a_gpu_s_windows_show_the_gpu() -> None:
    (window,) = windows_of([Stretch(0.0, 5.0, 9.0)], [sample(1, 3000, 50, 1400), sample(2, 3000, 50, 1600)], gpu=0)
    assert (window.clock_mhz, window.temperature_c) == (1500, 70)


def test_the_last_third_is_the_steady_state() -> None:
    assert thirds(windows(100, 100, 90, 90, 80, 80)) == (100, 80)


@pytest.mark.parametrize(
    ("last", "words"),
    [(94.0, "tg128 fell by 6% from the first to the last third of 30 s"), (96.0, "tg128 held its speed over 30 s")],
)
def test_a_drop_of_more_than_a_twentieth_is_said(last: float, words: str) -> None:
    found = told(Case("tg", 128), windows(100, 98, last))
    assert found["words"].startswith(words)
    assert found["steady_tokens_per_s"] == last
    assert found["change"] == pytest.approx(last / 100 - 1)

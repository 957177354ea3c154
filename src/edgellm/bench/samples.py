"""What is seen of a machine at one moment of a run, and what many such moments say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from edgellm.bench.sensors import Temperature

LEAST_SAMPLES = 6  # fewer say nothing about early and late
AT_WORK = 0.5  # of the busiest sample: below, the run has not begun or is over, and clocks may fall


@dataclass(frozen=True)
class Sample:
    at_s: float  # of time.monotonic()
    busy: float | None  # share of the cores' time since the sample before; None where it is not known
    clock_mhz: float | None  # mean of the cores
    temperature_c: float | None  # of the warmest sensor
    past_trip: Sequence[Temperature]
    firmware_flags: Sequence[str]
    gpu_clock_mhz: Sequence[int | None]
    gpu_temperature_c: Sequence[int | None]
    gpu_reasons: Sequence[int]


def clocks_at_work(samples: Sequence[Sample]) -> list[float]:
    """The clocks while the processor worked."""
    most = max((s.busy for s in samples if s.busy is not None), default=0.0)
    return [s.clock_mhz for s in samples if s.clock_mhz and (s.busy is None or s.busy >= AT_WORK * most)]


def first_and_last_clock(samples: Sequence[Sample]) -> tuple[float | None, float | None]:
    """Medians of the first and the last third of the clocks at work; (None, None) where there are too few."""
    clocks = clocks_at_work(samples)
    if len(clocks) < LEAST_SAMPLES:
        return None, None
    third = len(clocks) // 3
    return median(clocks[:third]), median(clocks[-third:])

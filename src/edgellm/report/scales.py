"""Axes of a plot: from values to places on the page, and where the ticks stand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Maps low … high to start … end (in pixels), evenly or by the logarithm."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool

    def at(self, value: float) -> float:
        """The place of `value`; one beyond the ends (such as 0 on a logarithmic axis) is put at the end."""
        value = min(max(value, self.low), self.high)
        low, high = self.low, self.high
        if self.logarithmic:
            value, low, high = math.log10(value), math.log10(low), math.log10(high)
        return self.start + (value - low) / (high - low) * (self.end - self.start)


def linear(values: Sequence[float], start: float, end: float) -> tuple[Scale, list[float]]:
    """From 0 to a round number above the largest value; ticks at steps of 1, 2 or 5 times a power of ten."""
    top = max([v for v in values if v > 0], default=1.0)
    power = 10.0 ** math.floor(math.log10(top / 4))
    step = next(s * power for s in (1, 2, 5, 10) if top / (s * power) <= 5)
    steps = math.ceil(top / step * 1.02)
    return Scale(0.0, steps * step, start, end, False), [i * step for i in range(steps + 1)]


def decades(values: Sequence[float], start: float, end: float) -> tuple[Scale, list[float]]:
    """From the power of ten below the smallest positive value to the one above the largest."""
    positive = [v for v in values if v > 0] or [1.0]
    low, high = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))
    if low == high:
        low, high = low - 1, high + 1
    every = math.ceil((high - low) / 7)  # at most eight ticks
    return Scale(10.0**low, 10.0**high, start, end, True), [10.0**e for e in range(low, high + 1, every)]


MANTISSAS = ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0))
FEWEST_TICKS, MOST_TICKS = 3, 7
ROOM = 1.25  # beyond the smallest and the largest value


def logarithmic(values: Sequence[float], start: float, end: float) -> tuple[Scale, list[float]]:
    """From a little below the smallest positive value to a little above the largest, with round ticks: as few to a
    power of ten as give three, and no more than seven."""
    positive = [v for v in values if v > 0] or [1.0]
    low, high = min(positive) / ROOM, max(positive) * ROOM
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for mantissas in MANTISSAS:
        ticks = [t for p in powers for m in mantissas if low <= (t := float(f"{m}e{p}")) <= high]
        if len(ticks) >= FEWEST_TICKS:
            break
    return Scale(low, high, start, end, True), ticks[:: math.ceil(len(ticks) / MOST_TICKS)]


def between(values: Sequence[float], ticks: Sequence[float], start: float, end: float) -> tuple[Scale, list[float]]:
    """Logarithmic, from a little below the smallest value to a little above the largest; given ticks."""
    low, high = min(values) / 1.12, max(values) * 1.12
    return Scale(low, high, start, end, True), [t for t in ticks if low <= t <= high]

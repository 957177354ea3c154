"""What was found of a metric, before it is held against a target."""

from __future__ import annotations

from dataclasses import dataclass

from edgellm.records.statistics import Interval


@dataclass(frozen=True)
class Found:
    """One measured value, before it is held against a target."""

    value: Interval | None
    device: str
    how: str
    test: str = ""
    parallel: int | None = None
    variant: str = ""
    text: str = ""
    files: tuple[str, ...] = ()
    sure: bool = True  # False: one run of a side, which decides nothing


def exactly(value: float) -> Interval:
    return Interval(value=value, low=value, high=value)

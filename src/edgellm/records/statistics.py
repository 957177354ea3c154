"""Estimates with their uncertainty, as results hold them."""

from __future__ import annotations

from edgellm.records.base import Record


class Interval(Record):
    """An estimate and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


class Spread(Record):
    """Median, smallest and largest of repeated measurements."""

    median: float
    low: float
    high: float

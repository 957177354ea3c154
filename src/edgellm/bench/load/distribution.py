"""Summaries of distributions as guidellm writes them, over values or over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

POINTS = {
    "p001": 0.001, "p01": 0.01, "p05": 0.05, "p10": 0.1, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p90": 0.9,
    "p95": 0.95, "p99": 0.99, "p999": 0.999,
}  # fmt: skip
TOGETHER_S = 1e-4  # events nearer than this count as one


def summary(
    values: Sequence[float], weights: Sequence[float] | None = None, count: int | None = None
) -> dict[str, Any]:
    """Of values that weigh equally or as told; zeros where there is none."""
    if not len(values):
        zeros = dict.fromkeys(("mean", "median", "mode", "variance", "std_dev", "min", "max", "total_sum"), 0.0)
        return zeros | {"count": count or 0, "percentiles": dict.fromkeys(POINTS, 0.0), "pdf": None}
    order = np.argsort(values, kind="stable")
    ordered = np.asarray(values, dtype=np.float64)[order]
    shares = np.ones(len(ordered)) if weights is None else np.asarray(weights, dtype=np.float64)[order]
    shares = shares / shares.sum()
    running = np.cumsum(shares)
    mean = float(np.sum(ordered * shares))
    variance = float(np.sum((ordered - mean) ** 2 * shares))

    def at(share: float) -> float:
        return float(ordered[min(len(ordered) - 1, int(np.searchsorted(running, share - 1e-12)))])

    number = len(ordered) if count is None else count
    return {
        "mean": mean, "median": at(0.5), "mode": float(ordered[int(np.argmax(shares))]), "variance": variance,
        "std_dev": variance**0.5, "min": float(ordered[0]), "max": float(ordered[-1]), "count": number,
        "total_sum": mean * number, "percentiles": {name: at(share) for name, share in POINTS.items()}, "pdf": None,
    }  # fmt: skip


def rate(events: Sequence[tuple[float, float]], start_s: float, end_s: float) -> dict[str, Any]:
    """How much a second, over the time from start to end; an event is when it was, and how much.

    An event stands for the time from the middle between it and the one before to the middle between it and the next,
    so that the mean over time is all that came over the whole time.
    """
    times: list[float] = [start_s]
    amounts: list[float] = [0.0]
    for time_s, amount in sorted([*events, (end_s, 0.0)]):
        if time_s - times[-1] <= TOGETHER_S:
            amounts[-1] += amount
        else:
            times.append(time_s)
            amounts.append(amount)
    at = np.asarray(times)
    middles = np.concatenate([at[:1], (at[1:] + at[:-1]) / 2, at[-1:]])
    spans = np.maximum(np.diff(middles), 1e-9)
    return summary((np.asarray(amounts) / spans).tolist(), spans.tolist(), round(sum(amounts)))


def level(spans: Sequence[tuple[float, float]], start_s: float, end_s: float) -> dict[str, Any]:
    """How many were under way, over the time from start to end; a span is when one began and ended."""
    changes = sorted([(begin, 1) for begin, _ in spans] + [(end, -1) for _, end in spans] + [(end_s, 0)])
    levels, lengths, running, since = [], [], 0, start_s
    for time_s, change in changes:
        if time_s > since:
            levels.append(float(running))
            lengths.append(time_s - since)
            since = time_s
        running += change
    return summary(levels, lengths, len(spans))

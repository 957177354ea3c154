"""Measures over requests: percentiles with intervals, rates, goodput. What each means is in `definitions.py`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from edgellm.bench.load.generator import Run
from edgellm.records.bench import LoadStep, Percentiles, RequestCounts, RequestRecord

Floats = NDArray[np.float64]

POINTS = (0.5, 0.9, 0.99)
SEED = 0  # the same records give the same intervals
MOST_RESAMPLES, FEWEST_RESAMPLES, RESAMPLED_VALUES = 1000, 200, 50_000_000
SLO_KEYS = ("ttft", "tpot", "e2e")


def ttft_ms(record: RequestRecord) -> float | None:
    return None if record.first_s is None else 1000 * (record.first_s - record.scheduled_s)


def e2e_ms(record: RequestRecord) -> float | None:
    return None if record.end_s is None else 1000 * (record.end_s - record.scheduled_s)


def tpot_ms(record: RequestRecord) -> float | None:
    """None for an answer of one token, or where the server counts none."""
    if record.first_s is None or record.end_s is None or (record.output_tokens or 0) < 2:
        return None
    assert record.output_tokens is not None
    return 1000 * (record.end_s - record.first_s) / (record.output_tokens - 1)


def gaps_ms(record: RequestRecord) -> list[float]:
    return [1000 * (later - earlier) for earlier, later in pairwise(record.event_s)]


MEASURES = {"ttft": ttft_ms, "tpot": tpot_ms, "e2e": e2e_ms}


def step_of(run: Run, slo_ms: Mapping[str, float]) -> LoadStep:
    """What a run amounts to. Failed and rejected requests are counted and take part in nothing else."""
    statuses = Counter(record.status for record in run.records)
    ok = [record for record in run.records if record.status == "ok"]
    counted = [record for record in ok if record.output_tokens is not None]
    tokens = sum(record.output_tokens or 0 for record in counted) if ok and len(counted) == len(ok) else None
    prompts = sum(record.prompt_tokens or 0 for record in counted)
    good = sum(1 for record in ok if keeps(record, slo_ms))
    lateness = [[1000 * (record.sent_s - record.scheduled_s)] for record in run.records]
    return LoadStep(
        label=run.load.label, concurrency=run.load.concurrency, rate_per_s=run.load.rate_per_s,
        duration_s=round(run.seconds, 6),
        requests=RequestCounts(ok=statuses["ok"], failed=statuses["failed"], rejected=statuses["rejected"]),
        failures=dict(Counter(record.error for record in run.records if record.status == "failed").most_common()),
        ttft_ms=over(ok, "ttft"), tpot_ms=over(ok, "tpot"), e2e_ms=over(ok, "e2e"),
        itl_ms=percentiles([gaps_ms(record) for record in ok]), lateness_ms=percentiles(lateness),
        requests_per_s=len(ok) / run.seconds,
        output_tokens_per_s=None if tokens is None else tokens / run.seconds,
        output_characters_per_s=sum(record.output_characters for record in ok) / run.seconds,
        prompt_tokens_per_s=None if tokens is None else prompts / run.seconds,
        goodput_per_s=good / run.seconds if slo_ms else None,
    )  # fmt: skip


def over(records: Sequence[RequestRecord], measure: str) -> Percentiles | None:
    values = (MEASURES[measure](record) for record in records)
    return percentiles([[value] for value in values if value is not None])


def keeps(record: RequestRecord, slo_ms: Mapping[str, float]) -> bool:
    """Whether an answer kept every limit. An answer of one token has no TPOT, and so nothing that could break one."""
    values = {name: MEASURES[name](record) for name in slo_ms}
    return all(value is None or value <= slo_ms[name] for name, value in values.items())


def percentiles(requests: Sequence[Sequence[float]]) -> Percentiles | None:
    """p50, p90, p99 and mean of the values of all requests pooled, with 95 % intervals; None without a value.

    The intervals are percentile bootstraps that draw whole requests with replacement, since the values of one request
    (its gaps) are not independent of each other.
    """
    groups = [values for values in requests if len(values)]
    if not groups:
        return None
    pooled = np.concatenate([np.asarray(values, dtype=np.float64) for values in groups])
    owners = np.repeat(np.arange(len(groups)), [len(values) for values in groups])
    order = np.argsort(pooled, kind="stable")
    found = np.quantile(pooled, POINTS)
    low, high = intervals(pooled[order], owners[order], len(groups)) if len(groups) > 1 else (found, found)
    names = ("p50", "p90", "p99")
    ends = {f"{name}_low": float(value) for name, value in zip(names, low, strict=True)}
    ends |= {f"{name}_high": float(value) for name, value in zip(names, high, strict=True)}
    points = {name: float(value) for name, value in zip(names, found, strict=True)}
    return Percentiles(**points, **ends, mean=float(pooled.mean()))


def intervals(values: Floats, owners: NDArray[np.int64], requests: int) -> tuple[Floats, Floats]:
    """Ends of the 95 % interval of each point, shape (points,); `values` ascending, each of the request `owners` says.

    A resample weighs each value by how often its request was drawn; its quantile is the value at which the running
    weight passes the share.
    """
    dice = np.random.default_rng(SEED)
    rounds = max(FEWEST_RESAMPLES, min(MOST_RESAMPLES, RESAMPLED_VALUES // len(values)))
    found = np.empty((rounds, len(POINTS)))
    for at in range(rounds):
        drawn = np.bincount(dice.integers(0, requests, requests), minlength=requests)
        weight = np.cumsum(drawn[owners])
        found[at] = values[np.searchsorted(weight, np.asarray(POINTS) * weight[-1])]
    low, high = np.quantile(found, (0.025, 0.975), axis=0)
    return low, high

"""The predictor's constants, from published speeds: the values of a grid whose predictions are nearest to them.

Few speeds are known of each kind of processor, so the sum of absolute errors counts, which a single odd one does not
move, and where they do not decide, constants stay near what they are everywhere (`USUAL`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from edgellm.measures.prediction import HERE, PACES, Experts, Pace, log_error
from edgellm.measures.published import Row
from edgellm.records.device import Processor

T = TypeVar("T")
USUAL = Pace(0.75, 0.35, 80e-6)
# No published prompt speed is of a known processor, so that its share of the peak is the one that we measured.
USUAL_CORES = replace(HERE, memory_share=0.75)
PULL = 0.1  # how much a constant's distance from the usual one counts beside a prediction's error
MEMORY_SHARES = tuple(round(0.4 + 0.02 * i, 2) for i in range(28))  # more than 0.94 no memory gives
MATH_SHARES = tuple(round(0.02 * 1.06**i, 4) for i in range(66))
LAYER_SECONDS = tuple(round(5e-6 * i, 6) for i in range(1, 51))
EXPERT_MATH = tuple(round(0.2 + 0.05 * i, 2) for i in range(17))
EVENNESS = tuple(round(0.7 + 0.01 * i, 2) for i in range(31))
ROUNDS = 3  # experts are fitted with the processors' constants as they are, and the other way round


def fit(rows: Sequence[Row]) -> tuple[dict[Processor, Pace], Experts]:
    """Constants for every kind of processor, and for experts, from the rows that count. A kind without a row gets
    the usual ones; without a batch of sequences routers count as even."""
    counted = [row for row in rows if row.counts]
    paces: dict[Processor, Pace] = {processor: usual_pace(processor) for processor in PACES}
    experts = Experts(1.0, 1.0)
    for _ in range(ROUNDS):
        for processor in PACES:
            mine = [row for row in counted if row.processor == processor]
            paces[processor] = fit_pace(mine, experts, usual_pace(processor))
        experts = fit_experts(counted, paces)
    return paces, experts


def usual_pace(processor: Processor) -> Pace:
    return USUAL_CORES if processor == "cpu" else USUAL


def fit_pace(rows: Sequence[Row], experts: Experts, usual: Pace = USUAL) -> Pace:
    if not rows:
        return usual
    decoding = [row for row in rows if row.speed.test == "tg"]
    shares, seconds = np.meshgrid(MEMORY_SHARES, LAYER_SECONDS, indexing="ij")
    cost = PULL * (np.abs(np.log(shares / usual.memory_share)) + np.abs(np.log(seconds / usual.layer_s)))
    for row in decoding:
        alone = row.prediction(replace(usual, memory_share=1.0, layer_s=0.0), experts).parts
        work = alone.memory_s / shares
        work = np.maximum(work, alone.math_s) if usual.overlaps else work + alone.math_s
        measured = row.speed.batch / row.speed.tokens_per_s
        cost += np.abs(np.log((work + row.model.layers * seconds) / measured))
    at = np.unravel_index(np.argmin(cost), cost.shape)
    pace = replace(usual, memory_share=float(shares[at]), layer_s=float(seconds[at]))
    reading = [row for row in rows if row.speed.test == "pp"]
    if not reading:
        return pace
    return best(
        (replace(pace, math_share=share) for share in MATH_SHARES),
        lambda tried: PULL * log_error(tried.math_share, usual.math_share) + total(reading, lambda row: tried, experts),
    )


def fit_experts(rows: Sequence[Row], paces: Mapping[Processor, Pace]) -> Experts:
    def of(row: Row) -> Pace:
        return paces[row.processor]

    reading = [row for row in rows if row.model.shape.experts and row.speed.test == "pp"]
    together = [row for row in rows if row.model.shape.experts and row.speed.batch > 1]
    found = Experts(1.0, 1.0)
    if reading:
        tried = (Experts(share, 1.0) for share in EXPERT_MATH)
        found = best(tried, lambda experts: total(reading, of, experts))
    if together:
        tried = (replace(found, evenness=evenness) for evenness in EVENNESS)
        found = best(tried, lambda experts: total(together, of, experts))
    return found


def total(rows: Iterable[Row], pace: Callable[[Row], Pace], experts: Experts) -> float:
    return sum(log_error(row.predicted(pace(row), experts), row.speed.tokens_per_s) for row in rows)


def best(tried: Iterable[T], cost: Callable[[T], float]) -> T:
    return min(tried, key=cost)


def left_out_errors(rows: Sequence[Row]) -> dict[int, float]:
    """By the number of a row that counts, the error where the whole device was left out of the fit."""
    errors: dict[int, float] = {}
    for name in dict.fromkeys(row.device.name for row in rows if row.counts):
        paces, experts = fit([row for row in rows if row.device.name != name])
        for number, row in enumerate(rows):
            if row.device.name == name and row.counts:
                errors[number] = row.error(paces[row.processor], experts)
    return errors

"""How far a protocol's mean would move with other questions of the same kind: a bootstrap over questions."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from edgellm.evals.mt_bench_ja.protocols import Protocol
from edgellm.records.evals import Score

if TYPE_CHECKING:
    from edgellm.evals.mt_bench_ja.aggregate import Cell

RESAMPLES = 1000
SEED = 0  # the same judgments give the same interval
LOW, HIGH = 2.5, 97.5  # percentiles


def interval_of(cells: Sequence[Cell], protocol: Protocol, mean: Fraction | None) -> Score | None:
    """`mean`, which the protocol gives for these cells, with a 95 % percentile bootstrap that draws questions.

    Turns and samples of a question stay together. Where the mean is over categories, questions are drawn within each.
    None where there is no mean.
    """
    if mean is None:
        return None
    import numpy as np

    scored = [cell for cell in cells if cell.score is not None]
    strata = sorted({cell.category for cell in scored}) if protocol.counting == "categories" else [None]
    draw = np.random.default_rng(SEED)
    means = []
    for stratum in strata:
        own = [cell for cell in scored if stratum is None or cell.category == stratum]
        sums, counts = tables(own, protocol)
        drawn = draw.integers(0, len(sums), (RESAMPLES, len(sums)))
        with np.errstate(invalid="ignore"):  # a run without a score in what was drawn
            means.append(np.nanmean(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), axis=1))
    low, high = np.percentile(np.mean(means, axis=0) * protocol.scale / 10, [LOW, HIGH])
    exact = float(mean)
    return Score(mean=exact, low=min(exact, float(low)), high=max(exact, float(high)))


def tables(cells: Sequence[Cell], protocol: Protocol) -> tuple[Any, Any]:
    """(sums, counts) of what is averaged; arrays of shape (questions, runs), with one run where runs are not kept
    apart. Where a question's N samples are averaged first, each turn counts as one."""
    import numpy as np

    places = {question: place for place, question in enumerate(dict.fromkeys(cell.question for cell in cells))}
    runs = 1 + max(cell.run for cell in cells) if protocol.counting == "runs" else 1
    sums, counts = np.zeros((len(places), runs)), np.zeros((len(places), runs))
    samples: dict[tuple[str, int], int] = {}
    if protocol.counting in ("questions", "categories"):
        for cell in cells:
            samples[cell.question, cell.turn] = samples.get((cell.question, cell.turn), 0) + 1
    for cell in cells:
        assert cell.score is not None
        weight = 1 / samples.get((cell.question, cell.turn), 1)
        at = places[cell.question], cell.run if runs > 1 else 0
        sums[at] += weight * float(cell.score)
        counts[at] += weight
    return sums, counts

"""The judgments of a run as a result has them: means with intervals, and the further figures of a protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import fsum

from edgellm.evals.mt_bench_ja.aggregate import (
    FAILED,
    Cell,
    besides,
    by_category,
    cells_of,
    macro_mean,
    mean_of,
    parted,
    said,
)
from edgellm.evals.mt_bench_ja.files import Judged
from edgellm.evals.mt_bench_ja.intervals import interval_of
from edgellm.evals.mt_bench_ja.protocols import Protocol
from edgellm.records.evals import Score


def scores_of(
    judged: Sequence[Judged], protocol: Protocol, quirks: bool
) -> tuple[Score | None, dict[str, Score]]:  # fmt: skip
    """(over all, by category), on the protocol's scale; what has no score is left out."""
    cells = all_cells(judged, protocol)
    categories = {name: score_of(own, protocol, quirks) for name, own in sorted(by_category(cells).items())}
    return score_of(cells, protocol, quirks), {name: own for name, own in categories.items() if own is not None}


def score_of(cells: Sequence[Cell], protocol: Protocol, quirks: bool) -> Score | None:
    mean = mean_of(protocol, quirks)(cells)
    counted = [replace(cell, score=FAILED) if cell.score is None else cell for cell in cells] if quirks else cells
    return interval_of(counted, protocol, mean)


def measures_of(
    judged: Sequence[Judged], protocol: Protocol, quirks: bool, order_changes: Sequence[float]
) -> dict[str, float]:  # fmt: skip
    """Means of turns and over categories, what the protocol reports besides, and what another order changed."""
    cells, mean = all_cells(judged, protocol), mean_of(protocol, quirks)
    found: dict[str, float | None] = {
        f"turn_{turn}_mean": said(mean(own)) for turn, own in sorted(parted(cells, lambda cell: cell.turn).items())
    }
    found["macro_mean"] = said(macro_mean(cells, mean))
    further = besides(judged, cells, protocol, mean)
    found |= {name: further[name] for name in ("sd", "pattern_match(%)", "api(%)") if name in further}
    if order_changes:
        found["order_change_points"] = fsum(order_changes) / len(order_changes)
        found["order_checked"] = float(len(order_changes))
    return {name: value for name, value in found.items() if value is not None}


def all_cells(judged: Sequence[Judged], protocol: Protocol) -> list[Cell]:
    return [cell for line in judged for cell in cells_of(line, protocol)]

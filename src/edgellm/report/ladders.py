"""Type ladders as a report shows them."""

from __future__ import annotations

from collections.abc import Iterable

from edgellm.records.ladder import LadderResult
from edgellm.records.statistics import Interval
from edgellm.report.collected import Entry

STOCK_MARK = "†"  # behind a type of llama.cpp's own mixture


def ladder_entries(entries: Iterable[Entry]) -> list[tuple[Entry, LadderResult]]:
    return [(entry, entry.result) for entry in entries if isinstance(entry.result, LadderResult)]


def kinds_of(result: LadderResult) -> list[str]:
    """The kinds of text that some type was measured on."""
    return list(dict.fromkeys(kind for row in result.rows for kind in row.by_kind))


def ladder_points(entries: Iterable[Entry]) -> list[tuple[Entry, str, int, Interval, bool]]:
    """(entry, name, bytes, mean KLD, whether it is recommended) of every type, and of stock mixtures beside it."""
    found = []
    for entry, result in ladder_entries(entries):
        found += [(entry, r.type, r.size_bytes, r.mean_kld, r.type == result.recommended) for r in result.rows]
        others = [s for s, r in zip(result.stock, result.rows, strict=False) if s.mean_kld.value != r.mean_kld.value]
        found += [(entry, f"{s.type}{STOCK_MARK}", s.size_bytes, s.mean_kld, False) for s in others]
    return found

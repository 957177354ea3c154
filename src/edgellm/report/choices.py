"""Which types of the ladder a reader would choose between, and why, from the measured rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from edgellm.records.results import FormatRow

Reason = Literal["quality", "bundled", "size"]


class Choice(NamedTuple):
    """A type for readers to whom `reason` matters most."""

    reason: Reason
    row: FormatRow


def choices(rows: Sequence[FormatRow], bundled: object) -> list[Choice]:
    """At most one row for each reason and no row twice, from large to small.

    For quality it is the smallest type whose loss cannot be told from none (the interval of the perplexity ratio
    holds 1), for size the smallest of all. A reason that no row meets is left out.
    """
    lossless = [r for r in rows if r.fidelity.perplexity_ratio.low <= 1 <= r.fidelity.perplexity_ratio.high]
    wanted: list[tuple[Reason, Sequence[FormatRow]]] = [
        ("size", rows), ("quality", lossless), ("bundled", [r for r in rows if r.type == bundled]),
    ]  # fmt: skip
    found = [Choice(reason, min(those, key=lambda r: r.size_bytes)) for reason, those in wanted if those]
    once = {choice.row.type: choice for choice in found}  # of two reasons for one type, the later
    return sorted(once.values(), key=lambda choice: -choice.row.size_bytes)

"""Two ladders of one model, held against each other type by type and document by document."""

from __future__ import annotations

import numpy as np

from edgellm.errors import UsageError
from edgellm.measures.comparison import verdict
from edgellm.measures.fidelity_change import change_of_sums, check_same
from edgellm.measures.fidelity_figures import Sums
from edgellm.measures.statistics import ratio_interval
from edgellm.records.comparison import ComparedTest
from edgellm.records.ladder import DocumentSums, LadderResult
from edgellm.records.statistics import Interval


def why_unlike_ladders(a: LadderResult, b: LadderResult) -> str:
    """Why two ladders say nothing of each other; empty where they may be compared."""
    if a.texts_sha256 != b.texts_sha256:
        return "the texts, or their tokens, differ; measure both with the same vocabulary and the same --limit"
    common = set(types_of(a)) & set(types_of(b))
    for name in sorted(common):
        try:
            check_same(types_of(a)[name], types_of(b)[name])
        except UsageError as error:
            return str(error)
    return ""


def types_of(result: LadderResult) -> dict[str, Sums]:
    """The sums of the documents that count for the whole, by type."""
    return {row.type: sums_in(row.sums) for row in result.rows if row.sums is not None}


def sums_in(stored: DocumentSums) -> Sums:
    sums = Sums(*(np.array(getattr(stored, name), np.float64) for name in Sums.__dataclass_fields__))
    return sums.pick([i for i, counts in enumerate(stored.in_whole) if counts])


def ladder_rows(a: LadderResult, b: LadderResult) -> list[ComparedTest]:
    """Mean KLD and bits per byte of each type that both have."""
    mine, its = types_of(a), types_of(b)
    return [row for name in mine if name in its for row in rows_of(name, mine[name], its[name])]


def rows_of(name: str, a: Sums, b: Sums) -> list[ComparedTest]:
    how = f"{len(a.tokens)} documents resampled in pairs"
    several = len(a.tokens) > 1
    bits = [sums.nats / np.log(2) for sums in (a, b)]
    kinds = (
        ("mean KLD", "mean_kld", "nat/token", a.kld, b.kld, a.tokens),
        ("bits per byte", "bits_per_byte", "bit", *bits, a.utf8_bytes),
    )
    found = []
    for words, measure, unit, before, after, under in kinds:
        ratio: Interval | None = ratio_interval(after, before) if before.sum() > 0 else None
        found.append(ComparedTest(
            test=f"{name} {words}", unit=unit, better="lower", a=float(before.sum() / under.sum()),
            b=float(after.sum() / under.sum()), ratio=ratio, difference=change_of_sums(measure, a, b),
            verdict=verdict(ratio, "lower", has_interval=several) if ratio else "not known", how=how,
        ))  # fmt: skip
    return found

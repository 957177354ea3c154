"""What `edgellm compare` finds."""

from __future__ import annotations

from typing import Literal

from edgellm.records.base import Record
from edgellm.records.statistics import Interval

Verdict = Literal["B is better", "B is worse", "no difference seen", "not known"]


class Side(Record):
    """One of the two that are compared."""

    path: str
    kind: str
    target: str
    device: str
    created: str
    valid: bool


class ComparedTest(Record):
    """One measure of both. `ratio` is B's value over A's; `verdict` minds whether more of it is better.

    Scores are compared by their `difference`, B − A; their ratio is None where A's is 0.
    """

    test: str
    unit: str
    better: Literal["higher", "lower"]
    a: float
    b: float
    ratio: Interval | None
    difference: Interval | None = None
    verdict: Verdict
    how: str  # where the interval comes from
    model: str = ""
    a_path: str = ""
    b_path: str = ""


class Comparison(Record):
    """`ratio` and `verdict` are those of the first row of `tests`."""

    schema_version: Literal[1] = 1
    kind: Literal["comparison"] = "comparison"
    ratio: Interval | None
    difference: Interval | None = None
    verdict: Verdict
    test: str
    tests: tuple[ComparedTest, ...]
    notes: tuple[str, ...]  # what else differs, and whose figures do not hold
    a: Side | None = None  # None where folders are compared
    b: Side | None = None

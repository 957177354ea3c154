"""What a judge is worth, held against another; and which of two models' answers a judge prefers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgellm.records.base import Record
from edgellm.records.evals import ItemStatus, JudgeFingerprint, Score
from edgellm.records.statistics import Interval


class Agreement(Record):
    """Of two judges over the same answers. `bias`: how much higher the first one's scores are, on average."""

    n: int
    spearman: float | None  # None where one of the two gives all the same score
    mean_absolute_error: float
    bias: float


class ModelAgreement(Record):
    n: int
    mean: float  # by the judge
    mean_against: float
    bias: float


class ModelOrder(Record):
    """Models from the best mean to the worst, by each of the two, and Kendall's tau of these means."""

    kendall: float | None  # None below two models, or where all means are the same
    judge: tuple[str, ...]
    against: tuple[str, ...]


class JudgeCalibration(Record):
    schema_version: Literal[1] = 1
    kind: Literal["judge-calibration"] = "judge-calibration"
    judges: tuple[str, ...]  # names in the file, usually one
    against: tuple[str, ...]
    n: int  # answers that both gave a score
    unmatched: int  # answers that only one of the files has
    failed: int  # judgments of the judge without a score, of answers that the other scored
    failed_share: float
    failed_against: int
    spearman: Interval | None  # 95 % over questions; None where it is undefined
    pearson: float | None
    kendall: float | None
    within_categories: Interval | None  # Spearman of what is left when each category's means are taken off
    mean_absolute_error: float | None
    bias: float | None
    within_one_point: float | None  # share of answers
    per_category: dict[str, Agreement] = Field(default_factory=dict)
    per_model: dict[str, ModelAgreement] = Field(default_factory=dict)
    order_of_models: ModelOrder
    usable: bool
    reason: str  # the verdict in words
    judge: JudgeFingerprint | None = None  # where it judged now
    notes: tuple[str, ...] = ()


class Comparison(Record):
    """One question's answers, turn by turn, shown twice with their order exchanged."""

    id: str
    category: str = ""
    turn: int
    repeat: int = 0
    preferred: Literal["a", "b", "tie"] | None  # None: failed
    first: str = ""  # what the judge preferred when A stood first: a, b, tie, or "" for nothing that can be read
    second: str = ""  # and when B stood first
    status: ItemStatus = "ok"
    judgments: tuple[str, str] = ("", "")


class PairwiseCounts(Record):
    wins_a: int
    wins_b: int
    ties: int
    win_rate_b: float | None


class PairwiseResult(Record):
    schema_version: Literal[1] = 1
    kind: Literal["pairwise"] = "pairwise"
    a: str  # models, as the files name them
    b: str
    wins_a: int
    wins_b: int
    ties: int
    win_rate_b: Score | None  # ties count half; 95 % over questions; None where nothing was decided
    sign_test_p: float  # two-sided, over what was won by either
    inconsistent: int  # where the exchanged order gave the opposite
    prefers_first: float | None  # of inconsistent ones: the share in which what stood first was preferred both times
    failed: int
    same: int  # answers that are the same, letter by letter: ties without being asked about
    unmatched: int  # answers that only one of the two has
    per_category: dict[str, PairwiseCounts]
    judge: JudgeFingerprint
    position_biased: bool
    verdict: str  # in words
    records: tuple[Comparison, ...] = ()
    seconds: float = 0.0
    created: str = ""

"""The reports' measurable claims: what is said, how it is measured, what counts as met, and what was found."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edgellm.records.base import Record
from edgellm.records.statistics import Interval

Mark = Literal["V", "V2", "R", "C"]


class ShapeMetric(Record):
    """A fact of the model's configuration; no run is needed."""

    kind: Literal["shape"]
    recipe: str
    quantity: Literal["parameters", "active_parameters", "experts", "experts_used", "architecture"]


class RatioMetric(Record):
    """One model over another, or one type over another, on the same machine in the same test."""

    kind: Literal["ratio"]
    quantity: Literal["decode", "prefill", "joules", "size"]
    recipe: str
    over: str
    types: tuple[str, ...] = ()  # file types of `recipe`; empty: any, if `over` has the same
    over_types: tuple[str, ...] = ()


class SpeedMetric(Record):
    """Tokens a second of one sequence."""

    kind: Literal["speed"]
    recipes: tuple[str, ...]
    phase: Literal["decode", "prefill"] = "decode"


class MemoryMetric(Record):
    """The most memory that a run took, in bytes: the GPU's where the model was there, else the process's."""

    kind: Literal["memory"]
    recipes: tuple[str, ...]
    least_context: int = 0  # tokens that the run must have had room for


class CapacityMetric(Record):
    """Boxes for a population: ⌈demand / goodput⌉.

    demand = people × share at work × requests per person and hour / 3600, in requests a second.
    """

    kind: Literal["capacity"]
    recipes: tuple[str, ...]  # the served model's name must hold one of these
    people: int
    share_at_work: float = Field(gt=0, le=1)
    requests_per_hour: float = Field(gt=0)  # of one person at work, in the busiest hour
    prompt_tokens: int = Field(gt=0)  # of the mean request
    output_tokens: int = Field(gt=0)
    slo_ms: dict[str, float]  # goodput counts only under limits at least as strict


class CostMetric(Record):
    """Yen for a million output tokens, over a reference price: the machine over its life, and its electricity."""

    kind: Literal["cost"]
    recipes: tuple[str, ...]
    device_yen: dict[str, int]  # price by a part of the device's name
    lifetime_hours: float = Field(gt=0)
    utilisation: float = Field(gt=0, le=1)  # share of its life in which it works at the measured speed
    yen_per_kwh: float = Field(gt=0)
    reference_yen: float = Field(gt=0)  # for a million output tokens


class ScoreMetric(Record):
    """A score of an evaluation suite, of one recipe, or over another's."""

    kind: Literal["score"]
    recipe: str
    suite: str
    over: str | None = None  # judged alike, over the same items
    types: tuple[str, ...] = ()  # file types of `recipe`; empty: any
    over_types: tuple[str, ...] = ()
    out_of: float | None = None  # the scale of the target, such as 10 or 100; None: the suite's own


class EvidenceMetric(Record):
    """What is shown by a proof or a document that no result file holds."""

    kind: Literal["evidence"]


Metric = Annotated[
    ShapeMetric | RatioMetric | SpeedMetric | MemoryMetric | CapacityMetric | CostMetric | ScoreMetric | EvidenceMetric,
    Field(discriminator="kind"),
]


class Measure(Record):
    """One thing that has to hold. `target` is a number or, for a name, the values that it may have."""

    name: str
    ja: str
    metric: Metric
    compare: Literal["at_least", "at_most", "about", "one_of", "reported"]
    target: float | tuple[str, ...] | None = None  # None where any measured value is an answer
    tolerance: float = 0.0  # of `about`, as a share of the target
    unit: str = ""
    required: bool = True  # the claim can be met only with it measured
    how: tuple[str, ...] = ()  # commands
    reason: str = ""  # why this target, and why these parameters
    reason_ja: str = ""


class Published(Record):
    """A figure that others published. `mark`: V read in a primary source, V2 second-hand, R from memory, C computed."""

    what: str
    value: float | str
    unit: str = ""
    source: str
    mark: Mark


class Claim(Record):
    """`statement` and `ja` are ours: a paraphrase, no quotation."""

    id: str
    source: str
    statement: str
    ja: str
    met_when: str
    met_when_ja: str
    measures: tuple[Measure, ...]
    published: tuple[Published, ...] = ()


class Claims(Record):
    schema_version: Literal[1] = 1
    claims: tuple[Claim, ...]


CaseStatus = Literal["met", "missed", "undecided"]
MeasureStatus = Literal["met", "missed", "undecided", "unmeasured"]
ClaimStatus = Literal["met", "missed", "unmeasured"]


class Case(Record):
    """A measure on one device, in one test and pairing of files. `undecided`: the interval holds the target."""

    measure: str
    device: str
    test: str = ""
    parallel: int | None = None
    variant: str = ""  # types and sizes of what was measured
    value: Interval | None = None  # None for a name, which is in `text`
    text: str = ""
    unit: str = ""
    status: CaseStatus
    how: str = ""  # where value and interval come from
    files: tuple[str, ...] = ()


class MeasureFound(Record):
    name: str
    ja: str
    kind: str
    target: str
    target_value: float | None = None
    required: bool
    status: MeasureStatus
    how: tuple[str, ...]
    reason: str
    reason_ja: str
    why_unmeasured: str = ""


class ClaimFound(Record):
    """`met`: every required measure was taken and every case meets; `missed`: some case misses."""

    id: str
    source: str
    statement: str
    ja: str
    met_when: str
    met_when_ja: str
    target: str
    measured: str | None
    status: ClaimStatus
    measures: tuple[MeasureFound, ...]
    cases: tuple[Case, ...]
    published: tuple[Published, ...]


class NotCounted(Record):
    file: str
    reason: str


class ClaimsFound(Record):
    schema_version: Literal[1] = 1
    kind: Literal["claims"] = "claims"
    claims: tuple[ClaimFound, ...]
    results: str
    counted: tuple[str, ...]  # files of valid results
    not_counted: tuple[NotCounted, ...]

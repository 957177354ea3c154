"""Results of measurements: what `--json` prints and what result files hold. Units are in the names."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgellm.records.base import Record
from edgellm.records.bench import EngineBench
from edgellm.records.statistics import Interval


class Check(Record):
    """One line of a verdict. `value` and `limit` are None where a check has no number."""

    name: str
    passed: bool
    value: float | str | None = None
    limit: float | str | None = None
    detail: str = ""


class Verdict(Record):
    passed: bool
    checks: list[Check]


class KindFidelity(Record):
    """The same figures over the documents of one kind of text alone."""

    tokens: int
    documents: int
    mean_kld: Interval
    same_top_percent: Interval
    perplexity_ratio: Interval
    mean_delta_p_percent: Interval
    bits_per_byte: Interval
    bits_per_character: Interval | None = None


class Fidelity(Record):
    """How far an artifact's predictions are from its reference on the same token ids.

    KL divergences are KL(reference ‖ artifact) per predicted token, in nats; bits per byte counts UTF-8 bytes, bits per
    character Unicode characters. Δp is the artifact's chance of the token that follows less the reference's, in percent
    points. What files of before may lack has a default.
    """

    tokens: int
    documents: int
    mean_kld: Interval
    median_kld: Interval
    p90_kld: Interval | None = None
    p99_kld: Interval | None = None
    p999_kld: Interval
    max_kld: float | None = None
    same_top_percent: Interval
    mean_delta_p_percent: Interval | None = None
    rms_delta_p_percent: Interval | None = None
    perplexity: float
    reference_perplexity: float
    perplexity_ratio: Interval
    bits_per_byte: Interval
    reference_bits_per_byte: float
    bits_per_character: Interval | None = None
    reference_bits_per_character: float | None = None
    by_kind: dict[str, KindFidelity] = Field(default_factory=dict)  # empty where one kind of text was measured


class VerdictByKind(Verdict):
    """A verdict with the figures behind it, which say what each kind of text loses."""

    fidelity: Fidelity


class FormatRow(Record):
    """One rung of the demo's ladder."""

    format: str
    type: str
    size_bytes: int
    bits_per_weight: float
    mean_kld: float
    same_top_percent: float
    bits_per_byte: float
    decode_tokens_per_s: float
    fidelity: Fidelity
    bench: EngineBench


class DemoResult(Record):
    schema_version: Literal[1] = 1
    bundle: str
    report: str
    formats: list[FormatRow]
    reply: str
    elapsed_s: float
    # Beyond the promised keys: what the report shows.
    question: str
    reasoning: str
    tokenization: dict[str, object]
    model: dict[str, object]
    machine: dict[str, object]
    verdict: Verdict
    steps: dict[str, float]
    versions: dict[str, str]
    created: str

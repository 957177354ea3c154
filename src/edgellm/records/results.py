"""Results of measurements: what `--json` prints and what result files hold. Units are in the names."""

from __future__ import annotations

from typing import Literal

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


class Fidelity(Record):
    """How far an artifact's predictions are from its reference on the same token ids.

    KL divergences are KL(reference ‖ artifact) per predicted token, in nats; bits per byte counts UTF-8 bytes.
    """

    tokens: int
    documents: int
    mean_kld: Interval
    median_kld: Interval
    p999_kld: Interval
    same_top_percent: Interval
    perplexity: float
    reference_perplexity: float
    perplexity_ratio: Interval
    bits_per_byte: Interval
    reference_bits_per_byte: float


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

"""Results of `edgellm bench`: engine speed, and load on a server. What `--json` prints and what result files hold.

A result says what was measured, on what, under which conditions, and whether the figures hold. Units are in the names;
a key that could not be measured is None, never an estimate.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from edgellm.records.base import Record
from edgellm.records.lab import LabKey
from edgellm.records.statistics import Spread


class EngineTest(Record):
    """One row of the engine bench: `pp512` or `tg128` (with `@d…` for a depth, `x…` for parallel sequences)."""

    test: str
    kind: Literal["pp", "tg"] | None = None
    tokens: int | None = None  # of one sequence, in one timed run
    depth: int = 0
    parallel: int = 1
    tokens_per_s: Spread  # of all sequences together
    first_run_tokens_per_s: float | None = None  # the warm-up, which is not counted
    seconds: tuple[float, ...] = ()  # each timed run
    characters_per_s: float | None  # at the median, counting Unicode code points
    joules_per_token: float | None = None  # above the idle machine
    joules_per_character: float | None = None
    bytes_per_token: float | None = None  # that have to be read for one token: weights, and what the KV cache holds
    bandwidth_fraction: float | None = None  # those bytes over the time, as a share of the measured memory bandwidth
    flops_per_s: float | None = None
    flops_fraction: float | None = None  # as a share of the measured peak


class Ceilings(Record):
    """What the machine can do at most, by short kernels that were run on it."""

    memory_bandwidth_bytes_per_s: float
    flops_per_s: float
    device: str  # what they are the ceilings of: `cpu`, or the GPU's name
    threads: int | None = None
    how: str  # in words: which kernel, which precision, which size


class EnergyUse(Record):
    """What a run took, from a counter or a meter that was read, and how much of it the idle machine takes too."""

    source: str  # `rapl`, `nvml`, `jetson`, `meter:FILE`
    seconds: float
    joules: float  # all that was counted
    idle_watts: float
    joules_above_idle: float


class Window(Record):
    """One stretch of a sustained run."""

    start_s: float  # since the run began
    end_s: float
    tokens_per_s: float
    clock_mhz: float | None = None
    temperature_c: float | None = None


class BenchedModel(Record):
    """What was measured, so that a result can be held against another one and against a claim."""

    name: str
    recipe: str | None = None  # the recipe whose model it is, where the file or its bundle says so
    sha256: str | None = None  # of the artifact's one file, or of the list of its files
    architecture: str | None = None
    size_bytes: int | None = None
    parameters: int | None = None
    active_parameters: int | None = None
    bits_per_weight: float | None = None
    file_type: str | None = None
    layers: int | None = None
    random_weights: bool = False  # made by `edgellm synth`: its speed is true, its words mean nothing


class EngineBench(Record):
    schema_version: Literal[1] = 1
    kind: Literal["engine"] = "engine"
    target: str
    model: BenchedModel | None = None
    results: list[EngineTest]
    machine: dict[str, Any]
    conditions: dict[str, Any]
    valid: bool
    reasons: list[str]  # why it is not valid; empty when it is
    ceilings: Ceilings | None = None
    energy: tuple[EnergyUse, ...] = ()
    peak_memory_bytes: int | None = None  # of this process
    peak_gpu_memory_bytes: int | None = None
    sustained: tuple[Window, ...] = ()
    settings: dict[str, Any] = Field(
        default_factory=dict
    )  # prompt_tokens, decode_tokens, depth, parallel, repeat, and how the model was loaded
    created: str = ""  # UTC, ISO 8601
    lab: LabKey | None = None  # of which device, bundle and suite entry `edgellm lab run` has it


class Percentiles(Record):
    """Of one measure over requests; `low` and `high` are the 95 % interval of each percentile over requests."""

    p50: float
    p90: float
    p99: float
    mean: float
    p50_low: float
    p50_high: float
    p90_low: float
    p90_high: float
    p99_low: float
    p99_high: float


class RequestCounts(Record):
    ok: int
    failed: int  # answered with an error, cut off, or not in time
    rejected: int  # 429 or 503: the server said that it has no room


class RequestRecord(Record):
    """One request with raw timestamps, in seconds since the run began."""

    scheduled_s: float  # when the load's plan had it sent
    sent_s: float
    first_s: float | None = None  # first event with text
    end_s: float | None = None
    event_s: tuple[float, ...] = ()  # every event with text
    status: Literal["ok", "failed", "rejected"]
    error: str = ""
    prompt_tokens: int | None = None  # as the server counts them
    output_tokens: int | None = None
    output_characters: int = 0
    prompt_characters: int = 0
    conversation: int | None = None
    turn: int = 0


class LoadStep(Record):
    """One rate or concurrency: the whole result, or one step of a sweep."""

    label: str  # `c=8`, `rate=4.0`
    concurrency: int | None = None
    rate_per_s: float | None = None
    duration_s: float
    requests: RequestCounts
    failures: dict[str, int] = Field(default_factory=dict)  # how many failed, by reason
    ttft_ms: Percentiles | None = None
    tpot_ms: Percentiles | None = None
    itl_ms: Percentiles | None = None
    e2e_ms: Percentiles | None = None
    lateness_ms: Percentiles | None = None  # how long after its scheduled time a request was sent
    requests_per_s: float
    output_tokens_per_s: float | None
    output_characters_per_s: float
    prompt_tokens_per_s: float | None = None
    goodput_per_s: float | None = None  # requests a second that kept every limit of the SLO


class LoadBench(LoadStep):
    schema_version: Literal[1] = 1
    kind: Literal["load"] = "load"
    url: str
    target: str  # the model that was asked
    workload: dict[str, Any]  # name, lengths, turns, cache busting, seed
    arrival: Literal["closed", "constant", "poisson", "sweep"]
    slo_ms: dict[str, float] = Field(default_factory=dict)
    definitions: dict[str, str]  # what each measure means here
    steps: tuple[LoadStep, ...] = ()  # of a sweep; the outer figures are those of the best step
    knee: str | None = None  # label of the step after which more load brought no more
    records: tuple[RequestRecord, ...] = ()
    machine: dict[str, Any]  # of the load generator, which need not be the server's
    conditions: dict[str, Any]
    valid: bool
    reasons: list[str]
    created: str = ""

"""What `edgellm plan` finds out about a model on a machine before anything is downloaded."""

from __future__ import annotations

from typing import Any, Literal

from edgellm.records.base import Record
from edgellm.records.device import UnmodelledSpeed


class PlannedDevice(Record):
    name: str
    title: str
    kind: str
    memory_bytes: int
    usable_bytes: int  # for weights, KV cache and buffers
    bandwidth_bytes_per_s: float | None = None
    flops_per_s: float | None = None


class PredictedSpeed(Record):
    """Tokens a second; None where nothing can be said, and `why_not` says why."""

    decode_tokens_per_s: float | None = None  # of all sequences together
    prefill_tokens_per_s: float | None = None
    bound: Literal["memory", "compute", "overhead"] | None = None  # what holds decoding back
    prefill_bound: Literal["memory", "compute", "overhead"] | None = None
    decode_tokens_per_s_alone: float | None = None  # of one sequence that has the machine to itself
    sequences: int = 1
    depth: int = 0  # tokens that a sequence holds
    prompt_tokens: int = 512
    how: str = ""  # the figures and constants that it comes from, or what was measured
    why_not: str = ""


class Offload(Record):
    """What a GPU takes of a model that does not fit whole; the rest stays in the machine's memory."""

    cpu_moe: bool = False
    gpu_layers: int | None = None  # None: all


class Plan(Record):
    """A recipe, its types and a machine, put together. Bytes are exact but for `compute_bytes`, an estimate."""

    recipe: str
    type: str
    variant: str | None = None
    layers: int
    parameters: int
    active_parameters: int
    bits_per_weight: float
    device: PlannedDevice
    context: int  # tokens of one sequence
    parallel: int
    file_bytes: int
    file_bytes_excludes_vocabulary: bool  # whose files are not at hand: some MB more
    weight_bytes: int
    kv_bytes: int  # of all sequences, with the states of recurrent layers
    compute_bytes: int
    memory_bytes: int  # weights, KV cache and buffers
    fits: bool  # as asked
    longest_context: int | None = None  # that fits with as many sequences; None: not even 512 tokens
    offload: Offload | None = None  # what makes it fit a GPU as asked, where it does not by itself
    predicted: PredictedSpeed
    settings: dict[str, Any]  # options of `edgellm serve` with which it fits; empty where nothing helps
    command: str
    notes: tuple[str, ...] = ()


class CheckedPrediction(Record):
    """A published speed beside what the predictor says."""

    device: str
    model: str
    type: str
    test: str  # as `bench` names it: tg128@d4096x8
    measured: float
    predicted: float
    error: float  # share of what was measured, without a sign
    left_out_error: float | None  # of constants that were fitted without this device; None: it does not count
    counts: bool
    why_apart: str = ""
    mark: str
    source: str
    note: str = ""


class Errors(Record):
    """Of predictions, as shares of what was measured."""

    count: int
    median: float
    largest: float
    left_out_median: float
    left_out_largest: float


class PredictionCheck(Record):
    rows: tuple[CheckedPrediction, ...]
    unmodelled: tuple[UnmodelledSpeed, ...]
    decode: Errors
    prefill: Errors
    together: Errors

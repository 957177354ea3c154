"""A machine, or a class of machines that recipes are cut for: its memory, how fast it is, and what was published of it.

A **class** has memory only. A **machine** has a bandwidth and a peak as well, so that its speed can be predicted; and
the speeds that others measured on it, against which the prediction is checked.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from edgellm.records.base import Record

Processor = Literal["geforce", "nvidia-datacentre", "nvidia-module", "radeon", "apple", "cpu"]
FIGURES = ("memory_bytes", "memory_bandwidth_bytes_per_s", "peak_flops_per_s", "tdp_watts")


class PublishedSpeed(Record):
    """A speed that somebody published. `apart`: why the prediction is not held to it; it is shown all the same."""

    model: str = Field(description="a model of `checks/published.toml`")
    type: str = Field(description="type of its weights, of the same file")
    test: Literal["tg", "pp"] = Field(description="`tg`: tokens are generated; `pp`: a prompt is read")
    tokens: int = Field(gt=0, description="how many, of one sequence")
    depth: int = Field(default=0, ge=0, description="tokens that a sequence holds before")
    batch: int = Field(default=1, gt=0, description="sequences at once")
    tokens_per_s: float = Field(gt=0, description="of all sequences together")
    engine: str = Field(default="llama.cpp", description="what ran it")
    mark: Literal["V", "V2", "R"] = Field(description="V: read at the source; V2: second-hand; R: recalled")
    source: str = Field(description="who published it, and where")
    note: str = Field(default="", description="what the source does not say and is assumed here")
    apart: str = Field(default="", description="why the prediction is not held to it; empty: it is")


class Device(Record):
    name: str = Field(description="name of the class or machine, for `--fit`, `--device` and variants of a recipe")
    title: str = Field(description="one line for people; for a class with machines of it")
    kind: Literal["gpu", "module", "phone", "computer"] = Field(
        description="`gpu`: memory of its own; `module`: processor and accelerator share it; `phone`: the same, "
        "with other programs beside the model; `computer`: the processor's memory"
    )
    memory_bytes: int = Field(gt=0, description="memory, nominal: 24 GB are 24 × 2³⁰ bytes")
    usable_share: float = Field(
        gt=0, le=1, description="share of it for weights, KV cache and buffers; the rest is the system's and others'"
    )
    processor: Processor | None = Field(
        default=None,
        description="what computes; llama.cpp reaches about the same share of stated figures on a kind",
    )
    memory_bandwidth_bytes_per_s: float | None = Field(default=None, gt=0, description="as its maker states it")
    peak_flops_per_s: float | None = Field(
        default=None,
        gt=0,
        description="dense matrix products in 16 bits with sums in 32; of a `cpu` vectors in 32 bits",
    )
    tdp_watts: float | None = Field(default=None, gt=0, description="power that its maker states")
    sources: dict[str, str] = Field(
        default_factory=dict, description="where each figure is from; [R]: as recalled, [C]: computed"
    )
    checks: tuple[PublishedSpeed, ...] = Field(default=(), description="speeds that were published for it")

    @property
    def usable_bytes(self) -> int:
        return int(self.memory_bytes * self.usable_share)

    @property
    def is_machine(self) -> bool:
        """Whether its speed can be predicted; a class has machines of many speeds."""
        return self.processor is not None

    @model_validator(mode="after")
    def _whole(self) -> Device:
        speeds = (self.memory_bandwidth_bytes_per_s, self.peak_flops_per_s)
        if self.is_machine != all(speeds) or self.is_machine != any(speeds):
            raise ValueError("processor, memory_bandwidth_bytes_per_s and peak_flops_per_s stand together or not")
        missing = [figure for figure in FIGURES if getattr(self, figure) is not None and figure not in self.sources]
        if self.is_machine and missing:
            raise ValueError(f"sources must say where {missing[0]} is from")
        if self.checks and not self.is_machine:
            raise ValueError("checks are of a machine, and this is a class")
        return self


class PublishedModel(Record):
    """The shape of a model that published speeds are of. Widths in numbers; `window` in tokens, 0: none."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    feed_forward: int
    vocab_tokens: int
    tied: bool = False
    experts: int = 0
    experts_used: int = 0
    window: int = 0
    window_share: float = 0.0  # of the layers, whose attention reads no more than the window
    source: str


class PublishedType(Record):
    """Bits a weight of a mixture: of the layers, of the experts where they have others, and of the output."""

    layers: float
    experts: float | None = None
    output: float


class UnmodelledSpeed(Record):
    """A published speed that no prediction is made for, and why."""

    device: str
    what: str
    tokens_per_s: float
    mark: Literal["V", "V2", "R"]
    source: str
    why: str


class Published(Record):
    """What published speeds are of, and those that are not predicted."""

    models: dict[str, PublishedModel]
    types: dict[str, PublishedType]
    apart: tuple[UnmodelledSpeed, ...] = ()

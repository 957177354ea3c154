"""How fast a model will be on a machine, from its shapes and a few figures of the machine: before anything is bought.

A pass of tokens reads weights and KV cache from memory and multiplies. On an accelerator the longer of the two is what
it takes, since they overlap; a processor does both in turn, and it takes their sum. To that each layer adds a time
of its own, in which kernels start and wait for each other:

    memory  = bytes / (bandwidth × memory share)
    math    = operations / (peak × math share)
    seconds = max(memory, math), on a processor memory + math, + layers × layer time

Bytes and operations are those of `traffic`. The shares and the layer time are constants of a kind of processor
(`PACES`), fitted on published speeds; docs/design/prediction.md has the errors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from edgellm.measures.traffic import EXPERTS, Shape, bytes_of_pass
from edgellm.records.device import Processor

Bound = Literal["memory", "compute", "overhead"]
OUTPUT = ("output.weight", "token_embd.weight")
PASS_TOKENS = 512  # of a prompt, computed at once: llama.cpp's n_ubatch


@dataclass(frozen=True)
class Pace:
    """What llama.cpp makes of a kind of processor."""

    memory_share: float  # of the stated bandwidth, when weights are read
    math_share: float  # of the stated peak, in matrix products with many tokens
    layer_s: float  # that a layer of a pass takes however little it reads
    overlaps: bool = True  # whether it reads and multiplies at the same time
    # Of several sequences' next tokens dense products reach this part of a prompt's rate: they are multiplied one by
    # one. Products with experts, of which each has a token or two, are no slower than those of one sequence.
    batch_share: float = 1.0


@dataclass(frozen=True)
class Experts:
    """How mixtures of experts differ from what their shapes say; the same for all processors."""

    # Products with experts get fewer tokens each than dense ones, and reach this part of their rate.
    math_share: float
    # Real routers do not choose evenly: n tokens touch as many experts as n to this power would that did.
    evenness: float


# Measured here (benchmarks/prediction.py): published speeds of processors are of one sequence and of prompts.
BATCH_SHARE = 0.65

# Fitted by measures/prediction_fit.py on the checks of recipes/devices; tests/unit/measures holds them to it.
PACES: Mapping[Processor, Pace] = {
    "geforce": Pace(0.84, 0.7858, 60e-6),
    "nvidia-datacentre": Pace(0.88, 0.2311, 135e-6),
    "nvidia-module": Pace(0.86, 0.3093, 70e-6),
    "radeon": Pace(0.94, 0.3279, 95e-6),
    "apple": Pace(0.7, 0.5226, 175e-6),
    "cpu": Pace(0.84, 1.0, 10e-6, overlaps=False, batch_share=BATCH_SHARE),
}
# Of ceilings that were measured, not stated, on the two cores that this project is built on: products of quantized
# weights are as fast there as those of f32 by NumPy's BLAS, and weights are read at two thirds of the bandwidth.
HERE = Pace(0.7, 1.0, 10e-6, overlaps=False, batch_share=BATCH_SHARE)
EXPERT_MODELS = Experts(0.55, 0.78)


@dataclass(frozen=True)
class Machine:
    """Figures of a machine in bytes and operations a second, and what is made of them."""

    bandwidth: float
    peak: float
    pace: Pace


@dataclass(frozen=True)
class Model:
    """`window`: tokens that the share `window_share` of the layers looks back at most; 0: all look at everything."""

    shape: Shape
    layers: int
    window: int = 0
    window_share: float = 0.0
    experts: Experts = EXPERT_MODELS

    def seen(self, depth: float) -> float:
        """How many of `depth` tokens a layer reads, on average over the layers."""
        if not self.window:
            return depth
        return (1 - self.window_share) * depth + self.window_share * min(depth, self.window)


@dataclass(frozen=True)
class Parts:
    """Seconds of one pass, or of several."""

    memory_s: float
    math_s: float
    overhead_s: float
    overlaps: bool = True

    @property
    def seconds(self) -> float:
        work = max(self.memory_s, self.math_s) if self.overlaps else self.memory_s + self.math_s
        return work + self.overhead_s

    @property
    def bound(self) -> Bound:
        """What takes longest."""
        if self.overhead_s >= max(self.memory_s, self.math_s):
            return "overhead"
        return "memory" if self.memory_s >= self.math_s else "compute"


@dataclass(frozen=True)
class Predicted:
    tokens_per_s: float  # of all sequences together
    bound: Bound
    parts: Parts


def decode(machine: Machine, model: Model, sequences: int = 1, depth: float = 0) -> Predicted:
    """One token for each of `sequences` sequences that hold `depth` tokens."""
    parts = pass_parts(machine, model, tokens=sequences, sequences=sequences, depth=depth, outputs=sequences)
    return Predicted(sequences / parts.seconds, parts.bound, parts)


def prefill(machine: Machine, model: Model, tokens: int = PASS_TOKENS, depth: float = 0) -> Predicted:
    """A prompt of so many tokens, read in pieces of 512, of which only the last token is given an output."""
    memory, products, overhead = 0.0, 0.0, 0.0
    for start in range(0, tokens, PASS_TOKENS):
        count = min(PASS_TOKENS, tokens - start)
        last = start + count == tokens
        part = pass_parts(machine, model, count, 1, depth + start + count / 2, outputs=int(last))
        memory, products, overhead = memory + part.memory_s, products + part.math_s, overhead + part.overhead_s
    parts = Parts(memory, products, overhead, machine.pace.overlaps)
    return Predicted(tokens / parts.seconds, parts.bound, parts)


def pass_parts(machine: Machine, model: Model, tokens: int, sequences: int, depth: float, outputs: int) -> Parts:
    """Of one pass of `tokens` tokens, of which `outputs` get logits; `depth` tokens lie before each on average."""
    pace, seen = machine.pace, model.seen(depth)
    touching = tokens**model.experts.evenness
    return Parts(
        memory_s=bytes_of_pass(model.shape, touching, sequences, seen) / (machine.bandwidth * pace.memory_share),
        math_s=operations(model, tokens, seen, outputs, pace.batch_share) / (machine.peak * pace.math_share),
        overhead_s=model.layers * pace.layer_s,
        overlaps=pace.overlaps,
    )


def operations(model: Model, tokens: int, seen: float, outputs: int, batch_share: float = 1.0) -> float:
    """Floating-point operations of a pass; those that are slower than a prompt's with dense weights count more.

    Slower are a prompt's with experts, and with dense weights the next tokens of several sequences.
    """
    shape, total = model.shape, 2.0 * tokens * seen * model.shape.attention_width
    is_prompt = tokens > outputs
    slower = model.experts.math_share if is_prompt else 1.0
    dense = 1.0 if is_prompt or tokens == 1 else batch_share
    for weight in shape.read:
        if EXPERTS in weight.name:
            active = weight.elements * shape.experts_used / shape.experts
            total += 2 * tokens * active / slower
        else:
            total += 2 * (outputs if weight.name in OUTPUT else tokens) * weight.elements / dense
    return total


def with_even_routers(model: Model) -> Model:
    """The same with routers that choose evenly, as those of random weights do."""
    return replace(model, experts=replace(model.experts, evenness=1.0))


def error(predicted: float, measured: float) -> float:
    """How far off a prediction is, as a share of what was measured: 0.2 is 20 % too high or too low."""
    return abs(predicted / measured - 1)


def log_error(predicted: float, measured: float) -> float:
    """The same for fitting: twice as fast and half as fast are equally wrong."""
    return abs(math.log(predicted / measured))

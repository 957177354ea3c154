"""Published speeds as the predictor sees them: models from a few numbers, and what it says of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from edgellm.measures.prediction import (
    EXPERT_MODELS,
    PACES,
    Experts,
    Machine,
    Model,
    Pace,
    Predicted,
    decode,
    error,
    prefill,
)
from edgellm.measures.traffic import Shape, Weight
from edgellm.records.device import Device, Processor, Published, PublishedModel, PublishedSpeed, PublishedType

CACHE_BYTES = 2  # of a number in the KV cache: f16


@dataclass(frozen=True)
class Row:
    """One published speed, ready to be predicted."""

    device: Device
    speed: PublishedSpeed
    model: Model

    @property
    def counts(self) -> bool:
        return not self.speed.apart

    @property
    def processor(self) -> Processor:
        assert self.device.processor is not None
        return self.device.processor

    def predicted(self, pace: Pace | None = None, experts: Experts = EXPERT_MODELS) -> float:
        """Tokens a second; `pace` None: that of the processor."""
        return self.prediction(pace, experts).tokens_per_s

    def prediction(self, pace: Pace | None = None, experts: Experts = EXPERT_MODELS) -> Predicted:
        speed, model = self.speed, replace(self.model, experts=experts)
        machine = machine_of(self.device, pace)
        if speed.test == "pp":
            return prefill(machine, model, speed.tokens, speed.depth)
        return decode(machine, model, speed.batch, speed.depth + speed.tokens / 2)

    def error(self, pace: Pace | None = None, experts: Experts = EXPERT_MODELS) -> float:
        return error(self.predicted(pace, experts), self.speed.tokens_per_s)


def machine_of(device: Device, pace: Pace | None = None) -> Machine:
    """A machine of a device file; the caller has seen that it `is_machine`."""
    assert device.processor is not None
    assert device.memory_bandwidth_bytes_per_s is not None
    assert device.peak_flops_per_s is not None
    return Machine(
        device.memory_bandwidth_bytes_per_s, device.peak_flops_per_s, pace or PACES[device.processor]
    )  # fmt: skip


def rows(devices: Sequence[Device], published: Published) -> list[Row]:
    """Every published speed of the devices; raises KeyError for a model or type that is not there."""
    models: Mapping[tuple[str, str], Model] = {
        (name, kind): model_of(shape, bits)
        for name, shape in published.models.items()
        for kind, bits in published.types.items()
    }
    return [Row(d, speed, models[speed.model, speed.type]) for d in devices for speed in d.checks]


def model_of(shape: PublishedModel, bits: PublishedType) -> Model:
    """A decoder of llama's kind: attention, gated feed-forward, output; norms weigh next to nothing."""
    width, kv_width = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    attention = shape.layers * shape.hidden * 2 * (width + kv_width)
    feed_forward = shape.layers * 3 * shape.hidden * shape.feed_forward
    table = shape.vocab_tokens * shape.hidden
    weights = [stored("layers.weight", attention + (0 if shape.experts else feed_forward), bits.layers)]
    if shape.experts:
        weights.append(stored("ffn_exps.weight", feed_forward * shape.experts, bits.experts or bits.layers))
    weights.append(stored("token_embd.weight" if shape.tied else "output.weight", table, bits.output))
    traffic = Shape(
        weights, shape.experts, shape.experts_used, kv_bytes=shape.layers * 2 * kv_width * CACHE_BYTES,
        attention_width=shape.layers * shape.heads * 2 * shape.head_dim,
    )  # fmt: skip
    return Model(traffic, shape.layers, shape.window, shape.window_share)


def stored(name: str, elements: int, bits: float) -> Weight:
    return Weight(name, elements, int(elements * bits / 8))

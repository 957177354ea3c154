"""How fast a planned file will be: on a machine by its figures, or on this one by its measured ceilings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import psutil

from edgellm.bench.ceilings import measure_ceilings
from edgellm.engines.gguf.header import Header
from edgellm.engines.gguf.loading import GgufOptions
from edgellm.engines.gguf.opening import ONE_SEQUENCE_A_DECODE
from edgellm.engines.gguf.placement import free_room
from edgellm.engines.memory import free_memory_bytes
from edgellm.measures.prediction import HERE, PACES, PASS_TOKENS, Machine, Model, Pace, Predicted, decode, prefill
from edgellm.measures.published import machine_of
from edgellm.measures.traffic import shape_of
from edgellm.records.bench import Ceilings
from edgellm.records.device import FIGURES, Device, Processor
from edgellm.records.plan import PredictedSpeed
from edgellm.store import catalogue

THIS_MACHINE = "here"
MEASURED_OF_STATED = 0.92


@dataclass(frozen=True)
class Spot:
    """Where a model is to run. `machine` None: a class of machines, of which nothing but the memory is known."""

    device: Device
    machine: Machine | None
    how: str


def spot_of(name: str) -> Spot:
    """A machine or a class by name or file, or `here`; raises UsageError for an unknown one."""
    if name == THIS_MACHINE:
        return this_machine()
    device = catalogue.load_device(name)
    if not device.is_machine:
        return Spot(device, None, "")
    return Spot(device, machine_of(device), f"stated figures of {device.name}, constants of {device.processor}")


def this_machine() -> Spot:
    """This one, by what it has free and by ceilings that are measured on it; some seconds the first time.

    Of the GPU where llama.cpp was built for one and finds it, else of the processor. Raises EngineFailed if the
    ceilings cannot be measured.
    """
    gpu_bytes = free_room().gpu_bytes
    if gpu_bytes:
        ceilings = measure_ceilings(device="gpu", cached=True)
        processor: Processor = "geforce" if "GeForce" in ceilings.device else "nvidia-datacentre"
        pace = PACES[processor]
        # Constants are shares of stated figures, of which a kernel that does nothing but read reaches about so much.
        return spot_here("gpu", gpu_bytes, 1.0, ceilings, processor, replace(
            pace, memory_share=min(1.0, pace.memory_share / MEASURED_OF_STATED)
        ))  # fmt: skip
    total = int(psutil.virtual_memory().total)
    usable = min(1.0, free_memory_bytes() / total)
    return spot_here("computer", total, usable, measure_ceilings(cached=True), "cpu", HERE)


def spot_here(
    kind: Literal["gpu", "computer"], memory: int, usable: float, ceilings: Ceilings, processor: Processor, pace: Pace
) -> Spot:
    device = Device(
        name=THIS_MACHINE, title=f"this machine ({ceilings.device})", kind=kind, memory_bytes=memory,
        usable_share=usable, processor=processor, peak_flops_per_s=ceilings.flops_per_s,
        memory_bandwidth_bytes_per_s=ceilings.memory_bandwidth_bytes_per_s,
        sources=dict.fromkeys(FIGURES, "measured here"),
    )  # fmt: skip
    return Spot(device, machine_of(device, pace), f"ceilings measured here: {ceilings.how}")


def predicted(header: Header, spot: Spot, options: GgufOptions, depth: int) -> PredictedSpeed:
    """Decoding of all sequences together at `depth` tokens each, and reading of a prompt of 512 by itself."""
    if spot.machine is None:
        return PredictedSpeed(why_not=f"{spot.device.name} is a class of machines, which differ in speed; name one")
    model = Model(shape_of(header, options.type_k, options.type_v), header.of_architecture("block_count") or 0)
    prompt = min(PASS_TOKENS, options.context_tokens)
    together = decoding(header, spot.machine, model, options.sequences, depth)
    alone = decoding(header, spot.machine, model, 1, depth)
    reading = prefill(spot.machine, model, prompt)
    return PredictedSpeed(
        decode_tokens_per_s=together.tokens_per_s, prefill_tokens_per_s=reading.tokens_per_s, bound=together.bound,
        prefill_bound=reading.bound, decode_tokens_per_s_alone=alone.tokens_per_s, sequences=options.sequences,
        depth=depth, prompt_tokens=prompt, how=spot.how,
    )  # fmt: skip


def decoding(header: Header, machine: Machine, model: Model, sequences: int, depth: int = 0) -> Predicted:
    """A token for each sequence: in one pass, or one after the other where llama.cpp cannot take them together."""
    if header.architecture in ONE_SEQUENCE_A_DECODE:
        return decode(machine, model, 1, depth)
    return decode(machine, model, sequences, depth)

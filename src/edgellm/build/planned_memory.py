"""What a planned file takes on a machine, and how it can be made to fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from edgellm.engines.gguf.cache_size import cache_bytes
from edgellm.engines.gguf.compute_size import compute_bytes
from edgellm.engines.gguf.header import Header
from edgellm.engines.gguf.loading import CELLS_STEP, GgufOptions
from edgellm.engines.gguf.placement import GPU_MARGIN_BYTES, LEAST_CONTEXT, layers_of, layers_that_fit
from edgellm.records.plan import Offload

EXPERTS = "_exps."


@dataclass(frozen=True)
class Need:
    """Bytes of a model with so many sequences of so many tokens."""

    weights: int
    cache: int
    compute: int

    @property
    def total(self) -> int:
        return self.weights + self.cache + self.compute


def need(header: Header, options: GgufOptions) -> Need:
    """`options` say the context of a sequence, how many there are, and the types of the KV cache."""
    context = options.context_tokens
    cache = cache_bytes(header, context, options.sequences, options.type_k, options.type_v)
    return Need(header.weight_bytes, cache, compute_bytes(header, options, context))


def longest_context(header: Header, options: GgufOptions, room_bytes: int) -> int | None:
    """The most tokens of a sequence, up to what is asked for, that fit with as many sequences; None: not even 512."""
    for context in contexts_below(options.context_tokens):
        if need(header, replace(options, context_tokens=context)).total <= room_bytes:
            return context
    return None


def contexts_below(context: int) -> Iterator[int]:
    """What is asked for, and then multiples of 256, which is what llama.cpp rounds up to."""
    yield context
    below = (context - 1) // CELLS_STEP * CELLS_STEP
    yield from range(below, LEAST_CONTEXT - 1, -CELLS_STEP)


def offload(header: Header, options: GgufOptions, room_bytes: int) -> Offload | None:
    """How a GPU of so much room takes a part of the model, context as asked; None: it cannot take even the output.

    Experts first: a token needs few of them, so that leaving them to the processor costs least.
    """
    whole = need(header, options)
    experts = sum(t.size_bytes for t in header.tensors if EXPERTS in t.name)
    if experts and whole.total - experts <= room_bytes:
        return Offload(cpu_moe=True)
    # `layers_that_fit` leaves a margin for the driver, which a machine's usable share has left out already.
    layers = layers_that_fit(header, options, options.context_tokens, room_bytes + GPU_MARGIN_BYTES)
    return Offload(gpu_layers=layers) if 0 < layers < layers_of(header) else None

"""How much memory a model needs beside its weights, from its header alone."""

from __future__ import annotations

import numpy as np

from edgellm.engines.gguf.header import Header
from edgellm.engines.gguf.loading import CELLS_STEP
from edgellm.engines.gguf.types import tensor_type
from edgellm.errors import BadInput

F32_BYTES = 4


def cache_bytes(
    header: Header, context_tokens: int, sequences: int = 1, type_k: str = "f16", type_v: str = "f16"
) -> int:  # fmt: skip
    """Bytes of a KV cache of `sequences` × `context_tokens`, and of the F32 states of recurrent layers.

    llama.cpp rounds a sequence's cells up to a multiple of 256 and gives layers with a sliding window whole ones.
    Raises BadInput for a header that does not tell the shapes.
    """
    layers = header.of_architecture("block_count") or 0
    heads = per_layer(header, "attention.head_count") or [0] * layers
    # As llama.cpp reads a file that does not say how many heads of keys there are.
    kv_heads = per_layer(header, "attention.head_count_kv") or heads
    width = header.of_architecture("embedding_length") or 0
    most_heads = max(heads, default=0)
    key = header.of_architecture("attention.key_length") or (width // most_heads if most_heads else 0)
    value = header.of_architecture("attention.value_length") or (width // most_heads if most_heads else 0)
    if not layers or (any(kv_heads) and not key + value):
        raise BadInput(f"{header.path} does not tell the shape of its attention; make the file again")
    cells = -(-context_tokens // CELLS_STEP) * CELLS_STEP
    bits = key * tensor_type(type_k.upper()).bits_per_weight + value * tensor_type(type_v.upper()).bits_per_weight
    cache = int(sum(kv_heads) * bits * cells / 8)
    return sequences * (cache + kv_heads.count(0) * state_bytes(header))


def per_layer(header: Header, key: str) -> list[int]:
    """A number for each layer, from a list or from one that holds for all; empty where the file does not say."""
    stated = header.metadata.get(f"{header.architecture}.{key}")
    if isinstance(stated, np.ndarray):
        return [int(n) for n in stated]
    count = header.of_architecture(key)
    return [] if count is None else [count] * (header.of_architecture("block_count") or 0)


def state_bytes(header: Header) -> int:
    """Of one sequence in one recurrent layer: the convolution's last inputs and the state."""
    inner, state, groups, kernel = (
        header.of_architecture(f"ssm.{key}") or 0 for key in ("inner_size", "state_size", "group_count", "conv_kernel")
    )
    return F32_BYTES * (max(0, kernel - 1) * (inner + 2 * groups * state) + inner * state)

"""Random weights in every storage type, quantized by llama.cpp itself, so that all scales are those of real weights."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
from numpy.typing import NDArray

from edgellm.engines.gguf.ggml_rows import quantized
from edgellm.engines.gguf.types import TensorType

ROW, ROWS = 256, 16381  # a prime number of rows: no tensor's rows come round to where they began
DEVIATION = 0.02  # as models are initialised; with norms of one, activations stay near one in any depth
SEED = 0
EQUAL = np.ones(ROW, np.float32)  # importance: all inputs count the same where a type weighs them


class RandomBlocks:
    """The bytes of weights drawn from N(0, 0.02²), in any type, without end.

    4.2 million weights a type are quantized once and given again and again, each tensor starting where the last one
    stopped: what a type costs to read and to compute does not depend on the values.
    """

    def __init__(self) -> None:
        self._buffers: dict[str, NDArray[np.uint8]] = {}
        self._at: dict[str, int] = {}

    def take(self, kind: TensorType, size_bytes: int) -> Iterator[NDArray[np.uint8]]:
        """Whole blocks of `kind`, `size_bytes` in all, piece by piece."""
        if kind.name not in self._buffers:
            self._buffers[kind.name] = quantized(kind, gaussian(ROWS), EQUAL)
        buffer = self._buffers[kind.name]
        while size_bytes:
            at = self._at.get(kind.name, 0)
            piece = buffer[at : at + size_bytes]
            self._at[kind.name] = (at + piece.size) % buffer.size
            size_bytes -= piece.size
            yield piece


@cache
def gaussian(rows: int) -> NDArray[np.float32]:
    """(rows, 256) float32."""
    return np.random.default_rng(SEED).normal(0, DEVIATION, (rows, ROW)).astype(np.float32)

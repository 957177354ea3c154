"""Rows of weights into the blocks of a quantized type and back, by ggml's own functions.

A call that ggml refuses ends the process.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np
from llama_cpp._ggml import libggml
from numpy.typing import NDArray

from edgellm.engines.gguf import library
from edgellm.engines.gguf.types import TensorType

Floats = NDArray[np.float32]
POINTER, COUNT = ctypes.c_void_p, ctypes.c_int64


def quantized(kind: TensorType, rows: Floats, importance: Floats | None) -> NDArray[np.uint8]:
    """The bytes of `rows` (rows, width) as `kind`; importance: (width,), of each input, for types that weigh it."""
    count, width = rows.shape
    rows = np.ascontiguousarray(rows)
    out = np.empty(kind.size_bytes(width, count), np.uint8)
    matrix = None if importance is None else np.ascontiguousarray(importance, np.float32)
    pointer = None if matrix is None else matrix.ctypes.data
    written = quantizer()(kind.number, rows.ctypes.data, out.ctypes.data, 0, count, width, pointer)
    assert written == out.size, f"ggml wrote {written} bytes of {kind.name} where {out.size} were due"
    return out


def restored(kind: TensorType, blocks: NDArray[np.uint8], width: int) -> Floats:
    """The weights (rows, width) that are left in blocks of a quantized type, not of a float type."""
    found = np.empty((blocks.size // kind.size_bytes(width, 1), width), np.float32)
    restorer(kind.name)(blocks.ctypes.data, found.ctypes.data, found.size)
    return found


@cache
def quantizer() -> Any:
    library.start()
    function = libggml.ggml_quantize_chunk
    function.restype = ctypes.c_size_t
    function.argtypes = [ctypes.c_int, POINTER, POINTER, COUNT, COUNT, COUNT, POINTER]
    return function


@cache
def restorer(type_name: str) -> Any:
    """ggml's function that restores weights: `dequantize_row_q4_K` for Q4_K."""
    stem, kind, suffix = type_name.lower().rpartition("_")
    function = getattr(libggml, f"dequantize_row_{stem}{kind}{suffix.upper() if suffix == 'k' else suffix}")
    function.restype, function.argtypes = None, [POINTER, POINTER, COUNT]
    return function

"""The process that quantizes and restores single tensors: `python -m edgellm.engines.gguf.rounding_child`.

It answers two requests of rounding.py (see child.py for how they travel):
- imatrix: keeps {name: values} for the requests that follow; the payload holds all values, float32, in order
- round: puts one tensor through a quantized type and back, and writes the result into a copy of the file
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgellm.engines.cores import usable_cores
from edgellm.engines.gguf import child, library
from edgellm.engines.gguf.ggml_rows import Floats, quantized, restored
from edgellm.engines.gguf.imatrix_transfer import received_values
from edgellm.engines.gguf.types import TENSOR_TYPES, TensorType
from edgellm.errors import UsageError

PIECE_WEIGHTS = 1 << 20  # at once in each thread: some 9 MB with what becomes of them
# Where only the loss is asked for: so many pieces, spread evenly, of so many weights.
SAMPLES, SAMPLE_WEIGHTS = 8, 1 << 14

_imatrix: dict[str, Floats] = {}


def handle(request: dict[str, Any], payload: bytearray) -> Mapping[str, object]:
    match request["do"]:
        case "imatrix":
            _imatrix.clear()
            _imatrix.update(received_values(request["sizes"], payload))
            return {}
        case "round":
            return round_tensor(request)
    raise UsageError(f"there is no request called {request['do']!r}")


def round_tensor(request: dict[str, Any]) -> Mapping[str, object]:
    """Write the tensor as it comes back from the type; `lost` and `whole` are Σ v(w − ŵ)² and Σ v w².

    v is the importance of a weight's input, 1 without a matrix.
    """
    target, stored = TENSOR_TYPES[request["type"]], request["stored"]
    matrices, rows, width = request["shape"]
    values = _imatrix.get(request["name"])
    importance = None if values is None else values.reshape(matrices, width)
    per_piece = max(1, (PIECE_WEIGHTS if request["write"] else SAMPLE_WEIGHTS) // width)
    places = [(m, r, min(r + per_piece, rows)) for m in range(matrices) for r in range(0, rows, per_piece)]
    if not request["write"]:
        places = places[:: -(-len(places) // SAMPLES)]
    out = os.open(request["out"], os.O_WRONLY)
    try:
        with open(request["source"], "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data:

            def one(place: tuple[int, int, int]) -> tuple[float, float]:
                matrix, first, last = place
                at = request["offset"] + (matrix * rows + first) * width * FLOAT_BYTES[stored]
                weights = read_floats(data, at, (last - first, width), stored)
                weight_of = None if importance is None else importance[matrix]
                rounded = through(target, weights, weight_of)
                if request["write"]:
                    os.pwrite(out, as_stored(rounded, stored).tobytes(), at)
                v = 1.0 if weight_of is None else weight_of.astype(np.float64)
                lost = (np.square(weights - rounded).sum(axis=0, dtype=np.float64) * v).sum()
                return float(lost), float((np.square(weights).sum(axis=0, dtype=np.float64) * v).sum())

            with ThreadPoolExecutor(usable_cores()) as threads:
                parts = list(threads.map(one, places))
    finally:
        os.close(out)
    return {"lost": sum(lost for lost, _ in parts), "whole": sum(whole for _, whole in parts)}


FLOAT_BYTES = {"F32": 4, "F16": 2, "BF16": 2}


def read_floats(data: mmap.mmap, at: int, shape: tuple[int, int], stored: str) -> Floats:
    count = shape[0] * shape[1]
    if stored == "BF16":
        wide = np.frombuffer(data, "<u2", count, at).astype(np.uint32) << 16
        return wide.view(np.float32).reshape(shape)
    return np.frombuffer(data, {"F32": "<f4", "F16": "<f2"}[stored], count, at).astype(np.float32).reshape(shape)


def as_stored(values: Floats, stored: str) -> NDArray[Any]:
    if stored == "BF16":
        bits = values.view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")  # to the nearest, ties to even
    return values.astype({"F32": "<f4", "F16": "<f2"}[stored])


def through(target: TensorType, weights: Floats, importance: Floats | None) -> Floats:
    """`weights` (rows, width) quantized to a type by ggml, and back."""
    if target.name == "F16":
        return weights.astype(np.float16).astype(np.float32)
    return restored(target, quantized(target, weights, importance), weights.shape[1])


if __name__ == "__main__":
    library.start()
    child.serve(handle)

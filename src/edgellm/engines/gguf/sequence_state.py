"""What llama.cpp holds of one sequence, as bytes and back (`llama_state_seq_*`)."""

from __future__ import annotations

import ctypes
from dataclasses import asdict
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np

from edgellm.engines.gguf import library
from edgellm.engines.gguf.header import read_header
from edgellm.engines.gguf.loading import GgufOptions
from edgellm.engines.states import Payload, file_marks
from edgellm.errors import EngineFailed
from edgellm.store.digest import of_value

# Options that change neither the numbers in a state nor its shape. The number of sequences does: it is the number of
# llama.cpp's streams, which a state names.
INDIFFERENT = (
    "context_tokens", "threads", "batch_invariant", "adapters", "step_tokens", "ubatch_tokens", "second_weights",
)  # fmt: skip


def state_digest(artifact: Path, options: GgufOptions, *, batch_invariant: bool) -> str:
    """What must agree between the runtime that saves a sequence and the one that restores it, as 64 hex digits.

    Files are told apart by name, size and time of change: reading all of them would take longer than loading.
    """
    files = [file_marks(part) for part in read_header(artifact).files]
    adapters = {name: file_marks(path) for name, path in options.adapters.items()}
    chosen = {name: value for name, value in asdict(options).items() if name not in INDIFFERENT}
    value = of_value([files, adapters, chosen, library.build(), batch_invariant])
    return value.removeprefix("sha256:")


def read_state(context: Any, sequence: int, spare: int = 0) -> Payload:
    """What a sequence holds, and so many zeros after it.

    Raises EngineFailed if llama.cpp gives another number of bytes than it announced.
    """
    size = llama_cpp.llama_state_seq_get_size(context, sequence)
    payload = np.empty(size + spare, np.uint8)
    payload[size:] = 0
    written = llama_cpp.llama_state_seq_get_data(context, _pointer(payload), size, sequence)
    if not 0 < written == size:
        raise EngineFailed(f"llama.cpp gave {written} bytes of sequence {sequence} where it holds {size}")
    return payload


def write_state(context: Any, sequence: int, payload: Payload) -> bool:
    """False where llama.cpp refused the bytes, and `sequence` holds nothing then."""
    taken = llama_cpp.llama_state_seq_set_data(context, _pointer(payload), len(payload), sequence)
    return bool(taken == len(payload))


def _pointer(payload: Payload) -> Any:
    return payload.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))

"""What would make llama.cpp abort the process, or fail without a hint, found in a GGUF's header before it is loaded.

llama.cpp refuses most damaged files with a message; the checks here are for those where it ends the process
instead (each was tried with the pinned build: every number of the metadata set to its extremes).
"""

from __future__ import annotations

import math
from collections import Counter
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn

import gguf
import numpy as np

from edgellm.engines.gguf.header import Header
from edgellm.engines.gguf.plamo_cure import check_layers
from edgellm.errors import BadInput, UnknownFamily, UsageError

LAYERS_LIMIT, EXPERTS_LIMIT = 512, 1024  # LLAMA_MAX_LAYERS, LLAMA_MAX_EXPERTS
ROPE_SCALINGS = ("none", "linear", "yarn", "longrope")
UNKNOWN_ARCHITECTURE = "unknown model architecture"  # how llama.cpp's message begins


def check_model_file(header: Header) -> None:
    """Raises UsageError for a GGUF that holds something else than a model, BadInput for what llama.cpp aborts over."""
    check_metadata(header)
    if not header.tensors:
        raise BadInput(f"{header.path} holds no weights; fetch or make the whole model again")
    check_layers(header)


def check_metadata(header: Header) -> None:
    """`check_model_file` for what llama.cpp reads when it loads the vocabulary alone: a file may hold no more."""
    if header.metadata.get("general.type", "model") != "model":
        kind = header.metadata["general.type"]
        raise UsageError(
            f"{header.path} holds no model but a GGUF of the kind {kind}; give the GGUF of the model itself"
        )
    if header.of_architecture("context_length") == 0:
        fail(header, "context_length", 0, "at least 1")
    layers = header.of_architecture("block_count")
    if layers is not None and not 1 <= layers <= LAYERS_LIMIT:
        fail(header, "block_count", layers, f"1 to {LAYERS_LIMIT}")
    for key, value in header.metadata.items():
        if key.endswith("_epsilon") and not (isinstance(value, float) and 0 <= value < math.inf):
            raise BadInput(f"{key} in {header.path} is {value}, not a number from 0 up; make the file again")
    scaling = header.metadata.get(f"{header.architecture}.rope.scaling.type", "none")
    if scaling not in ROPE_SCALINGS:
        fail(header, "rope.scaling.type", scaling, f"one of {', '.join(ROPE_SCALINGS)}")
    check_experts(header)
    if repeated := [text for text, count in Counter(header.tokens).items() if count > 1]:
        raise BadInput(
            f"the vocabulary in {header.path} gives several ids to {repeated[0]!r}; fetch or convert the model again"
        )


def check_experts(header: Header) -> None:
    """As many experts as llama.cpp holds, and of them some are used, in every layer; or none at all."""
    experts = header.of_architecture("expert_count") or 0
    stated = header.metadata.get(f"{header.architecture}.expert_used_count", 0)
    used = (
        int(np.max(stated, initial=0))
        if isinstance(stated, np.ndarray)
        else header.of_architecture("expert_used_count")
    )
    if experts > EXPERTS_LIMIT:
        fail(header, "expert_count", experts, f"at most {EXPERTS_LIMIT}")
    if not (used or 0) <= experts or bool(used) != bool(experts):
        fail(header, "expert_used_count", used, f"1 to the {experts} experts" if experts else "0 without experts")


def fail(header: Header, key: str, value: object, wanted: str) -> NoReturn:
    raise BadInput(
        f"{header.architecture}.{key} in {header.path} is {value} but has to be {wanted}; fetch or make the file again"
    )


def unknown_architecture(path: Path, reason: str) -> UnknownFamily | None:
    """The error for llama.cpp's `reason`, if it is that it does not know the architecture; None otherwise."""
    if UNKNOWN_ARCHITECTURE not in reason:
        return None
    name = reason.rpartition(": ")[2].strip("'")
    known = sorted(gguf.MODEL_ARCH_NAMES.values())
    near = get_close_matches(name, known, n=3)
    return UnknownFamily(
        f"{path} is of the architecture {name!r}, which this llama.cpp does not know "
        f"({'near are' if near else 'known are'} {', '.join(near or known)}); "
        "give a model of a known one, or update edgellm"
    )

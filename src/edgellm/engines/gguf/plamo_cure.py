"""PLaMo 2 files of llama.cpp's own conversion script: why they hang, and the copy that does not.

The script gives Mamba layers 0 attention heads. llama.cpp takes the width of RoPE from the first layer, which is one:
with no width its loop over a head never ends on a CPU, and on a GPU nothing is rotated. Which layers are Mamba is told
by the KV heads alone, so the true number of heads in every layer cures the file.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import gguf
import numpy as np

from edgellm.engines.gguf.header import Header
from edgellm.errors import BadInput

ARCHITECTURE = "plamo2"
HEADS = f"{ARCHITECTURE}.attention.head_count"
KV_HEADS = f"{ARCHITECTURE}.attention.head_count_kv"


def hangs(header: Header) -> bool:
    """Whether llama.cpp would never come back from computing with this file."""
    heads = header.metadata.get(HEADS)
    return header.architecture == ARCHITECTURE and heads is not None and not np.all(heads)


def check_layers(header: Header) -> None:
    """Raise BadInput for a PLaMo 2 without a Mamba layer: llama.cpp ends the process at the first decode."""
    kv_heads = header.metadata.get(KV_HEADS)
    if header.architecture == ARCHITECTURE and kv_heads is not None and np.all(kv_heads):
        raise BadInput(
            f"{header.path} is a PLaMo 2 without any Mamba layer, over which llama.cpp ends the process; "
            "use another engine for it"
        )


def write_cured(header: Header, folder: Path) -> None:
    """Copy the file of `header`, which `hangs` (all parts of a split one), into `folder`, and give every layer in the
    copy its true number of heads.

    Raises BadInput where the file names it for no layer at all.
    """
    heads = int(np.max(header.metadata[HEADS]))
    if not heads:
        raise BadInput(f"{header.path} gives every layer 0 attention heads; convert the checkpoint itself instead")
    for file in header.files:
        shutil.copyfile(file, folder / file.name)
    copy = gguf.GGUFReader(folder / header.path.name, "r+")  # metadata stand in the first part
    field = copy.get_field(HEADS)
    assert field is not None
    for part in field.data:
        if not field.parts[part][0]:
            field.parts[part][0] = heads
    copy.data.flush()

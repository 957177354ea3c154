"""MXFP4 blocks as checkpoints hold them and as llama.cpp wants them: the same bits in another order.

A block is 32 weights of four bits (E2M1) and one scale (E8M0: 2 to the power of the byte minus 127), as the Open
Compute Project's "Microscaling Formats (MX) Specification" defines them. A checkpoint keeps neighbours together:
byte i holds weight 2i in its low half and 2i + 1 in its high half, and the scales are a tensor of their own.
llama.cpp (`block_mxfp4`) puts the scale first, and byte i holds weight i low and weight i + 16 high.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgellm.errors import BadInput
from edgellm.families.family import Bytes

BLOCK_WEIGHTS, BLOCK_BYTES = 32, 17
NOT_A_NUMBER = 255  # the scale that stands for NaN


def repacked(name: str, parts: Sequence[Bytes], rows: slice = slice(None), first: int = 0) -> Bytes:
    """llama.cpp's blocks, (experts, rows, blocks × 17) bytes, of the tensors called `name`.

    parts: blocks (experts, rows, blocks, 16) and scales (experts, rows, blocks) of the experts from number `first` on;
    `rows` takes some of the rows.
    Raises BadInput for a scale that is not a number.
    """
    blocks, scales = parts[0][:, rows], parts[1][:, rows]
    if (scales == NOT_A_NUMBER).any():
        expert, *within = np.argwhere(parts[1] == NOT_A_NUMBER)[0]
        place = ", ".join(map(str, [first + expert, *within]))
        raise BadInput(
            f"the scales of {name} hold NaN at [{place}], so its weights are damaged; fetch the file again or give "
            "another checkpoint"
        )
    packed = np.empty((*blocks.shape[:-1], BLOCK_BYTES), np.uint8)
    packed[..., 0] = scales
    low, high = blocks & 0x0F, blocks >> 4
    packed[..., 1::2] = low[..., :8] | low[..., 8:] << 4
    packed[..., 2::2] = high[..., :8] | high[..., 8:] << 4
    return packed.reshape(*packed.shape[:-2], -1)

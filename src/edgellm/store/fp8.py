"""FP8 checkpoints in DeepSeek's style: weights in E4M3, and one scale for each block of rows and columns.

A weight `X.weight` of dtype F8_E4M3 has a tensor `X.weight_scale_inv` beside it; the value of a weight is its own
times the scale of its block. config.json states the blocks' shape as `quantization_config.weight_block_size`.
Source of the number format: Micikevicius et al., "FP8 Formats for Deep Learning", 2022, table 1 (E4M3).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

SCALES_SUFFIX = "_scale_inv"


def block_shape(config: Mapping[str, Any]) -> tuple[int, int] | None:
    """Rows and columns of a block; None for a checkpoint that is not quantized in blocks of FP8."""
    settings = config.get("quantization_config")
    if not isinstance(settings, dict) or settings.get("quant_method") != "fp8":
        return None
    shape = settings.get("weight_block_size")
    if not isinstance(shape, list) or len(shape) != 2 or not all(type(n) is int and n > 0 for n in shape):
        return None
    return shape[0], shape[1]


def e4m3_values() -> NDArray[np.float32]:
    """The value of each of the 256 bytes: a sign, four bits of exponent (bias 7), three of fraction; no infinity."""
    codes = np.arange(256)
    exponent, fraction = codes >> 3 & 15, codes & 7
    values = np.where(exponent == 0, np.ldexp(fraction, -9), np.ldexp(8.0 + fraction, exponent - 10))
    values[(codes & 127) == 127] = np.nan
    values[codes >= 128] *= -1
    return np.asarray(values, np.float32)


VALUES = e4m3_values()


def scaled(
    codes: NDArray[np.uint8], scales: NDArray[np.float32], block: tuple[int, int], first_row: int
) -> NDArray[np.float32]:
    """The float32 values of some rows, from row number `first_row` of the tensor on.

    codes: (rows, columns); scales: those of the whole tensor, one a block.
    """
    rows = np.arange(first_row, first_row + codes.shape[0]) // block[0]
    columns = np.arange(codes.shape[1]) // block[1]
    values: NDArray[np.float32] = VALUES[codes]
    values *= scales[rows][:, columns]
    return values

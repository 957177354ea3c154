from __future__ import annotations

import gguf
import numpy as np
import pytest

from edgellm.engines.gguf.ggml_rows import quantized
from edgellm.engines.gguf.random_blocks import DEVIATION, EQUAL, RandomBlocks, gaussian
from edgellm.engines.gguf.types import TENSOR_TYPES

ROWS = 64
NOT_READ_BACK = ("Q1_0", "Q2_0")  # the library gguf cannot
SLOW = ("IQ1", "IQ2")  # ggml computes for many seconds before the first block
TYPES = [name for name in TENSOR_TYPES if name not in NOT_READ_BACK and not name.startswith(SLOW)]


@pytest.mark.parametrize("name", TYPES)
def test_blocks_of_a_type_hold_finite_weights_of_the_wanted_size(name: str) -> None:
    kind = TENSOR_TYPES[name]
    found = gguf.dequantize(quantized(kind, gaussian(ROWS), EQUAL), gguf.GGMLQuantizationType(kind.number))
    assert np.isfinite(found).all()
    assert found.std() == pytest.approx(DEVIATION, rel=0.1)


def test_each_tensor_goes_on_where_the_last_one_stopped() -> None:
    blocks, kind = RandomBlocks(), TENSOR_TYPES["Q8_0"]
    first, second = (np.concatenate(list(blocks.take(kind, 34 * 1000))) for _ in range(2))
    assert first.size == second.size == 34_000
    assert not np.array_equal(first, second)


def test_more_bytes_than_were_made_come_round_again() -> None:
    blocks, kind = RandomBlocks(), TENSOR_TYPES["F32"]
    whole = np.concatenate(list(blocks.take(kind, gaussian(16381).nbytes + 1024)))
    assert np.array_equal(whole[:1024], whole[-1024:])

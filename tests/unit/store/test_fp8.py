"""FP8 weights in blocks, read as the numbers that they stand for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgellm.engines.gguf.convert import convert
from edgellm.errors import BadInput
from edgellm.store.checkpoint import open_checkpoint
from edgellm.store.fp8 import VALUES
from reference_logits import with_fault
from tiny_deepseek import LAYERS, random_deepseek, to_fp8

NAME = f"model.layers.{LAYERS - 1}.self_attn.kv_b_proj.weight"


@pytest.fixture(scope="module")
def exact() -> dict[str, np.ndarray]:
    """What the checkpoint's FP8 weights stand for."""
    return {}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_deepseek(tmp_path_factory.mktemp("fp8") / "plain")


@pytest.fixture(scope="module")
def checkpoint(plain: Path, exact: dict[str, np.ndarray]) -> Path:
    return with_fault(plain, plain.parent / "fp8", lambda weights, config: exact.update(to_fp8(weights, config)))


def test_every_byte_has_the_value_that_another_library_gives_it() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    expected = np.arange(256, dtype=np.uint8).view(ml_dtypes.float8_e4m3fn).astype(np.float32)
    assert np.array_equal(VALUES, expected, equal_nan=True)


def test_values_have_their_blocks_scale_whatever_rows_are_read(checkpoint: Path, exact: dict[str, np.ndarray]) -> None:
    opened = open_checkpoint(checkpoint)
    assert exact.keys() <= opened.tensors.keys()
    assert not [name for name in opened.tensors if name.endswith("_scale_inv")]
    for name, expected in exact.items():
        assert np.array_equal(opened.tensors[name].read_float32(), expected)
    for rows in (slice(0, 3), slice(15, 18), slice(100, 133)):  # blocks are of 16 rows
        assert np.array_equal(opened.tensors[NAME].read_float32(rows), exact[NAME][rows])


def wrong_shape(weights: dict[str, Any], config: dict[str, Any]) -> None:
    weights[f"{NAME}_scale_inv"] = weights[f"{NAME}_scale_inv"][:-1].copy()


def no_scales(weights: dict[str, Any], config: dict[str, Any]) -> None:
    del weights[f"{NAME}_scale_inv"]


def nan_scale(weights: dict[str, Any], config: dict[str, Any]) -> None:
    weights[f"{NAME}_scale_inv"][0, 0] = np.nan


@pytest.mark.parametrize(
    ("fault", "said"),
    [(wrong_shape, "does not fit"), (no_scales, "stored as F8_E4M3"), (nan_scale, r"holds nan at \[0, 0\]")],
)
def test_scales_that_are_missing_or_wrong_are_told(fault: Any, said: str, plain: Path, tmp_path: Path) -> None:
    def packed_and_faulty(weights: dict[str, Any], config: dict[str, Any]) -> None:
        to_fp8(weights, config)
        fault(weights, config)

    with pytest.raises(BadInput, match=said) as found:
        convert(with_fault(plain, tmp_path / "wrong", packed_and_faulty), tmp_path / "out.gguf", "F16")
    assert NAME in str(found.value)
    assert not (tmp_path / "out.gguf").exists()

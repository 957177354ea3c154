"""A rounded copy holds, bit for bit, what a quantized file of the model would be restored to."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from edgellm.engines.gguf.convert import convert
from edgellm.engines.gguf.imatrix_file import Entry, Imatrix
from edgellm.engines.gguf.quantize import quantize
from edgellm.engines.gguf.rounding import RoundedCopy
from edgellm.engines.gguf.tensor_groups import layout_of
from edgellm.errors import BadInput, UsageError
from tiny_recurrent import plamo2_gguf

DOWN = "blk.1.ffn_down.weight"


@pytest.fixture(scope="module")
def base(tiny_ja: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rounding") / "tiny-ja.gguf"
    convert(tiny_ja, path, "F32")
    return path


@pytest.fixture(scope="module")
def matrix() -> Imatrix:
    rng = np.random.default_rng(0)
    return Imatrix({DOWN: Entry(rng.random((1, 768), np.float32), np.ones(1, np.float32))}, 1, 512)


def weights(path: Path, name: str) -> NDArray[np.float32]:
    tensor = next(t for t in gguf.GGUFReader(path).tensors if t.name == name)
    return np.asarray(gguf.quants.dequantize(tensor.data, tensor.tensor_type), np.float32)


@pytest.mark.parametrize("type_name", ["Q4_K", "Q5_0", "IQ3_XXS", "MXFP4", "F16"])
def test_a_rounded_tensor_is_what_the_quantizer_makes_of_it(
    type_name: str, base: Path, matrix: Imatrix, tmp_path: Path
) -> None:
    quantize(base, tmp_path / "quantized.gguf", "Q8_0", matrix, {f"^{DOWN}$": type_name})
    with RoundedCopy(base, tmp_path, matrix.values()) as copy:
        lost = copy.round([DOWN], type_name)
        assert copy.loss([DOWN], type_name) == pytest.approx(lost, rel=0.05)
    found, own = weights(tmp_path / "quantized.gguf", DOWN), weights(base, DOWN)
    np.testing.assert_array_equal(weights(copy.path, DOWN), found)
    v = matrix.values()[DOWN].astype(np.float64)
    assert lost == pytest.approx((v * (own - found) ** 2).sum() / (v * own.astype(np.float64) ** 2).sum(), rel=1e-4)


def test_a_restored_copy_is_the_original_again_and_the_original_stays(base: Path, tmp_path: Path) -> None:
    before = base.read_bytes()
    with RoundedCopy(base, tmp_path, {}) as copy:
        copy.round(["token_embd.weight", DOWN], "Q2_K")
        assert copy.path.read_bytes() != before
        copy.restore(["token_embd.weight", DOWN])
        assert copy.path.read_bytes() == before
    assert base.read_bytes() == before


def test_what_is_quantized_already_is_refused(base: Path, tmp_path: Path) -> None:
    quantize(base, tmp_path / "q8.gguf", "Q8_0")
    (tmp_path / "copy").mkdir()
    with (
        RoundedCopy(tmp_path / "q8.gguf", tmp_path / "copy", {}) as copy,
        pytest.raises(UsageError, match="is Q8_0 already"),
    ):
        copy.round([DOWN], "Q4_K")


def test_groups_take_only_types_that_fit_and_that_their_values_allow(base: Path, matrix: Imatrix) -> None:
    groups = {g.name: g for g in layout_of(base, matrix, {"attn_v": "Q8_0"}).groups}
    assert groups["blk.0.ffn_gate"].names == ["blk.0.ffn_gate.weight", "blk.0.ffn_up.weight"]
    assert "IQ2_XXS" in groups["blk.1.ffn_down"].types
    assert "IQ2_XXS" not in groups["blk.2.ffn_down"].types
    assert not any("attn_v" in name for name in groups)


def test_of_a_recurrent_layer_only_what_feeds_its_state_stays_16_bit(tmp_path: Path) -> None:
    layout = layout_of(plamo2_gguf(tmp_path / "plamo2.gguf"), None, {})
    assert layout.fixed == {"blk.0.ssm_out.weight": "F16", "blk.0.ssm_dt.weight": "F16"}
    assert {"blk.0.ssm_in", "blk.0.ssm_x"} <= {g.name for g in layout.groups}


def test_a_file_with_nothing_to_choose_types_for_is_refused(base: Path, tmp_path: Path) -> None:
    for type_name in ("Q8_0", "Q4_K_M"):
        quantize(base, tmp_path / f"{type_name}.gguf", type_name)
        with pytest.raises(BadInput, match=r"already; .*the F16, BF16 or F32 file"):
            layout_of(tmp_path / f"{type_name}.gguf", None, {})
    with pytest.raises(UsageError, match=r"every tensor of .* has a given type"):
        layout_of(base, None, {".": "Q8_0"})


def test_the_size_of_a_file_is_known_to_the_byte(base: Path, matrix: Imatrix, tmp_path: Path) -> None:
    layout = layout_of(base, matrix, {"attn_v": "Q8_0"})
    types = {f"^{t.name}$": "Q5_K" for g in layout.groups for t in g.tensors}
    made = quantize(base, tmp_path / "out.gguf", "Q5_K_M", matrix, {"attn_v": "Q8_0", **types})
    assert made.size_bytes == layout.rest_bytes + sum(g.size_bytes("Q5_K") for g in layout.groups)

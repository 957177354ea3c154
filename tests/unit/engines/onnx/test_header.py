from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors import safe_open

from edgellm.engines.onnx.header import read_header
from edgellm.errors import BadInput

pytestmark = pytest.mark.onnx


def test_tensors_equal_what_the_onnx_library_reads(exported: Path) -> None:
    import onnx

    graph = onnx.load(exported / "model.onnx", load_external_data=False).graph
    expected = [(each.name, "F32", tuple(each.dims)) for each in graph.initializer]
    assert [(each.name, each.type, each.shape) for each in read_header(exported).tensors] == expected


def test_parameters_and_facts_equal_the_checkpoint(exported: Path, checkpoint: Path) -> None:
    with safe_open(checkpoint / "model.safetensors", "np") as weights:
        shapes = {name: tuple(weights.get_slice(name).get_shape()) for name in weights.keys()}  # noqa: SIM118
        parameters = sum(weights.get_tensor(name).size for name in shapes)
    header = read_header(exported)
    assert (header.parameters, header.weight_bytes) == (parameters, 4 * parameters)
    assert {each.name: each.shape for each in header.tensors} == shapes
    assert (header.architecture, header.context_tokens, header.vocab_tokens) == ("llama", 1024, 8192)


def test_weights_in_a_data_file_count_too(exported: Path, tmp_path: Path) -> None:
    import onnx

    shutil.copyfile(exported / "config.json", tmp_path / "config.json")
    model = onnx.load(exported / "model.onnx")
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, location="model.onnx_data")
    assert (tmp_path / "model.onnx").stat().st_size < 1_000_000
    assert read_header(tmp_path) == read_header(exported)


def test_whole_number_tensors_are_listed_but_are_no_parameters(make_graph: Callable[..., Path]) -> None:
    header = read_header(make_graph())
    assert [(each.name, each.type) for each in header.tensors] == [
        ("table", "F32"),
        ("narrow", "F32"),
        ("axis", "I64"),
    ]
    assert header.parameters == 5 * 8 + 5 * 2


@pytest.mark.parametrize("damage", [b"", b"hello world", b"\xff" * 64, "cut"], ids=["empty", "text", "ones", "cut"])
def test_a_file_that_is_no_graph_is_refused(exported: Path, tmp_path: Path, damage: bytes | str) -> None:
    shutil.copyfile(exported / "config.json", tmp_path / "config.json")
    whole = (exported / "model.onnx").read_bytes()
    (tmp_path / "model.onnx").write_bytes(whole[: len(whole) // 2] if isinstance(damage, str) else damage)
    with pytest.raises(BadInput, match="is not an ONNX graph"):
        read_header(tmp_path)


def test_a_graph_without_weights_is_refused(exported: Path, tmp_path: Path) -> None:
    import onnx

    shutil.copyfile(exported / "config.json", tmp_path / "config.json")
    onnx.save(onnx.ModelProto(ir_version=8), tmp_path / "model.onnx")
    with pytest.raises(BadInput, match="holds no floating-point weights"):
        read_header(tmp_path)

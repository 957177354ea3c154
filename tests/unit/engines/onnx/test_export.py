from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from edgellm.engines.onnx import export as exporting
from edgellm.engines.onnx.export import export
from edgellm.errors import BadInput, EngineFailed, MissingExtra
from tiny_checkpoints import TOKENIZER_FILES, random_llama

pytestmark = pytest.mark.onnx


def test_the_folder_holds_the_graph_and_the_checkpoints_own_tokenizer_files(exported: Path, checkpoint: Path) -> None:
    names = {path.name for path in exported.iterdir()}
    assert names == {"model.onnx", "config.json", *TOKENIZER_FILES}
    for name in TOKENIZER_FILES:
        assert (exported / name).read_bytes() == (checkpoint / name).read_bytes()


def test_the_graph_names_no_path_of_the_machine_that_made_it(exported: Path, checkpoint: Path) -> None:
    for path in exported.iterdir():
        data = path.read_bytes()
        assert str(checkpoint.parent).encode() not in data
        assert sys.prefix.encode() not in data


def test_tied_bfloat16_weights_are_written_once_in_float32_with_the_same_values(tmp_path: Path) -> None:
    import onnx
    import torch
    from safetensors.torch import load_file as load_torch
    from safetensors.torch import save_file as save_torch

    folder = random_llama(tmp_path / "checkpoint", tied=True, layers=1)
    half = {name: tensor.to(torch.bfloat16) for name, tensor in load_torch(folder / "model.safetensors").items()}
    save_torch(half, folder / "model.safetensors", metadata={"format": "pt"})
    before = (folder / "model.safetensors").read_bytes()
    seen: list[tuple[int, int]] = []
    export(folder, tmp_path / "out", lambda done, total: seen.append((done, total)))

    stored = {
        each.name: onnx.numpy_helper.to_array(each)
        for each in onnx.load(tmp_path / "out" / "model.onnx").graph.initializer
    }
    assert stored.keys() == half.keys()
    for name, tensor in half.items():
        np.testing.assert_array_equal(stored[name], tensor.float().numpy(), strict=True)
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert (folder / "model.safetensors").read_bytes() == before


def test_a_checkpoint_that_lacks_a_weight_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    folder = random_llama(tmp_path / "checkpoint", layers=1)
    weights = load_file(folder / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match=r"missing model\.norm\.weight"):
        export(folder, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


@pytest.mark.parametrize(
    ("name", "shape", "reason"),
    [
        ("model.norm.weight", 128, r"misshapen model\.norm\.weight"),
        ("model.extra.weight", 256, r"unexpected model\.extra\.weight"),
    ],
)
def test_a_weight_that_does_not_fit_the_config_is_refused(tmp_path: Path, name: str, shape: int, reason: str) -> None:
    from edgellm.engines.onnx.export_child import load_model

    folder = random_llama(tmp_path, layers=1)
    weights = load_file(folder / "model.safetensors") | {name: np.ones(shape, np.float32)}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match=reason):
        load_model(folder)


def test_cut_weights_are_refused(tmp_path: Path) -> None:
    from edgellm.engines.onnx.export_child import load_model

    folder = random_llama(tmp_path, layers=1)
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(BadInput, match="cannot be loaded"):
        load_model(folder)


def test_an_unknown_model_type_is_refused(tmp_path: Path) -> None:
    from edgellm.engines.onnx.export_child import load_model

    folder = random_llama(tmp_path, layers=1)
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "unheard-of"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match="unheard-of"):
        load_model(folder)


def test_a_folder_without_config_or_weights_is_refused(tmp_path: Path) -> None:
    from edgellm.engines.onnx.export_child import load_model

    with pytest.raises(BadInput, match=r"no config\.json"):
        export(tmp_path, tmp_path / "out")
    with pytest.raises(BadInput, match=r"no \.safetensors weights"):
        load_model(tmp_path)


def test_a_missing_exporter_is_named_with_the_command_that_brings_it(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "optimum.py").write_text("raise ImportError('No module named optimum')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(MissingExtra, match=r"pip install 'edgellm\[onnx\]'"):
        export(checkpoint, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "ended by signal 9"),
        ("raise ValueError('no such operator')", "ValueError: no such operator"),
    ],
    ids=["killed", "raised"],
)
def test_the_death_of_the_exporter_is_told_in_one_sentence(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, reason: str
) -> None:
    (tmp_path / "dying_exporter.py").write_text(program)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(exporting, "CHILD", "dying_exporter")
    with pytest.raises(EngineFailed, match=reason):
        export(checkpoint, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_exporting_again_gives_the_same_bytes_and_replaces_the_folder(
    exported: Path, checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "stray").write_text("left from before")
    export(checkpoint, out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {
        path.name: path.read_bytes() for path in exported.iterdir()
    }


def test_the_graph_has_the_weights_of_the_checkpoint_under_their_names(exported: Path, checkpoint: Path) -> None:
    import onnx

    with safe_open(checkpoint / "model.safetensors", "np") as weights:
        for each in onnx.load(exported / "model.onnx").graph.initializer:
            np.testing.assert_array_equal(onnx.numpy_helper.to_array(each), weights.get_tensor(each.name))

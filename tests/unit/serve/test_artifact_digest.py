from __future__ import annotations

from pathlib import Path

from edgellm.inference.target import Target
from edgellm.serve.audit import artifact_digest
from edgellm.store import digest
from tiny_gguf import dense_gguf


def test_one_file_is_its_own_digest(tmp_path: Path) -> None:
    path = dense_gguf(tmp_path / "model.gguf")
    assert artifact_digest(Target("m", "gguf", path, "gguf", path)) == digest.of_file(path)


def test_of_several_files_each_counts(tmp_path: Path) -> None:
    folder = tmp_path / "onnx"
    folder.mkdir()
    for name in ("model.onnx", "model.onnx_data"):
        (folder / name).write_bytes(name.encode())
    target = Target("m", "onnx", folder, "onnx", folder)
    before = artifact_digest(target)
    (folder / "model.onnx_data").write_bytes(b"other weights")
    assert artifact_digest(target) != before

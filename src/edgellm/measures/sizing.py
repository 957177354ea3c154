"""How large an artifact is: bytes, parameters, bits per weight."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Size:
    architecture: str
    size_bytes: int  # of all files of the artifact
    parameters: int
    bits_per_weight: float  # bits of all tensors over parameters, without metadata


def size_of(artifact: Path, format_name: str) -> Size:
    """Read from the headers; raises BadInput for a damaged artifact."""
    if format_name == "gguf":
        from edgellm.engines.gguf.header import read_header

        header = read_header(artifact)
        return Size(header.architecture, header.size_bytes, header.parameters, header.bits_per_weight)
    from edgellm.engines.onnx.header import read_header as read_onnx

    onnx = read_onnx(artifact)
    size_bytes = sum(f.stat().st_size for f in artifact.rglob("*") if f.is_file())
    return Size(onnx.architecture, size_bytes, onnx.parameters, 8 * onnx.weight_bytes / onnx.parameters)

"""What an ONNX folder holds, told without loading its weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgellm.engines.onnx.folder import graph_path, read_facts
from edgellm.engines.onnx.initializers import Tensor, read_initializers
from edgellm.errors import BadInput


@dataclass(frozen=True)
class OnnxHeader:
    """The stored weights and what `config.json` says of the model."""

    architecture: str
    parameters: int  # elements of floating-point tensors, as stored
    weight_bytes: int  # of the same tensors
    context_tokens: int
    vocab_tokens: int
    tensors: tuple[Tensor, ...]


def read_header(artifact: Path) -> OnnxHeader:
    """Read an ONNX folder, or the .onnx file in it; raises BadInput if it is missing or damaged."""
    path = graph_path(artifact)
    facts = read_facts(path)
    tensors = read_initializers(path)
    weights = [tensor for tensor in tensors if "F" in tensor.type]  # the rest are shapes and indices
    if not weights:
        raise BadInput(f"{path} holds no floating-point weights; export the checkpoint again")
    return OnnxHeader(
        architecture=facts.architecture,
        parameters=sum(tensor.elements for tensor in weights),
        weight_bytes=sum(tensor.size_bytes for tensor in weights),
        context_tokens=facts.context_tokens,
        vocab_tokens=facts.vocab_tokens,
        tensors=tuple(tensors),
    )

"""What quantizing did to each tensor: written beside the quantized file."""

from __future__ import annotations

from edgellm.records.base import Record


class QuantizedTensor(Record):
    name: str
    shape: list[int]  # row width first, as GGUF writes it
    source: str  # tensor types by llama.cpp's names: F16, Q4_K, …
    requested: str  # what the mixture or the user asked for
    got: str  # what the file holds; differs from `requested` where the width does not fit its blocks
    imatrix: bool  # whether an importance matrix weighed its errors
    reason: str  # the rule by which it got its type: a pattern, the mixture, what the width forced


class QuantizeReport(Record):
    type: str
    weights: int
    tensor_bytes: int
    size_bytes: int  # of the file
    bits_per_weight: float  # over all tensors, the float ones too
    tensors: list[QuantizedTensor]

    @property
    def fallbacks(self) -> list[QuantizedTensor]:
        """Tensors that got another type than was asked for."""
        return [t for t in self.tensors if t.got != t.requested]

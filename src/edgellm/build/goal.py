"""How large a file may become: a size, bits per weight, or a class of machines that it has to fit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from edgellm.errors import UsageError
from edgellm.records.device import Device

UNITS = {
    "": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40,
}  # fmt: skip
COMPUTE_SHARE = 10  # percent of weights and cache, for llama.cpp's buffers


def parse_size(text: str) -> int:
    """Bytes of `18.3GB` (decimal), `17GiB` (binary) or a plain number of bytes; raises UsageError for anything else."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", text, re.IGNORECASE)
    if (
        match is None
        or match[2].upper() not in UNITS
        or not (found := int(Decimal(match[1]) * UNITS[match[2].upper()]))
    ):
        raise UsageError(f"{text!r} is no size; write for example 18.3GB, 17GiB or a number of bytes")
    return found


def room_bytes(device: Device) -> int:
    """For weights and cache together: the rest of what a model may use there is for llama.cpp's buffers."""
    return device.usable_bytes * 100 // (100 + COMPUTE_SHARE)


@dataclass(frozen=True)
class Goal:
    """One of the three is given."""

    size: int | None = None  # bytes of the file
    bits_per_weight: float | None = None  # of all tensors, as `show` tells it
    device: Device | None = None
    context_tokens: int = 4096  # for a device: of the cache beside the weights

    @property
    def words(self) -> str:
        if self.size is not None:
            return f"{self.size:,} bytes"
        if self.bits_per_weight is not None:
            return f"{self.bits_per_weight:g} bits per weight"
        assert self.device is not None
        return f"fits {self.device.name} with {self.context_tokens:,} tokens of context"

    def most_bytes(self, base: Path, parameters: int, overhead: int) -> int:
        """What the file may take; `overhead` is what it holds besides tensor data: header and padding.

        For a device: weights and an F16 cache of one sequence, a tenth more for what is computed, within the memory
        that a model may use there.
        """
        if self.size is not None:
            return self.size
        if self.bits_per_weight is not None:
            return int(self.bits_per_weight * parameters / 8) + overhead
        from edgellm.engines.gguf.cache_size import cache_bytes
        from edgellm.engines.gguf.header import read_header

        assert self.device is not None
        return room_bytes(self.device) - cache_bytes(read_header(base), self.context_tokens)

"""A model known by its configuration alone: the list of its tensors, and what llama.cpp's quantizer would make of each.

The quantizer plans from a file's head, so it is shown one whose weights are a hole in the file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any

import gguf
import numpy as np

from edgellm.engines.gguf import quantize as quantizer
from edgellm.engines.gguf import quantize_plan
from edgellm.engines.gguf.cache_size import cache_bytes
from edgellm.engines.gguf.child import Child
from edgellm.engines.gguf.convert import add_family_metadata
from edgellm.engines.gguf.header import read_header
from edgellm.engines.gguf.imatrix_file import Entry, Imatrix
from edgellm.engines.gguf.imatrix_transfer import send_values
from edgellm.engines.gguf.reader import padded
from edgellm.engines.gguf.types import TENSOR_TYPES, TensorType, file_type
from edgellm.families import family_of
from edgellm.families.family import Config

UNUSED = Imatrix({"none": Entry(np.ones((1, 1), np.float32), np.ones(1, np.float32))}, 0, 512)


@dataclass(frozen=True)
class Shaped:
    """One tensor: `shape` is NumPy's (rows before columns), `type` how it is stored."""

    name: str
    shape: tuple[int, ...]
    type: TensorType

    @property
    def elements(self) -> int:
        return prod(self.shape)

    @property
    def size_bytes(self) -> int:
        return self.type.size_bytes(self.shape[-1], self.elements // self.shape[-1])


def shaped(config: Config) -> list[Shaped]:
    """The base artifact's tensors in F32, in the file's order; raises what the family says of the configuration."""
    family = family_of(config["architectures"][0])
    family.check(config)
    tables = [Shaped(name, table.shape, TENSOR_TYPES["F32"]) for name, table in family.tables(config).items()]
    return tables + [Shaped(w.name, w.shape, TENSOR_TYPES[w.type or "F32"]) for w in family.weights(config)]


def write_head(path: Path, config: Config, tensors: Sequence[Shaped], name: str, file_type_number: int) -> int:
    """Write metadata and index of a GGUF without a vocabulary; returns the bytes at which tensor data begins."""
    family = family_of(config["architectures"][0])
    writer = gguf.GGUFWriter(path, family.gguf_architecture)
    try:
        for tensor in tensors:
            # The number of the type is only written; the library has no names for the newest ones.
            number: Any = tensor.type.number
            writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), tensor.size_bytes, number)
        writer.add_name(f"{name} (random weights)")
        writer.add_file_type(file_type_number)
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        values = {"vocab_size": family.sizes(config).vocab_tokens} | family.metadata(config)
        add_family_metadata(writer, family.gguf_architecture, values)
        writer.add_tokenizer_model("no_vocab")
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        assert writer.fout is not None
        writer.write_padding(writer.fout[0], writer.fout[0].tell())
        return writer.fout[0].tell()
    finally:
        writer.close()


def data_bytes(tensors: Sequence[Shaped]) -> int:
    return sum(padded(t.size_bytes) for t in tensors)


class ShapePlanner:
    """Asks llama.cpp's quantizer, in one child process, what it would make of models of given shapes."""

    def __init__(self, config: Config, name: str) -> None:
        self.config = config
        self.tensors = shaped(config)
        self._folder = tempfile.TemporaryDirectory(prefix="edgellm-shape-")
        self._source = Path(self._folder.name) / "shape.gguf"
        self.header_bytes = write_head(self._source, config, self.tensors, name, 0)
        with open(self._source, "r+b") as file:
            file.truncate(self.header_bytes + data_bytes(self.tensors))  # a hole: it takes no room
        self._child = Child(quantizer.CHILD, f"planning {name}")

    def plan(
        self, type_name: str, tensor_types: Mapping[str, str], *, calibrated: bool, allow_fallback: bool = False
    ) -> list[Shaped]:
        """What each tensor becomes, by the same rules and with the same errors as `quantize`.

        calibrated: whether an importance matrix will be given, which changes some of llama.cpp's mixtures.
        """
        patterns = quantize_plan.by_pattern(tensor_types)
        order = quantizer.Order(self._source, file_type(type_name), patterns, UNUSED if calibrated else None, 1)
        send_values(self._child, order.values)
        out = Path(self._folder.name) / "none.gguf"
        plan = quantizer.fitting_plan(self._child, order, out, allow_fallback=allow_fallback)
        return [Shaped(t.name, t.shape, TENSOR_TYPES[plan[t.name].target]) for t in self.tensors]

    def cache_bytes(self, context_tokens: int) -> int:
        """What a sequence of so many tokens needs beside the weights."""
        return cache_bytes(read_header(self._source), context_tokens)

    def __enter__(self) -> ShapePlanner:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._child.__exit__(kind, value, tb)
        self._folder.cleanup()

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
from edgellm.engines.gguf.convert import add_family_metadata, write_metadata
from edgellm.engines.gguf.header import read_header
from edgellm.engines.gguf.imatrix_file import Entry, Imatrix
from edgellm.engines.gguf.imatrix_transfer import send_values
from edgellm.engines.gguf.pooling import pooling_type
from edgellm.engines.gguf.reader import padded
from edgellm.engines.gguf.types import TENSOR_TYPES, TensorType, file_type
from edgellm.engines.gguf.vocabulary import read_vocabulary
from edgellm.families import family_of
from edgellm.families.family import Config
from edgellm.store.checkpoint import open_checkpoint

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
        add_index(writer, tensors)
        writer.add_name(f"{name} (random weights)")
        writer.add_file_type(file_type_number)
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        values = {"vocab_size": family.sizes(config).vocab_tokens} | family.metadata(config)
        add_family_metadata(writer, family.gguf_architecture, values)
        writer.add_tokenizer_model("no_vocab")
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        return end_head(writer)
    finally:
        writer.close()


def write_checkpoint_head(
    path: Path, checkpoint: Path, tensors: Sequence[Shaped], file_type_number: int, extra: Mapping[str, int | str]
) -> int:  # fmt: skip
    """The same with everything that a conversion of this checkpoint writes, its vocabulary too, and with the keys
    `extra`, which the quantizer adds; raises as `convert`."""
    source = open_checkpoint(checkpoint)
    family = family_of(source.architecture)
    vocabulary = read_vocabulary(checkpoint, family.sizes(source.config).vocab_tokens)
    writer = gguf.GGUFWriter(path, family.gguf_architecture)
    try:
        add_index(writer, tensors)
        write_metadata(writer, source, family, file_type_number, vocabulary, pooling_type(checkpoint), extra)
        return end_head(writer)
    finally:
        writer.close()


def add_index(writer: gguf.GGUFWriter, tensors: Sequence[Shaped]) -> None:
    for tensor in tensors:
        # The number of the type is only written; the library has no names for the newest ones.
        number: Any = tensor.type.number
        writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), tensor.size_bytes, number)


def end_head(writer: gguf.GGUFWriter) -> int:
    """Write the index, and fill up to where tensor data begins, which is given back."""
    writer.write_ti_data_to_file()
    assert writer.fout is not None
    writer.write_padding(writer.fout[0], writer.fout[0].tell())
    end: int = writer.fout[0].tell()
    return end


def data_bytes(tensors: Sequence[Shaped]) -> int:
    return sum(padded(t.size_bytes) for t in tensors)


def with_hole(path: Path, head_bytes: int, tensors: Sequence[Shaped]) -> Path:
    """Lengthen a head to the size of the whole file; a hole takes no room on the disk."""
    with open(path, "r+b") as file:
        file.truncate(head_bytes + data_bytes(tensors))
    return path


class ShapePlanner:
    """Asks llama.cpp's quantizer, in one child process, what it would make of models of given shapes."""

    def __init__(self, config: Config, name: str) -> None:
        self.config = config
        self.tensors = shaped(config)
        self._folder = tempfile.TemporaryDirectory(prefix="edgellm-shape-")
        self.source = Path(self._folder.name) / "shape.gguf"
        self._name = name
        self.header_bytes = write_head(self.source, config, self.tensors, name, 0)
        with_hole(self.source, self.header_bytes, self.tensors)
        self._child = Child(quantizer.CHILD, f"planning {name}")

    def plan(
        self, type_name: str, tensor_types: Mapping[str, str], *, calibrated: bool, allow_fallback: bool = False
    ) -> list[Shaped]:
        """What each tensor becomes, by the same rules and with the same errors as `quantize`.

        calibrated: whether an importance matrix will be given, which changes some of llama.cpp's mixtures.
        """
        patterns = quantize_plan.by_pattern(tensor_types)
        order = quantizer.Order(self.source, file_type(type_name), patterns, UNUSED if calibrated else None, 1)
        send_values(self._child, order.values)
        out = Path(self._folder.name) / "none.gguf"
        plan = quantizer.fitting_plan(self._child, order, out, allow_fallback=allow_fallback)
        return [Shaped(t.name, t.shape, TENSOR_TYPES[plan[t.name].target]) for t in self.tensors]

    def empty_file(self, tensors: Sequence[Shaped], type_name: str) -> Path:
        """A file of these tensors whose weights are a hole, for whatever reads headers and sizes; it goes with this."""
        path = Path(self._folder.name) / "planned.gguf"
        head = write_head(path, self.config, tensors, self._name, file_type(type_name).number)
        return with_hole(path, head, tensors)

    def empty_checkpoint_file(
        self, checkpoint: Path, tensors: Sequence[Shaped], type_name: str, extra: Mapping[str, int | str]
    ) -> Path:
        """The same with what `write_checkpoint_head` writes."""
        path = Path(self._folder.name) / "planned-with-vocabulary.gguf"
        return with_hole(
            path, write_checkpoint_head(path, checkpoint, tensors, file_type(type_name).number, extra), tensors
        )

    def cache_bytes(self, context_tokens: int) -> int:
        """What a sequence of so many tokens needs beside the weights."""
        return cache_bytes(read_header(self.source), context_tokens)

    def __enter__(self) -> ShapePlanner:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._child.__exit__(kind, value, tb)
        self._folder.cleanup()

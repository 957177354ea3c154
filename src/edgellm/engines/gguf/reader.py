"""GGUF's metadata and tensor index, read without the weights and without llama.cpp.

The official `gguf` reader needs 10 s for a vocabulary of 196,608 tokens, this one a tenth of a second; and
every count is checked against the bytes that are left before room is made for anything.
Format: github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, NoReturn

import gguf
import numpy as np

from edgellm.engines.gguf.types import TENSOR_TYPES
from edgellm.errors import BadInput

MAX_DIMENSIONS = 4  # of ggml tensors
MAX_NESTING = 4
HEAD_BYTES = 4 + 4 + 8 + 8  # magic, version, number of tensors, number of keys
TENSOR_INFO_MIN_BYTES = 8 + 4 + 4 + 8  # length of the name, number of dimensions, type, offset
KEY_VALUE_MIN_BYTES = 8 + 4 + 1
STRING, ARRAY = 8, 9
ALIGNMENT: int = gguf.GGUF_DEFAULT_ALIGNMENT  # bytes; llama.cpp starts every tensor that it writes at a multiple
NUMBERS = {
    0: "u1", 1: "i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", 7: "?",
    10: "<u8", 11: "<i8", 12: "<f8",
}  # fmt: skip
# ggml_type → name, weights of a block, bytes of a block; llama.cpp has types that the gguf library does not know yet.
STORED = {int(t): (t.name, *gguf.GGML_QUANT_SIZES[t]) for t in gguf.GGMLQuantizationType} | {
    t.number: (t.name, t.block_weights, t.block_bytes) for t in TENSOR_TYPES.values()
}


def padded(size_bytes: int, alignment: int = ALIGNMENT) -> int:
    """Rounded up to the next multiple of `alignment`."""
    return -(-size_bytes // alignment) * alignment


@dataclass(frozen=True)
class TensorInfo:
    """`shape` is NumPy's (rows before columns), `offset` counts bytes from the start of the file."""

    name: str
    type: str
    shape: tuple[int, ...]
    size_bytes: int
    offset: int

    @property
    def elements(self) -> int:
        return prod(self.shape)


Index = tuple[dict[str, Any], tuple[TensorInfo, ...]]


def read_index(path: Path) -> Index:
    """Metadata and tensors of a GGUF file, version 2 or 3, little-endian. Lists of numbers are NumPy arrays.

    Raises BadInput for a file that is something else, is cut short, or whose header contradicts its size.
    """
    with open(path, "rb") as f:
        magic = f.read(4)
        if magic != b"GGUF":
            found = f"begins with {magic!r}" if magic else "is empty"
            raise BadInput(f"{path} is not a GGUF file: it {found}; give one made by edgellm or llama.cpp")
        with mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return IndexReader(path, data).read()


class IndexReader:
    """Walks over the file's head; every method checks the bytes that are left before it reads."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path, self.data, self.at, self.end = path, data, 4, len(data)
        self.keys_end = HEAD_BYTES  # where the metadata ends, once it is read

    def fail(self, what: str) -> NoReturn:
        raise BadInput(f"{self.path} is damaged: {what} at byte {self.at:,} of {self.end:,}; fetch or make it again")

    def need(self, count: int, item_bytes: int, what: str) -> None:
        if count * item_bytes > self.end - self.at:
            self.fail(f"{what} does not fit into the file")

    def number(self, code: str) -> Any:
        size = struct.calcsize(f"<{code}")
        self.need(1, size, "a number")
        self.at += size
        return struct.unpack_from(f"<{code}", self.data, self.at - size)[0]

    def text(self) -> str:
        length = self.number("Q")
        self.need(length, 1, f"a text of {length:,} bytes")
        self.at += length
        # Tokens of byte-level vocabularies need not be whole characters; escapes keep them apart.
        return self.data[self.at - length : self.at].decode("utf-8", "backslashreplace")

    def texts(self, count: int) -> list[str]:
        """`text` in a loop of its own: a vocabulary has hundreds of thousands."""
        data, at, end, found = self.data, self.at, self.end, []
        length_at = struct.Struct("<Q").unpack_from
        for _ in range(count):
            if at + 8 > end:
                self.fail("a list of texts ends too early")
            length = length_at(data, at)[0]
            stop = at + 8 + length
            if stop > end:
                self.fail(f"a text of {length:,} bytes in a list does not fit into the file")
            found.append(data[at + 8 : stop].decode("utf-8", "backslashreplace"))
            at = stop
        self.at = at
        return found

    def value(self, kind: int, nesting: int = 0) -> Any:
        if kind == STRING:
            return self.text()
        if kind == ARRAY:
            return self.array(nesting)
        if kind not in NUMBERS:
            self.fail(f"unknown kind of value {kind}")
        dtype = np.dtype(NUMBERS[kind])
        self.need(1, dtype.itemsize, "a value")
        self.at += dtype.itemsize
        return np.frombuffer(self.data, dtype, 1, self.at - dtype.itemsize)[0].item()

    def array(self, nesting: int) -> Any:
        kind, count = self.number("I"), self.number("Q")
        if kind in NUMBERS:
            dtype = np.dtype(NUMBERS[kind])
            self.need(count, dtype.itemsize, f"a list of {count:,} numbers")
            self.at += count * dtype.itemsize
            return np.frombuffer(self.data, dtype, count, self.at - count * dtype.itemsize).copy()
        self.need(count, 8, f"a list of {count:,} entries")
        if kind == STRING:
            return self.texts(count)
        if nesting == MAX_NESTING:
            self.fail("lists are nested too deeply")
        return [self.value(kind, nesting + 1) for _ in range(count)]

    def read(self) -> Index:
        version = self.number("I")
        if version not in (2, 3):
            kind = "a big-endian GGUF" if version in (2 << 24, 3 << 24) else f"GGUF version {version}"
            raise BadInput(f"{self.path} is {kind}, which cannot be read; make it again with a current llama.cpp")
        tensor_count, key_count = self.number("Q"), self.number("Q")
        self.need(key_count, KEY_VALUE_MIN_BYTES, f"a table of {key_count:,} keys")
        metadata: dict[str, Any] = {}
        for _ in range(key_count):
            key = self.text()
            if key in metadata:
                self.fail(f"the key {key} stands there twice")
            metadata[key] = self.value(self.number("I"))
        self.keys_end = self.at
        self.need(tensor_count, TENSOR_INFO_MIN_BYTES, f"an index of {tensor_count:,} tensors")
        infos = [self.tensor_info() for _ in range(tensor_count)]
        alignment = metadata.get("general.alignment", ALIGNMENT)
        if type(alignment) is not int or alignment <= 0 or alignment & (alignment - 1):
            self.fail(f"the alignment {alignment!r} is no power of two")
        return metadata, tuple(self.placed(infos, alignment))

    def tensor_info(self) -> TensorInfo:
        """One entry of the index, with its offset still counted from the start of the tensor data."""
        name, dimensions = self.text(), self.number("I")
        if dimensions > MAX_DIMENSIONS:
            self.fail(f"tensor {name} has {dimensions:,} dimensions")
        columns_first = [self.number("Q") for _ in range(dimensions)]
        type_number, offset = self.number("I"), self.number("Q")
        if type_number not in STORED:
            self.fail(f"tensor {name} has the type number {type_number}, unknown to this version")
        type_name, block, block_bytes = STORED[type_number]
        if columns_first and columns_first[0] % block:
            self.fail(f"tensor {name} of type {type_name} has rows of {columns_first[0]:,} values")
        size_bytes = prod(columns_first) // block * block_bytes
        return TensorInfo(name, type_name, tuple(reversed(columns_first)), size_bytes, offset)

    def placed(self, infos: list[TensorInfo], alignment: int) -> Iterator[TensorInfo]:
        """The tensors with offsets from the start of the file; each has to follow the one before, aligned."""
        names: set[str] = set()
        data_offset = due = padded(self.at, alignment)
        for info in infos:
            offset = data_offset + info.offset
            if info.name in names:
                self.fail(f"there are two tensors {info.name}")
            names.add(info.name)
            if offset + info.size_bytes > self.end:
                raise BadInput(
                    f"{self.path} is cut short: tensor {info.name} ends at byte {offset + info.size_bytes:,} "
                    f"of {self.end:,}; fetch or make it again"
                )
            if offset != due:
                self.fail(
                    f"tensor {info.name} begins at byte {offset:,} where byte {due:,} is due, by the index that ends"
                )
            due += padded(info.size_bytes, alignment)
            yield replace(info, offset=offset)

"""The weights of an ONNX file by name, type and shape, without their data and without the onnx library.

An ONNX file is one protobuf message. Only these fields matter here, by their numbers in onnx.proto:
ModelProto.graph (7), GraphProto.initializer (5), and of TensorProto dims (1), data_type (2) and name (8).
Everything else, the data above all, is stepped over in the mapped file.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

from edgellm.errors import BadInput
from edgellm.store.protobuf import read_varint

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # protobuf wire types
_MODEL_GRAPH, _GRAPH_INITIALIZER = 7, 5
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME = 1, 2, 8

# TensorProto.DataType → the name that safetensors and GGUF use, and bits an element.
TYPES = {
    1: ("F32", 32), 2: ("U8", 8), 3: ("I8", 8), 4: ("U16", 16), 5: ("I16", 16), 6: ("I32", 32),
    7: ("I64", 64), 9: ("BOOL", 8), 10: ("F16", 16), 11: ("F64", 64), 12: ("U32", 32), 13: ("U64", 64),
    16: ("BF16", 16), 17: ("F8_E4M3", 8), 19: ("F8_E5M2", 8), 21: ("U4", 4), 22: ("I4", 4), 23: ("F4", 4),
}  # fmt: skip

_Buffer = mmap.mmap | bytes
_Span = tuple[int, int]  # first byte, and the one past the last


@dataclass(frozen=True)
class Tensor:
    """One weight of a graph."""

    name: str
    type: str
    shape: tuple[int, ...]
    bits: int  # of one element

    @property
    def elements(self) -> int:
        return prod(self.shape)

    @property
    def size_bytes(self) -> int:
        return -(-self.elements * self.bits // 8)


def read_initializers(path: Path) -> list[Tensor]:
    """The graph's stored tensors, wherever their data lies; raises BadInput if the file is no ONNX graph."""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            graphs = _spans(data, (0, len(data)), _MODEL_GRAPH)
            return [_tensor(data, span) for graph in graphs for span in _spans(data, graph, _GRAPH_INITIALIZER)]
    except (ValueError, IndexError) as error:
        raise BadInput(f"{path} is not an ONNX graph ({error}); export the checkpoint again") from error


def _tensor(data: _Buffer, span: _Span) -> Tensor:
    name, code, shape = "", 0, []
    for field, value in _fields(data, span):
        if field == _TENSOR_NAME and isinstance(value, tuple):
            name = data[slice(*value)].decode("utf-8")
        elif field == _TENSOR_TYPE and isinstance(value, int):
            code = value
        elif field == _TENSOR_DIMS:
            shape += [value] if isinstance(value, int) else _packed(data, value)
    if code not in TYPES:
        raise ValueError(f"tensor {name!r} is of data type {code}")
    kind, bits = TYPES[code]
    return Tensor(name, kind, tuple(shape), bits)


def _spans(data: _Buffer, span: _Span, wanted: int) -> Iterator[_Span]:
    for field, value in _fields(data, span):
        if field == wanted and isinstance(value, tuple):
            yield value


def _fields(data: _Buffer, span: _Span) -> Iterator[tuple[int, int | _Span]]:
    """Field numbers and values of one message; a value of bytes is given as where it lies."""
    at, end = span
    while at < end:
        key, at = read_varint(data, at)
        field, wire = key >> 3, key & 7
        if field == 0:
            raise ValueError(f"there is no protobuf field at byte {at}")
        if wire == _VARINT:
            value, at = read_varint(data, at)
            yield field, value
            continue
        length, at = read_varint(data, at) if wire == _BYTES else (_fixed_length(wire, at), at)
        if at + length > end:
            raise ValueError(f"it is cut short at byte {end}")
        yield field, (at, at + length)
        at += length


def _fixed_length(wire: int, at: int) -> int:
    if wire not in (_FIXED64, _FIXED32):
        raise ValueError(f"there is no protobuf field at byte {at}")
    return 8 if wire == _FIXED64 else 4


def _packed(data: _Buffer, span: _Span) -> list[int]:
    numbers, (at, end) = [], span
    while at < end:
        number, at = read_varint(data, at)
        numbers.append(number)
    return numbers

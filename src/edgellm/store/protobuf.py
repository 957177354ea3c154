"""Numbers as protobuf messages hold them, for the two kinds of file of which a few fields are read directly."""

from __future__ import annotations

import mmap

MAX_SHIFT = 63  # ten bytes hold 64 bits


def read_varint(data: mmap.mmap | bytes, at: int) -> tuple[int, int]:
    """A base-128 number, seven bits a byte from the lowest, and where it ends.

    Raises ValueError for one of more than ten bytes, IndexError at the end of the data.
    Format: protobuf.dev/programming-guides/encoding.
    """
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
        if shift > MAX_SHIFT:
            raise ValueError(f"a number does not end at byte {at}")

"""Models in several files: `name-00001-of-00003.gguf` and so on, as llama.cpp's tools cut and join them.

The first part holds all metadata, every part some of the tensors; `split.no`, `split.count` and
`split.tensors.count` say so in each. llama.cpp finds the others by the name of the first.
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from edgellm.engines.gguf.reader import (
    ALIGNMENT,
    HEAD_BYTES,
    STORED,
    Index,
    IndexReader,
    TensorInfo,
    padded,
    read_index,
)
from edgellm.errors import BadInput, UsageError
from edgellm.store.disk import amount, need_space

NAME = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")
U16, I32, U32 = 2, 5, 4  # GGUF's kinds of values
NUMBERS = {name: number for number, (name, _, _) in STORED.items()}
COPY_BYTES = 16 << 20


def part_name(stem: str, number: int, count: int) -> str:
    """The name of part `number`, counted from 1."""
    return f"{stem}-{number:05d}-of-{count:05d}.gguf"


def read_parts(path: Path) -> tuple[tuple[Path, ...], Index]:
    """The files of the model at `path`, one or several, and metadata and tensors of all; offsets count in each file.

    Raises UsageError for a part that is not the first, BadInput for a missing or damaged one.
    """
    metadata, tensors = read_index(path)
    count = metadata.get("split.count", 1)
    if not isinstance(count, int) or count <= 1:
        return (path,), (metadata, tensors)
    first = metadata.get("split.no", 0)
    if type(first) is not int or not 0 <= first < count:
        raise BadInput(f"split.no in {path} is {first!r}, no number of a part; fetch the model again")
    files = part_files(path, count, first)
    found = list(tensors)
    for number, file in enumerate(files[1:], start=1):
        own, more = read_index(file)
        if (own.get("split.no"), own.get("split.count")) != (number, count):
            raise BadInput(f"{file} does not say that it is part {number + 1} of {count}; fetch the model again")
        found += more
    names = {t.name for t in found}
    due = metadata.get("split.tensors.count", len(found))
    if not len(names) == len(found) == due:
        raise BadInput(
            f"the {count} parts of {path} hold {len(found)} tensors, {len(names)} of them different, where {due} are "
            "due; fetch them again from one place"
        )
    return files, (metadata, tuple(found))


def part_files(path: Path, count: int, number: int) -> tuple[Path, ...]:
    """The files of all parts, from the first one's; `number` is what `path` calls itself, from 0."""
    named = NAME.fullmatch(path.name)
    if named is None or int(named["count"]) != count or int(named["number"]) != number + 1:
        raise BadInput(
            f"{path} is part {number + 1} of {count} of a model, and parts are found by their names: call it "
            f"{part_name('NAME', number + 1, count)}, and the others alike"
        )
    files = tuple(path.with_name(part_name(named["stem"], n + 1, count)) for n in range(count))
    if number != 0:
        raise UsageError(f"{path} is part {number + 1} of {count} of a split model; name its first part, {files[0]}")
    if missing := [file for file in files if not file.is_file()]:
        raise BadInput(f"{missing[0]} is missing, one of the {count} parts of the model {path}; fetch it too")
    return files


def split(
    source: Path, folder: Path, stem: str, max_bytes: int, on_progress: Callable[[int, int], None] | None = None
) -> list[Path]:  # fmt: skip
    """Write the GGUF file `source` as parts of at most `max_bytes` each into `folder`; gives them in order.

    on_progress: called with (bytes of tensors copied, bytes in all). Raises UsageError where a tensor alone is
    larger, NoSpace before anything is written.
    """
    with open(source, "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data:
        reader = IndexReader(source, data)
        metadata, tensors = reader.read()
        keys = data[HEAD_BYTES : reader.keys_end]
    alignment = int(metadata.get("general.alignment", ALIGNMENT))
    groups = grouped(source, tensors, len(keys), alignment, max_bytes)
    need_space(folder, source.stat().st_size + len(groups) * (64 << 10), f"the parts of {source.name}")
    paths, total, done = [], sum(t.size_bytes for t in tensors), 0
    with open(source, "rb") as whole:
        for number, group in enumerate(groups):
            own = {
                "split.no": (U16, number),
                "split.count": (U16, len(groups)),
                "split.tensors.count": (I32, len(tensors)),
            }
            if number > 0:
                own["general.alignment"] = (U32, alignment)
            raw, count = (keys, len(metadata)) if number == 0 else (b"", 0)
            paths.append(folder / part_name(stem, number + 1, len(groups)))
            with open(paths[-1], "xb") as out:
                write_head(out, raw, count, own, group, alignment)
                for tensor in group:
                    copy(whole, out, tensor, alignment)
                    done += tensor.size_bytes
                    if on_progress is not None:
                        on_progress(done, total)
    return paths


def grouped(
    source: Path, tensors: Sequence[TensorInfo], key_bytes: int, alignment: int, max_bytes: int
) -> list[list[TensorInfo]]:
    """The tensors in their order, cut so that no file is larger than `max_bytes`."""
    groups: list[list[TensorInfo]] = [[]]
    own_bytes = HEAD_BYTES + 256 + alignment  # of a part's head: its own keys, and the padding behind it
    size = own_bytes + key_bytes
    for tensor in tensors:
        more = len(info(tensor, 0)) + padded(tensor.size_bytes, alignment)
        # Metadata may fill the first part: then it holds no tensor.
        if (groups[-1] or len(groups) == 1) and size + more > max_bytes:
            groups.append([])
            size = own_bytes
        size += more
        if size > max_bytes:
            raise UsageError(
                f"{tensor.name} of {source.name} alone needs a part of {amount(size)}, more than {amount(max_bytes)}; "
                "give a larger --split-max-size"
            )
        groups[-1].append(tensor)
    if own_bytes + key_bytes > max_bytes:
        raise UsageError(
            f"the metadata of {source.name} alone needs a part of {amount(own_bytes + key_bytes)}, more than "
            f"{amount(max_bytes)}; give a larger --split-max-size"
        )
    return groups


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def info(tensor: TensorInfo, offset: int) -> bytes:
    """A tensor's entry in the index; `offset` counts from the start of the tensor data."""
    dimensions = struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *reversed(tensor.shape))
    return text(tensor.name) + dimensions + struct.pack("<IQ", NUMBERS[tensor.type], offset)


def write_head(
    out: BinaryIO, raw: bytes, count: int, own: Mapping[str, tuple[int, int]], tensors: Sequence[TensorInfo],
    alignment: int,
) -> None:  # fmt: skip
    """All before the tensor data: `count` keys as they stand in the source, a part's own keys, the index."""
    codes = {U16: "H", U32: "I", I32: "i"}
    out.write(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), count + len(own)) + raw)
    for key, (kind, value) in own.items():
        out.write(text(key) + struct.pack(f"<I{codes[kind]}", kind, value))
    offset = 0
    for tensor in tensors:
        out.write(info(tensor, offset))
        offset += padded(tensor.size_bytes, alignment)
    out.write(bytes(-out.tell() % alignment))


def copy(source: BinaryIO, out: BinaryIO, tensor: TensorInfo, alignment: int) -> None:
    source.seek(tensor.offset)
    left = tensor.size_bytes
    while left:
        block = source.read(min(left, COPY_BYTES))
        out.write(block)
        left -= len(block)
    out.write(bytes(-tensor.size_bytes % alignment))

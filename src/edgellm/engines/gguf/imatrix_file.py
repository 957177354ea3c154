"""llama.cpp's importance matrix as a GGUF file: raw sums of squared inputs and counts, per weight and expert.

The layout is that of llama.cpp's `tools/imatrix`: for each weight the float32 tensors `<weight>.in_sum2`,
shape (matrices, inputs), and `<weight>.counts`, shape (matrices, 1). Newer tools add further tensors
(`.in_sum`, `.stats`); they are derived from other sums and are skipped here, as llama-quantize skips them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgellm.errors import BadInput
from edgellm.store.atomic import file_aside

Floats = NDArray[np.float32]
SUMS, COUNTS = ".in_sum2", ".counts"
LONGEST_NAME = 63  # bytes of a tensor name that ggml keeps


@dataclass(frozen=True)
class Entry:
    """What was seen at the input of one weight.

    in_sum2: (matrices, inputs), sums of squares over rows; one matrix an expert, one for a dense weight.
    counts: (matrices,), rows (tokens) that went in.
    """

    in_sum2: Floats
    counts: Floats

    def values(self) -> Floats:
        """Mean squared inputs, (matrices, inputs): sums / counts, and ones for a matrix that saw nothing.

        Counts are rounded to whole numbers first. This is what llama-quantize hands to the quantizer.
        """
        counts = np.rint(self.counts)[:, None]
        seen = counts > 0
        return np.where(seen, self.in_sum2 / np.where(seen, counts, 1), 1).astype(np.float32)


@dataclass(frozen=True)
class Imatrix:
    """An importance matrix: one Entry a weight, and what it was computed on."""

    entries: Mapping[str, Entry]
    chunk_count: int
    chunk_tokens: int
    datasets: Sequence[str] = ()
    file_name: str = "imatrix.gguf"  # quantized files name it in their metadata

    def values(self) -> dict[str, Floats]:
        """What the quantizer takes, by weight; see Entry.values."""
        return {name: entry.values() for name, entry in self.entries.items()}


def read_imatrix(path: Path) -> Imatrix:
    """Read a GGUF importance matrix, ours or llama-imatrix's.

    Raises BadInput if the file is no such thing, lacks its metadata, or holds sums without counts.
    """
    from gguf import GGUFReader

    try:
        reader = GGUFReader(path)
        tensors = {t.name: t for t in reader.tensors}
    except (OSError, ValueError, KeyError, IndexError) as e:
        raise BadInput(
            f"{path} is not a GGUF importance matrix ({e}); make one with `edgellm calibrate`, "
            "or convert an old .dat with llama-imatrix --output-format gguf"
        ) from e
    missing = [key for key in ("datasets", "chunk_count", "chunk_size") if f"imatrix.{key}" not in reader.fields]
    if missing:
        raise BadInput(f"{path} is a GGUF file but no importance matrix: it lacks imatrix.{missing[0]}; give another")
    weights = sorted({stem for name in tensors for s in (SUMS, COUNTS) if (stem := name.removesuffix(s)) != name})
    entries = {}
    for weight in weights:
        pair = [tensors.get(weight + suffix) for suffix in (SUMS, COUNTS)]
        if any(t is None or t.tensor_type.name != "F32" for t in pair):
            raise BadInput(
                f"{path} does not hold both {SUMS[1:]} and {COUNTS[1:]} as F32 for {weight}: make the matrix again"
            )
        sums, counts = (np.array(t.data, dtype=np.float32) for t in pair if t is not None)
        entries[weight] = checked(path, weight, sums, counts.reshape(-1))
    return Imatrix(
        entries,
        chunk_count=int(reader.fields["imatrix.chunk_count"].contents()),
        chunk_tokens=int(reader.fields["imatrix.chunk_size"].contents()),
        datasets=tuple(name for name in reader.fields["imatrix.datasets"].contents() if name),
        file_name=path.name,
    )


def checked(path: Path, weight: str, sums: Floats, counts: Floats) -> Entry:
    """An Entry with sums of shape (matrices, inputs); raises BadInput where sums and counts do not match."""
    if counts.size == 0 or sums.size == 0 or sums.size % counts.size:
        raise BadInput(f"{path} has {sums.size} sums for {counts.size} matrices of {weight}: make the matrix again")
    if not (np.isfinite(sums).all() and np.isfinite(counts).all()):
        raise BadInput(f"{path} holds values for {weight} that are not finite numbers: make the matrix again")
    return Entry(sums.reshape(counts.size, -1), counts)


def write_imatrix(path: Path, imatrix: Imatrix, datasets: Sequence[str] | None = None) -> None:
    """Write `imatrix` so that llama-quantize and llama-imatrix read it; `datasets` replaces its own names.

    Written aside, then renamed. Raises BadInput for a weight whose name is too long for ggml.
    """
    from gguf import GGUFWriter

    with file_aside(path) as aside:
        writer = GGUFWriter(aside, arch="")
        writer.kv_data[0].pop("general.architecture", None)  # an importance matrix has none
        writer.add_string("general.type", "imatrix")
        # llama-quantize wants the key even without names, and the writer drops an empty array.
        writer.add_array("imatrix.datasets", list(imatrix.datasets if datasets is None else datasets) or [""])
        writer.add_uint32("imatrix.chunk_count", imatrix.chunk_count)
        writer.add_uint32("imatrix.chunk_size", imatrix.chunk_tokens)
        for weight in sorted(imatrix.entries):
            if len((weight + SUMS).encode()) > LONGEST_NAME:
                raise BadInput(f"the weight name {weight!r} is too long for an importance matrix; shorten it")
            entry = imatrix.entries[weight]
            writer.add_tensor(weight + SUMS, np.ascontiguousarray(entry.in_sum2, dtype=np.float32))
            writer.add_tensor(weight + COUNTS, np.ascontiguousarray(entry.counts, dtype=np.float32).reshape(-1, 1))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def merge(*matrices: Imatrix) -> Imatrix:
    """One matrix from several of the same model: sums and counts added, as llama-imatrix --in-file does.

    Raises BadInput if the same weight has different shapes, or if the chunk lengths differ.
    """
    return reduce(_merge_two, matrices)


def _merge_two(a: Imatrix, b: Imatrix) -> Imatrix:
    if a.chunk_tokens != b.chunk_tokens:
        raise BadInput(
            f"importance matrices over chunks of {a.chunk_tokens} and {b.chunk_tokens} tokens do not add up; "
            "calibrate both with the same chunk length"
        )
    entries = dict(a.entries)
    for weight, entry in b.entries.items():
        mine = entries.get(weight)
        if mine is None:
            entries[weight] = entry
        elif mine.in_sum2.shape != entry.in_sum2.shape:
            raise BadInput(f"two importance matrices disagree on the shape of {weight}; are they of one model?")
        else:
            entries[weight] = Entry(mine.in_sum2 + entry.in_sum2, mine.counts + entry.counts)
    return Imatrix(entries, a.chunk_count + b.chunk_count, a.chunk_tokens, (*a.datasets, *b.datasets))

"""A Hugging Face checkpoint folder, read without torch: its configuration, and its tensors one at a time.

Opening a checkpoint of any size costs its headers only; weights are read when they are asked for, some rows at a
time. Format of a shard: 8 bytes little-endian header length, a JSON header (`name → {dtype, shape, data_offsets}`),
then the tensors (github.com/huggingface/safetensors, "Format").
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgellm.errors import BadInput
from edgellm.store import digest, fp8

# NumPy has no bfloat16 and no float8: such tensors are handed out as unsigned integers of the same bits.
DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "F8_E4M3": "u1", "F8_E5M2": "u1",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip
HEADER_LIMIT_BYTES = 100_000_000  # the safetensors library's own limit
# Files beside the weights that decide what a conversion yields: configuration, tokenizer, template.
DECIDING_SUFFIXES = {".json", ".jsonl", ".jinja", ".model", ".txt"}
POOLING_FILE = "1_Pooling/config.json"  # of sentence-transformers, for embedding models


@dataclass(frozen=True)
class StoredTensor:
    """Where one tensor lies. `dtype` is safetensors' name for it, `offset` counts from the file's start.

    A tensor in float8 that means something only by its `scales` has one of these for each block of (rows, columns).
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    offset: int
    scales: StoredTensor | None = None
    block: tuple[int, int] = (1, 1)

    @property
    def elements(self) -> int:
        return prod(self.shape)

    @property
    def size_bytes(self) -> int:
        return self.elements * np.dtype(DTYPES[self.dtype]).itemsize

    def read(self, rows: slice = slice(None)) -> NDArray[Any]:
        """The stored values, all or some along the first axis; bf16 comes as uint16, float8 as uint8."""
        if not self.shape:
            return np.fromfile(self.file, DTYPES[self.dtype], 1, offset=self.offset).reshape(())
        first, last, _ = rows.indices(self.shape[0])
        count, row = max(0, last - first), prod(self.shape[1:])
        dtype = np.dtype(DTYPES[self.dtype])
        found = np.fromfile(self.file, dtype, count * row, offset=self.offset + first * row * dtype.itemsize)
        return found.reshape(count, *self.shape[1:])

    def read_float32(self, rows: slice = slice(None)) -> NDArray[np.float32]:
        """The values in float32 (exact, except for F64), all or some along the first axis.

        Raises BadInput where the numbers mean nothing without scales or are not floating point.
        """
        stored = self.read(rows)
        if self.dtype == "BF16":  # bf16 is the upper half of a float32
            return (stored.astype(np.uint32) << np.uint32(16)).view(np.float32)
        if self.dtype in ("F32", "F16", "F64"):
            return np.asarray(stored, np.float32)
        if self.scales is not None:
            return fp8.scaled(stored, self.scales.read_float32(), self.block, rows.indices(self.shape[0])[0])
        raise BadInput(
            f"tensor {self.name} in {self.file} is stored as {self.dtype}, which is no plain floating-point "
            "type; use the checkpoint with the original weights (BF16, F16 or F32)"
        )


@dataclass(frozen=True)
class Checkpoint:
    folder: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, StoredTensor]

    @property
    def architecture(self) -> str:
        return architecture_of(self.config, self.folder / "config.json")

    @property
    def parameters(self) -> int:
        return sum(self.weights_in(name) for name in self.tensors)

    def weights_in(self, name: str) -> int:
        """Weights that a tensor holds; of MXFP4 a byte of blocks holds two, and scales are none."""
        if name.removesuffix("_scales") + "_blocks" in self.tensors:
            return 0
        return self.tensors[name].elements * (2 if name.endswith("_blocks") else 1)

    @property
    def size_bytes(self) -> int:
        return sum(t.size_bytes for t in self.tensors.values())

    def digests(self, on_progress: Callable[[int, int], None] | None = None) -> dict[str, str]:
        """SHA-256 by name of every file that decides what a conversion yields; `on_progress` counts bytes."""
        parts = [part for t in self.tensors.values() for part in (t, t.scales) if part is not None]
        shards = {part.file for part in parts}
        beside = {
            p for p in self.folder.iterdir() if p.is_file() and (p.suffix in DECIDING_SUFFIXES or p.name == "README.md")
        }
        if (self.folder / POOLING_FILE).is_file():
            beside.add(self.folder / POOLING_FILE)
        files = sorted(shards | beside)
        names = [p.relative_to(self.folder).as_posix() for p in files]
        return dict(zip(names, digest.of_files(files, on_progress), strict=True))

    def digest(self, on_progress: Callable[[int, int], None] | None = None) -> str:
        """One digest over `digests()`: it changes with the weights, the configuration or the tokenizer."""
        return digest.of_value(self.digests(on_progress))


def architecture_of(config: Mapping[str, Any], where: Path | str) -> str:
    """The class that config.json names first, such as `LlamaForCausalLM`; raises BadInput without one.

    `where` is how the error calls config.json.
    """
    names = config.get("architectures")
    if isinstance(names, list) and names and isinstance(names[0], str):
        return names[0]
    raise BadInput(f'{where} names no class under "architectures"; give the whole checkpoint')


def open_checkpoint(folder: Path) -> Checkpoint:
    """Read the configuration and the tensor index of a checkpoint folder; no weight is read.

    Raises BadInput for a missing or damaged `config.json`, a missing shard, a shard that is cut short or
    whose header does not fit it, and an index that disagrees with the shards.
    """
    config = read_json(folder / "config.json")
    index_file = folder / "model.safetensors.index.json"
    if index_file.is_file():
        tensors = _tensors_of_shards(folder, index_file)
    elif (folder / "model.safetensors").is_file():
        tensors = read_shard(folder / "model.safetensors")
    else:
        raise BadInput(f"{folder} holds no model.safetensors; give a folder with the weights in safetensors files")
    if block := fp8.block_shape(config):
        tensors = with_scales(tensors, block)
    if (folder / POOLING_FILE).is_file() and not any(name.startswith("model.") for name in tensors):
        # Embedding models are mostly saved without the head, and so without this before the name of every tensor.
        tensors = {f"model.{name}": tensor for name, tensor in tensors.items()}
    return Checkpoint(folder, config, tensors)


def with_scales(tensors: Mapping[str, StoredTensor], block: tuple[int, int]) -> dict[str, StoredTensor]:
    """The tensors of an FP8 checkpoint, its scales no longer among them but with the weights that they belong to.

    Raises BadInput for scales that do not fit their weight.
    """
    found = dict(tensors)
    for name, weight in tensors.items():
        if name + fp8.SCALES_SUFFIX not in tensors:
            continue
        scale = found.pop(name + fp8.SCALES_SUFFIX)
        blocks = tuple(-(-n // size) for n, size in zip(weight.shape, block, strict=False))
        if weight.dtype != "F8_E4M3" or len(weight.shape) != 2 or scale.shape != blocks:
            raise BadInput(
                f"tensor {scale.name} in {scale.file} of shape {scale.shape} does not fit {name}, {weight.dtype} of "
                f"shape {weight.shape}, in blocks of {block[0]} × {block[1]}; fetch the checkpoint again"
            )
        found[name] = replace(weight, scales=scale, block=block)
    return found


def _tensors_of_shards(folder: Path, index_file: Path) -> dict[str, StoredTensor]:
    places = read_json(index_file).get("weight_map")
    if not isinstance(places, dict) or not all(_is_plain_name(v) for v in places.values()):
        raise BadInput(f"{index_file} has no usable weight_map; fetch it again")
    tensors: dict[str, StoredTensor] = {}
    for shard in sorted(set(places.values())):
        if not (folder / shard).is_file():
            raise BadInput(f"{folder} lacks the shard {shard} that {index_file.name} names; fetch it again")
        tensors |= read_shard(folder / shard)
    for name, shard in places.items():
        if name not in tensors or tensors[name].file.name != shard:
            raise BadInput(
                f"{folder / shard} does not hold the tensor {name} that {index_file.name} promises; fetch both again"
            )
    return {name: tensors[name] for name in places}


def _is_plain_name(value: object) -> bool:
    """A file name without folders: an index must not lead out of its folder."""
    return isinstance(value, str) and Path(value).name == value and value != ".."


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; raises BadInput if the file is missing or holds anything else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{path.parent} holds no {path.name}; give a whole Hugging Face checkpoint folder") from None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise BadInput(f"{path} is not a JSON object; fetch it again")
    return value


def read_shard(file: Path) -> dict[str, StoredTensor]:
    """The tensors of a safetensors file, by name; raises BadInput unless each lies whole inside the file."""
    size = file.stat().st_size
    with open(file, "rb") as f:
        length = int.from_bytes(f.read(8), "little")
        if size < 8 or length > min(size - 8, HEADER_LIMIT_BYTES):
            raise BadInput(f"{file} is no safetensors file or is cut short within its header; fetch it again")
        try:
            header = json.loads(f.read(length))
        except (ValueError, RecursionError):
            header = None
    if not isinstance(header, dict):
        raise BadInput(f"the header of {file} is not a JSON object; fetch the file again")
    header.pop("__metadata__", None)
    tensors = {name: _stored_tensor(name, entry, file, 8 + length, size) for name, entry in header.items()}
    _check_gapless(file, tensors, 8 + length, size)
    return tensors


def _check_gapless(file: Path, tensors: Mapping[str, StoredTensor], begin: int, end: int) -> None:
    """Raise BadInput unless the tensors fill the data part in some order, as the format demands."""
    for tensor in sorted(tensors.values(), key=lambda t: (t.offset, t.size_bytes)):
        if tensor.offset != begin:
            raise BadInput(
                f"the header of {file} is wrong: tensor {tensor.name} begins at byte {tensor.offset} where byte "
                f"{begin} is due; fetch the file again"
            )
        begin += tensor.size_bytes
    if begin != end:
        raise BadInput(f"{file} goes on to byte {end} after its last tensor ends at {begin}; fetch the file again")


def _stored_tensor(name: str, entry: Any, file: Path, data_offset: int, file_bytes: int) -> StoredTensor:
    try:
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        whole = all(type(n) is int and n >= 0 for n in (*shape, begin, end))
    except (KeyError, TypeError, ValueError):
        dtype, whole = None, False
    if whole and not (isinstance(dtype, str) and dtype in DTYPES):
        raise BadInput(
            f"tensor {name} in {file} is of type {dtype}, which is none of {', '.join(DTYPES)}; fetch the file again, "
            "or give a checkpoint in one of these"
        )
    if not whole or prod(shape) * np.dtype(DTYPES[dtype]).itemsize != end - begin:
        raise BadInput(
            f"the header of {file} contradicts itself on the shape, type and bytes of tensor {name}; "
            "fetch the file again"
        )
    if data_offset + end > file_bytes:
        raise BadInput(
            f"{file} is cut short: tensor {name} ends at byte {data_offset + end} of {file_bytes}; fetch the file again"
        )
    return StoredTensor(name, dtype, tuple(shape), file, data_offset + begin)

"""Ways to spoil a good model: each function gives one that makes the spoilt copy in a folder and gives its path."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGUFValueType
from safetensors.numpy import load_file, save_file

from edgellm.engines.gguf.convert import convert
from edgellm.engines.gguf.imatrix_file import Entry, Imatrix, write_imatrix
from edgellm.engines.gguf.reader import read_index
from edgellm.records.manifest import Manifest
from edgellm.records.results import Verdict
from edgellm.stages.bundle import MANIFEST, entries
from tiny_checkpoints import TOKENIZER_FILES, random_llama
from tiny_onnx import hand_graph

Q_PROJ = "model.layers.0.self_attn.q_proj.weight"


@dataclass(frozen=True)
class Good:
    """One small model in three forms, all sound."""

    checkpoint: Path
    gguf: Path
    bundle: Path


Spoiler = Callable[[Path, Good], Path]


def good_models(folder: Path) -> Good:
    checkpoint = random_llama(folder / "checkpoint", layers=1, hidden=64, heads=2, kv_heads=1, ffn=64)
    convert(checkpoint, folder / "model.gguf", "F16")
    bundle = folder / "bundle"
    (bundle / "tokenizer").mkdir(parents=True)
    shutil.copy(folder / "model.gguf", bundle)
    for name in TOKENIZER_FILES:
        shutil.copy(checkpoint / name, bundle / "tokenizer")
    manifest = Manifest(
        name="small", family="llama", format="gguf", type="F16", artifact="model.gguf", tokenizer="tokenizer",
        licence="none", source={}, parameters=1, size_bytes=1, bits_per_weight=16, recipe="default", gate=None,
        verdict=Verdict(passed=True, checks=[]), fidelity=None, lineage=[], files=entries(bundle), created="now",
    )  # fmt: skip
    (bundle / MANIFEST).write_text(manifest.model_dump_json())
    return Good(checkpoint, folder / "model.gguf", bundle)


def file(name: str, content: bytes | str) -> Spoiler:
    """A single file with this content."""

    def make(folder: Path, good: Good) -> Path:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return folder / name

    return make


def gguf_cut(keep: Callable[[int, int], int]) -> Spoiler:
    """The GGUF's first `keep(where tensor data begins, size)` bytes."""

    def make(folder: Path, good: Good) -> Path:
        data, begin = good.gguf.read_bytes(), read_index(good.gguf)[1][0].offset
        return file("cut.gguf", data[: keep(begin, len(data))])(folder, good)

    return make


def gguf_index(field: int, code: str, value: int) -> Spoiler:
    """Another value in the index's entry of the matrix blk.0.attn_q.weight; `field` counts bytes after its name."""

    def make(folder: Path, good: Good) -> Path:
        data, name = bytearray(good.gguf.read_bytes()), b"blk.0.attn_q.weight"
        struct.pack_into(code, data, data.index(struct.pack("<Q", len(name)) + name) + 8 + len(name) + field, value)
        return file("lying.gguf", bytes(data))(folder, good)

    return make


DIMENSIONS, COLUMNS, ROWS, TYPE, OFFSET = 0, 4, 12, 20, 24  # of a matrix: fields for `gguf_index`


def gguf_values(values: Mapping[str, Any], tensors: Callable[[str], str] = str) -> Spoiler:
    """Other metadata: a value, a function of the old one, or None to leave the key out; `tensors` renames."""

    def make(folder: Path, good: Good) -> Path:
        reader, path = gguf.GGUFReader(good.gguf), folder / "other.gguf"
        writer = gguf.GGUFWriter(path, str(values.get("general.architecture", "llama")))
        for key, old in reader.fields.items():
            if key.startswith("GGUF.") or key == "general.architecture":
                continue
            value = values.get(key, old.contents())
            value = value(old.contents()) if callable(value) else value
            if value is not None:
                items = old.types[-1] if old.types[0] == GGUFValueType.ARRAY else None
                writer.add_key_value(key, value, old.types[0], sub_type=items)
        for tensor in reader.tensors:
            writer.add_tensor(tensors(tensor.name), tensor.data, raw_dtype=tensor.tensor_type)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return make


def gguf_weights(value: float) -> Spoiler:
    """A value in the middle of the embedding, in F16."""

    def make(folder: Path, good: Good) -> Path:
        data, embedding = bytearray(good.gguf.read_bytes()), read_index(good.gguf)[1][0]
        struct.pack_into("<e", data, embedding.offset + embedding.size_bytes // 4 * 2, value)
        return file("weights.gguf", bytes(data))(folder, good)

    return make


def imatrix(folder: Path, good: Good) -> Path:
    entry = Entry(np.ones((1, 64), np.float32), np.ones(1, np.float32))
    write_imatrix(folder / "imatrix.gguf", Imatrix({"blk.0.ffn_up.weight": entry}, 1, 512))
    return folder / "imatrix.gguf"


def checkpoint(change: Callable[[Path], object]) -> Spoiler:
    def make(folder: Path, good: Good) -> Path:
        copy = shutil.copytree(good.checkpoint, folder / "checkpoint")
        change(copy)
        return copy

    return make


def config(**values: object) -> Spoiler:
    """Other values in config.json."""

    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return checkpoint(change)


def beside(*names: str, content: bytes | str | None = None) -> Spoiler:
    """Other content of files of the checkpoint, or none of them."""

    def change(folder: Path) -> None:
        for name in names:
            (folder / name).unlink(missing_ok=True)
            if content is not None:
                (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return checkpoint(change)


def sharded(folder: Path) -> Path:
    """Cut a checkpoint in two shards with an index; gives the second."""
    weights = load_file(folder / "model.safetensors")
    names = sorted(weights)
    shards = {f"model-0000{n}-of-00002.safetensors": names[n - 1 :: 2] for n in (1, 2)}
    for shard, held in shards.items():
        save_file({name: weights[name] for name in held}, folder / shard)
    (folder / "model.safetensors").unlink()
    places = {name: shard for shard, held in shards.items() for name in held}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    return folder / list(shards)[1]


def shard_twice(folder: Path) -> None:
    """The first shard under both names."""
    second = sharded(folder)
    shutil.copy(folder / "model-00001-of-00002.safetensors", second)


def shard_header(**fields: object) -> Spoiler:
    """Other fields in what the shard's header says of one matrix."""

    def change(folder: Path) -> None:
        path = folder / "model.safetensors"
        data = path.read_bytes()
        end = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:end])
        header[Q_PROJ] |= fields
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + data[end:])

    return checkpoint(change)


def shard_bytes(edit: Callable[[bytes], bytes]) -> Spoiler:
    def change(folder: Path) -> None:
        path = folder / "model.safetensors"
        path.write_bytes(edit(path.read_bytes()))

    return checkpoint(change)


def weights(edit: Callable[[dict[str, np.ndarray]], object]) -> Spoiler:
    """A sound file with other tensors in it."""

    def change(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        edit(tensors)
        save_file(tensors, folder / "model.safetensors")

    return checkpoint(change)


def one_weight(dtype: str, value: float, row: int, column: int) -> Spoiler:
    """All tensors in `dtype` (BF16 by its bits), and one value of one matrix another."""

    def change(folder: Path) -> None:
        path, header, data = folder / "model.safetensors", {}, b""
        for name, values in load_file(path).items():
            if name == Q_PROJ:
                values[row, column] = value
            stored = (values.view(np.uint32) >> 16).astype(np.uint16) if dtype == "BF16" else values.astype(dtype)
            kind = {"<f2": "F16", "<f4": "F32"}.get(dtype, dtype)
            header[name] = {
                "dtype": kind,
                "shape": values.shape,
                "data_offsets": [len(data), len(data) + stored.nbytes],
            }
            data += stored.tobytes()
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + data)

    return checkpoint(change)


def onnx_folder(change: Callable[[Path], object]) -> Spoiler:
    """A small decoder with its weights in a file beside the graph, and tokenizer files."""

    def make(folder: Path, good: Good) -> Path:
        hand_graph(folder, save_as_external_data=True, location="model.onnx_data", size_threshold=64)
        for name in TOKENIZER_FILES:
            shutil.copy(good.checkpoint / name, folder)
        change(folder)
        return folder

    return make


def bundle(change: Callable[[Path], object]) -> Spoiler:
    def make(folder: Path, good: Good) -> Path:
        copy = shutil.copytree(good.bundle, folder / "bundle")
        change(copy)
        return copy

    return make


def manifest(**values: object) -> Spoiler:
    """Other values in the manifest."""

    def change(folder: Path) -> None:
        path = folder / MANIFEST
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return bundle(change)

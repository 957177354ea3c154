"""Checkpoint → GGUF in F32, F16 or BF16, without torch, with parts of a few tensors in memory at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as TensorType

from edgellm.engines.gguf.pooling import pooling_type
from edgellm.engines.gguf.tensor_data import Block, Planned, Progress, blocks_of, write_tensors
from edgellm.engines.gguf.vocabulary import read_vocabulary
from edgellm.engines.gguf.vocabulary_record import Vocabulary
from edgellm.errors import BadInput, EdgellmError, UsageError
from edgellm.families import family_of
from edgellm.families.family import Family, PackedWeight, Value, Weight
from edgellm.store.atomic import file_aside
from edgellm.store.checkpoint import Checkpoint, open_checkpoint

FILE_TYPES = {
    "F32": (TensorType.F32, gguf.LlamaFileType.ALL_F32),
    "F16": (TensorType.F16, gguf.LlamaFileType.MOSTLY_F16),
    "BF16": (TensorType.BF16, gguf.LlamaFileType.MOSTLY_BF16),
}


def convert(checkpoint: Path, out: Path, type_name: str, on_progress: Progress | None = None) -> None:
    """Write the checkpoint folder as the GGUF file `out`, with matrices in F32, F16 or BF16.

    `on_progress(done, total)` counts bytes of tensor data. Raises UsageError for another type name,
    UnknownFamily for a class without a family file, BadInput for a checkpoint that is not whole, holds NaN or
    infinite weights or, in F16, values beyond ±65,504; `out` stays as it was then.
    """
    matrix_type, file_type = types_of(type_name)
    source = open_checkpoint(checkpoint)
    family = family_of(source.architecture)
    family.check(source.config)
    pooling = pooling_type(checkpoint)
    tensors = plan(source, family, matrix_type)
    vocabulary = read_vocabulary(checkpoint, family.sizes(source.config).vocab_tokens)
    with file_aside(out) as aside:
        writer = gguf.GGUFWriter(aside, family.gguf_architecture)
        try:
            for tensor in tensors:
                # The type counts; the NumPy type would only be used to guess it.
                writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), tensor.size_bytes, tensor.type)
            if any(tensor.type == TensorType.MXFP4 for tensor in tensors):
                file_type = gguf.LlamaFileType.MOSTLY_MXFP4_MOE
            write_metadata(writer, source, family, file_type, vocabulary, pooling)
            writer.write_ti_data_to_file()
            assert writer.fout is not None
            write_tensors(writer.fout[0], tensors, checkpoint, on_progress)
        finally:
            writer.close()


def write_metadata(
    writer: gguf.GGUFWriter, source: Checkpoint, family: Family, file_type: int,
    vocabulary: Vocabulary, pooling: gguf.PoolingType | None, extra: Mapping[str, int | str] | None = None,
) -> None:  # fmt: skip
    """Everything before the tensor index, which the writer must know already: its size tells the model's label.

    extra: further keys, which the quantizer would add. Raises BadInput for a checkpoint's file that no GGUF can hold.
    """
    checkpoint = source.folder
    with blamed_on(f"README.md or generation_config.json in {checkpoint}"):
        add_general_metadata(writer, checkpoint, file_type)
        try_to_write(writer)
    add_family_metadata(writer, family.gguf_architecture, family.metadata(source.config))
    if pooling is not None:
        writer.add_pooling_type(pooling)
    for key, value in (extra or {}).items():
        if isinstance(value, int):
            writer.add_uint32(key, value)
        else:
            writer.add_string(key, value)
    with blamed_on(f"the tokenizer in {checkpoint}"):
        vocabulary.write(writer)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()


def types_of(type_name: str) -> tuple[TensorType, gguf.LlamaFileType]:
    """The type of matrices and the file's; raises UsageError for a type that a checkpoint is not converted to."""
    try:
        return FILE_TYPES[type_name]
    except KeyError:
        known = ", ".join(FILE_TYPES)
        raise UsageError(f"a checkpoint is converted to {known}, not to {type_name}") from None


def plan(source: Checkpoint, family: Family, matrix_type: TensorType) -> list[Planned]:
    """All tensors in the file's order; raises BadInput unless the checkpoint holds exactly what they need.

    Vectors stay in F32: engines compute with them in float32, and they weigh next to nothing.
    """
    weights = needed_weights(source, family)
    tables = family.tables(source.config)
    return [
        Planned(name, table.shape, TensorType.F32, [Block(table.size, partial(np.asarray, table))])
        for name, table in tables.items()
    ] + [Planned(w.name, w.shape, stored_type(w, matrix_type), blocks_of(source, w)) for w in weights]


def stored_type(weight: Weight | PackedWeight, matrix_type: TensorType) -> TensorType:
    if weight.type is not None:
        return TensorType[weight.type]
    return matrix_type if len(weight.shape) > 1 else TensorType.F32


def needed_weights(source: Checkpoint, family: Family) -> list[Weight | PackedWeight]:
    """The family's weights, of which every tensor is there with its shape, and none is left over; raises BadInput."""
    needed: set[str] = set()
    weights = []
    for weight in family.weights(source.config):
        for name, shape in weight.inputs:
            check_tensor(source, name, shape)
            if isinstance(weight, PackedWeight) and (dtype := source.tensors[name].dtype) != "U8":
                raise BadInput(
                    f"tensor {name} in {source.folder} is stored as {dtype} where packed weights are U8; "
                    "give files of one and the same checkpoint"
                )
            needed.add(name)
        weights.append(weight)
    for name in sorted(source.tensors.keys() - needed):
        if not name.endswith(family.ignored) and not reason_to_leave_out(source, family, name):
            raise BadInput(
                f"{source.folder} holds the tensor {name}, which {source.architecture} has no place for; "
                "make a GGUF with llama.cpp's convert_hf_to_gguf.py and give that"
            )
    return weights


def reason_to_leave_out(source: Checkpoint, family: Family, name: str) -> str | None:
    if name == "lm_head.weight" and family.sizes(source.config).tied:
        return "lm_head.weight is left out, for config.json ties the output to the embedding"
    return family.left_out(source.config, name)


def notes_on(source: Checkpoint) -> list[str]:
    """What a conversion leaves out and why; raises UnknownFamily for a class without a family file."""
    family = family_of(source.architecture)
    reasons = dict.fromkeys(reason_to_leave_out(source, family, name) for name in source.tensors)
    return [f"{source.folder.name}: {reason}" for reason in reasons if reason]


def artifact_bytes(source: Checkpoint, type_name: str) -> int:
    """Bytes of all weights once converted; raises as `convert` does."""
    family = family_of(source.architecture)
    family.check(source.config)
    return sum(tensor.size_bytes for tensor in plan(source, family, types_of(type_name)[0]))


def check_tensor(source: Checkpoint, name: str, shape: tuple[int, ...]) -> None:
    if name not in source.tensors:
        raise BadInput(f"{source.folder} lacks the tensor {name} that its config.json implies; fetch it again")
    if (found := source.tensors[name].shape) != shape:
        raise BadInput(
            f"tensor {name} in {source.folder} has shape {found} where config.json implies "
            f"{shape}; give files of one and the same checkpoint"
        )


@contextmanager
def blamed_on(files: str) -> Iterator[None]:
    """What the official library stumbles over in these files, as BadInput."""
    try:
        yield
    except (EdgellmError, OSError):
        raise
    except Exception as error:  # of yaml, json and struct, which share no base
        said = " ".join(str(error).split())
        raise BadInput(f"{files} holds what no GGUF can ({said}); mend or remove it") from error


def try_to_write(writer: gguf.GGUFWriter) -> None:
    """Write the metadata so far to nowhere: the library checks a value only when it writes it."""
    trial = gguf.GGUFWriter(os.devnull, writer.arch)
    trial.kv_data = writer.kv_data
    try:
        trial.write_header_to_file()
        trial.write_kv_data_to_file()
    finally:
        trial.close()


def add_general_metadata(writer: gguf.GGUFWriter, folder: Path, file_type: int) -> None:
    """Name, licence, languages and sampling advice, from the model card and generation_config.json."""
    total, shared, expert, experts = writer.get_total_parameter_count()
    general = gguf.Metadata.load(None, folder, None, total)
    general.name = general.name or folder.name
    general.size_label = general.size_label or gguf.size_label(total, shared, expert, experts)
    writer.add_type(gguf.GGUFType.MODEL)
    general.set_gguf_meta_model(writer)
    writer.add_file_type(file_type)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def add_family_metadata(writer: gguf.GGUFWriter, architecture: str, values: Mapping[str, Value]) -> None:
    for name, value in values.items():
        key = f"{architecture}.{name}"
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        else:
            writer.add_array(key, value)

"""LoRA adapters: a PEFT folder → the GGUF adapter that llama.cpp adds to its base.

An adapter adds alpha / rank × B·A to a weight, A of shape (rank, columns) and B (rows, rank). Where the base's rows are
rearranged for llama.cpp (Llama's queries and keys, say), so are those of B.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from edgellm.engines.gguf.adapter_check import is_deaf
from edgellm.engines.gguf.tensor_data import finite_values
from edgellm.errors import BadInput, EdgellmError, UsageError
from edgellm.families import family_of
from edgellm.families.family import Config, Family, Floats, Weight
from edgellm.store.atomic import file_aside
from edgellm.store.checkpoint import StoredTensor, architecture_of, read_json, read_shard

SETTINGS, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
MODULE = re.compile(r"^base_model\.model\.(?P<module>.+)\.lora_(?P<part>[AB])\.weight$")
# Settings of PEFT that change what an adapter computes, with the values for which it is plain LoRA.
PLAIN: Mapping[str, tuple[object, ...]] = {
    "peft_type": ("LORA",),
    "use_dora": (None, False),
    "use_qalora": (None, False),
    "fan_in_fan_out": (None, False),
    "lora_bias": (None, False),
    "bias": (None, "none"),
    "modules_to_save": (None, []),
    "alpha_pattern": (None, {}),
    "layer_replication": (None, []),
    "target_parameters": (None, []),
    "trainable_token_indices": (None, []),
    "alora_invocation_tokens": (None, []),
    "arrow_config": (None, {}),
    # Other ways to begin take something away from the base, which the adapter would have to be given with.
    "init_lora_weights": (None, True, False, "gaussian", "eva", "orthogonal"),
}


@dataclass(frozen=True)
class Pair:
    """The two matrices of one module, by the name that its weight has in the checkpoint."""

    a: StoredTensor
    b: StoredTensor


def is_peft(path: Path) -> bool:
    return (path / SETTINGS).is_file()


def convert_adapter(folder: Path, base_config: Mapping[str, Any], out: Path) -> None:
    """Write the PEFT folder as the GGUF adapter `out` for a base with this config.json.

    Raises BadInput for a folder that is damaged or was trained on another base, UsageError for an adapter that
    llama.cpp cannot compute, UnknownFamily for a base that edgellm cannot convert.
    """
    alpha = alpha_of(folder)
    pairs = read_pairs(folder)
    family = family_of(architecture_of(base_config, f"the config.json of the base of {folder}"))
    family.check(base_config)
    tensors: dict[str, Floats] = {}
    left = dict(pairs)
    for weight in family.weights(base_config):
        if not isinstance(weight, Weight) or not any(source in pairs for source in weight.sources):
            continue
        if is_deaf(family.gguf_architecture, weight.name):
            raise UsageError(
                f"{folder} adapts {weight.sources[0]}, which llama.cpp computes without adapters; train without it"
            )
        found = []
        for source in weight.sources:
            if source not in pairs:
                raise BadInput(f"{folder} adapts some experts of {weight.name} but not {source}; give a whole adapter")
            found.append(arranged_pair(folder, pairs[source], weight))
            left.pop(source, None)
        a, b = found[0] if len(found) == 1 else stacked(found)
        tensors |= {f"{weight.name}.lora_a": a, f"{weight.name}.lora_b": b}
    if left:
        raise without_a_matrix(folder, min(left), family, base_config)
    write(out, folder.name, family.gguf_architecture, alpha, tensors)


def without_a_matrix(folder: Path, name: str, family: Family, base_config: Config) -> EdgellmError:
    """The error for an adapter on the checkpoint tensor `name`, which none of the base's weights is made of."""
    module = name.removesuffix(".weight")
    if name == "lm_head.weight" and family.sizes(base_config).tied:
        return UsageError(
            f"{folder} adapts lm_head, which its base ties to the embedding, so that llama.cpp has no matrix for it "
            "alone; train without it"
        )
    stored = {source for weight in family.weights(base_config) for source, _ in weight.inputs}
    if not stored.isdisjoint((module, f"{module}_blocks")):
        return UsageError(
            f"{folder} adapts {module}, which holds all experts of a layer in one tensor, and edgellm converts no "
            "adapter on such; train without it"
        )
    return BadInput(
        f"{folder} adapts {module}, of which its base has no matrix: it was trained on another; name the base that "
        "adapter_config.json names"
    )


def stacked(pairs: Sequence[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    """The experts' A as (experts, rank, columns) and B as (experts, rows, rank), of the largest rank among them.

    Smaller ones are filled up with zeros. llama.cpp divides alpha by the rank of the stack, so a B of smaller rank is
    multiplied by what its own would have given more.
    """
    rank = max(len(a) for a, _ in pairs)
    every_a, every_b = [], []
    for a, b in pairs:
        missing = rank - len(a)
        every_a.append(np.pad(a, ((0, missing), (0, 0))))
        every_b.append(np.pad(b * np.float32(rank / len(a)), ((0, 0), (0, missing))))
    return np.stack(every_a), np.stack(every_b)


def alpha_of(folder: Path) -> float:
    """The alpha of alpha / rank × B·A; raises UsageError for settings beside plain LoRA, BadInput for damage."""
    settings = read_json(folder / SETTINGS)
    for key, plain in PLAIN.items():
        if settings.get(key) not in plain:
            raise UsageError(f"{folder} has {key} {settings[key]!r}, which llama.cpp cannot compute; train plain LoRA")
    alpha, rank = (above_0(folder, settings, key) for key in ("lora_alpha", "r"))
    if not settings.get("use_rslora"):
        return alpha
    if settings.get("rank_pattern"):
        raise UsageError(f"{folder} has use_rslora with several ranks, which one alpha cannot say; train with one rank")
    return alpha * math.sqrt(rank)  # rank-stabilised LoRA divides by the root of the rank


def above_0(folder: Path, settings: Mapping[str, Any], key: str) -> float:
    value = settings.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise BadInput(f'"{key}" in {folder / SETTINGS} is {value!r}, no number above 0; fetch the adapter again')
    return float(value)


def read_pairs(folder: Path) -> dict[str, Pair]:
    """The adapter's matrices by the name of the checkpoint tensor that they adapt; raises BadInput or UsageError."""
    if not (folder / WEIGHTS).is_file():
        raise BadInput(f"{folder} holds no {WEIGHTS}; give the whole adapter, with its weights in safetensors")
    parts: dict[str, dict[str, StoredTensor]] = {}
    for name, tensor in read_shard(folder / WEIGHTS).items():
        found = MODULE.match(name)
        if found is None:
            raise UsageError(
                f"{folder / WEIGHTS} holds {name}, which is no part of a plain LoRA on a matrix; train plain LoRA, on "
                "matrices alone"
            )
        parts.setdefault(f"{found['module']}.weight", {})[found["part"]] = tensor
    for name, pair in parts.items():
        if len(pair) < 2:
            raise BadInput(f"{folder / WEIGHTS} holds one of the two matrices for {name}; fetch the adapter again")
    if not parts:
        raise BadInput(f"{folder / WEIGHTS} holds no weights; fetch the adapter again")
    return {name: Pair(pair["A"], pair["B"]) for name, pair in parts.items()}


def arranged_pair(folder: Path, pair: Pair, weight: Weight) -> tuple[Floats, Floats]:
    """A as it is, and B with its rows where llama.cpp has those of the weight; raises BadInput or UsageError."""
    source, shape = weight.inputs[0]
    rank = pair.a.shape[0] if pair.a.shape else 0
    if len(shape) != 2 or not rank or pair.a.shape != (rank, shape[1]) or pair.b.shape != (shape[0], rank):
        raise BadInput(
            f"{folder} adapts {source} with matrices of {pair.a.shape} and {pair.b.shape} where the base has {shape}: "
            "it was trained on another; name the base that adapter_config.json names"
        )
    a, b = (finite_values(part, slice(0, part.shape[0])) for part in (pair.a, pair.b))
    if weight.arrange is None:
        return a, b
    order = weight.arrange(np.arange(shape[0], dtype=np.float32)[:, None])
    rows = order.astype(np.int64)
    if order.ndim != 2 or order.shape[1] != 1 or not np.array_equal(rows, order):
        raise UsageError(f"{folder} adapts {source}, which llama.cpp holds in another form; train without it")
    return a, b[rows[:, 0]]


def write(out: Path, name: str, architecture: str, alpha: float, tensors: Mapping[str, Floats]) -> None:
    with file_aside(out) as aside:
        writer = gguf.GGUFWriter(aside, architecture)
        try:
            writer.add_type(gguf.GGUFType.ADAPTER)
            writer.add_string(gguf.Keys.General.NAME, name)
            writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
            writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
            for each, values in tensors.items():
                writer.add_tensor(each, np.ascontiguousarray(values, np.float32))
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
        finally:
            writer.close()

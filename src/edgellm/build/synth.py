"""A GGUF of a model's true shape with random weights: what its speed and memory are, before its weights may be had."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgellm.build.family_rules import with_family_rules
from edgellm.build.recipes import Choice, choose, config_of, is_calibrated, with_layers
from edgellm.engines.gguf.full_shape import Shaped, ShapePlanner, data_bytes, write_head
from edgellm.engines.gguf.header import read_header
from edgellm.engines.gguf.random_blocks import RandomBlocks
from edgellm.engines.gguf.reader import ALIGNMENT
from edgellm.engines.gguf.types import file_type
from edgellm.errors import UsageError
from edgellm.families import family_of
from edgellm.records.recipe import Recipe
from edgellm.stages import Progress, labelled
from edgellm.store.atomic import file_aside
from edgellm.store.disk import filling, need_space
from edgellm.store.lock import claimed

# Weights whose values decide whether activations stay finite and tokens apart, by a part of their name: norms of one,
# a Mamba state that decays, and little attention: random attention gives all tokens the same average, and layer by
# layer all would be routed to the same experts.
CONSTANT = {"attn_norm": 0.1, "norm": 1.0, "ssm_a": -1.0, "ssm_d": 1.0}


@dataclass(frozen=True)
class Synthetic:
    path: Path
    size_bytes: int
    parameters: int
    active_parameters: int


def synth(
    recipe: Recipe, out: Path, *, type_name: str | None = None, variant: str | None = None, stock: bool = False,
    layers: int | None = None, progress: Progress | None = None,
) -> Synthetic:  # fmt: skip
    """Write the model that the recipe describes, with its types and random weights, at `out`.

    stock: llama.cpp's own mixture of the same name, with its fallbacks, instead of the recipe's rules.
    layers: only so many of the model's layers. The vocabulary is left out: token ids go in and out.

    Raises UsageError for a recipe without a shape or an `out` that is a folder, BadInput for a shape that contradicts
    itself, UnknownFamily for a class without a family file, NoSpace before anything is written, Busy where another
    process writes there.
    """
    if out.is_dir():
        raise UsageError(f"{out} is a folder; name the file to write")
    config = config_of(recipe) if layers is None else with_layers(config_of(recipe), layers)
    choice = choose(recipe, variant, type_name)
    if choice.target_size:
        raise UsageError(
            f"the variant {variant} of {recipe.name} chooses types by the weights' sensitivity, and random ones "
            "have none; give --type instead"
        )
    with ShapePlanner(config, recipe.name) as planner:
        tensors = planned_tensors(planner, recipe, choice, stock=stock)
    total = data_bytes(tensors)
    what = f"the synthetic {recipe.name} {out}"
    with claimed(out, what):
        need_space(out.parent, total, what)
        with file_aside(out) as aside, filling(out, what):
            write_head(aside, config, tensors, recipe.name, file_type(choice.type).number)
            with labelled(progress, f"write {out.name}") as on_progress, open(aside, "ab") as file:
                for piece in contents(config, tensors):
                    file.write(piece)
                    if on_progress:
                        on_progress(min(file.tell(), total), total)
    header = read_header(out)
    return Synthetic(out, out.stat().st_size, header.parameters, header.active_parameters)


def planned_tensors(planner: ShapePlanner, recipe: Recipe, choice: Choice, *, stock: bool = False) -> list[Shaped]:
    """Every tensor with its type, as `quantize` would store the real weights; raises UsageError for types that do not
    fit."""
    types = {} if stock else with_family_rules(planner.source, file_type(choice.type).name, choice.tensor_types)
    try:
        return planner.plan(choice.type, types, calibrated=is_calibrated(recipe), allow_fallback=stock)
    except UsageError as error:
        raise UsageError(f"{choice.type} for {recipe.name}: {error}; here --stock does that") from None


def contents(config: Mapping[str, Any], tensors: list[Shaped]) -> Iterator[memoryview]:
    """The bytes of all tensors in order, each filled up to the alignment."""
    tables = family_of(config["architectures"][0]).tables(config)
    blocks = RandomBlocks()
    for tensor in tensors:
        constant = next((value for part, value in CONSTANT.items() if part in tensor.name), None)
        if tensor.name in tables:
            yield tables[tensor.name].data
        elif constant is not None and tensor.type.name == "F32":
            yield np.full(tensor.shape, constant, np.float32).data
        else:
            yield from (piece.data for piece in blocks.take(tensor.type, tensor.size_bytes))
        yield memoryview(bytes(-tensor.size_bytes % ALIGNMENT))

"""Recipes that no machine at hand can run are checked all the same: against the list of tensors of the full model."""

from __future__ import annotations

from dataclasses import dataclass

from edgellm.build.goal import parse_size, room_bytes
from edgellm.build.order import check_gates
from edgellm.build.recipes import choose, config_of, is_calibrated
from edgellm.engines.gguf.full_shape import ShapePlanner, data_bytes
from edgellm.engines.gguf.quantize_plan import by_pattern
from edgellm.engines.gguf.types import file_type
from edgellm.errors import BadInput, BadRecipe, UsageError
from edgellm.families import family_of
from edgellm.records.recipe import Recipe
from edgellm.store import catalogue


@dataclass(frozen=True)
class Checked:
    """What one variant comes to. Sizes are None where the shape of the model is not known."""

    variant: str | None  # None: the recipe's default
    type: str
    file_bytes: int | None = None  # without the vocabulary
    device: str | None = None
    context_tokens: int | None = None
    cache_bytes: int | None = None
    room_bytes: int | None = None  # on the device, for both


def check(recipe: Recipe) -> list[Checked]:
    """The default and every variant of a recipe that makes a GGUF.

    Raises BadRecipe for an unknown type or device, limits for a type that does not exist, a pattern that decides no
    tensor, a type whose blocks do not fit a tensor's rows, and a variant that does not fit its machines.
    """
    check_gates(recipe)
    if "gguf" not in recipe.formats:
        return []
    try:
        if not recipe.shape and not recipe.source.checkpoint.startswith("embedded:"):
            return [checked_by_name(recipe, name) for name in (None, *recipe.variants)]
        with ShapePlanner(config_of(recipe), recipe.name) as planner:
            return [checked(recipe, name, planner) for name in (None, *recipe.variants)]
    except (UsageError, BadInput) as error:
        raise BadRecipe(f"the recipe {recipe.name}: {error}") from None


def checked_by_name(recipe: Recipe, name: str | None) -> Checked:
    """As far as it goes without a shape: whether types, patterns and devices are known."""
    choice = choose(recipe, name)
    by_pattern(choice.tensor_types)
    found = Checked(name, file_type(choice.type).name)
    if name is None:
        return found
    variant = recipe.variants[name]
    return Checked(name, found.type, None, catalogue.load_device(variant.device).name, variant.context)


def checked(recipe: Recipe, name: str | None, planner: ShapePlanner) -> Checked:
    choice = choose(recipe, name)
    tensors = planner.plan(choice.type, choice.tensor_types, calibrated=is_calibrated(recipe))
    file_bytes = parse_size(choice.target_size) if choice.target_size else planner.header_bytes + data_bytes(tensors)
    if name is None:
        return Checked(name, choice.type, file_bytes)
    variant = recipe.variants[name]
    device = catalogue.load_device(variant.device)
    longest = family_of(planner.config["architectures"][0]).sizes(planner.config).context_tokens
    if variant.context > longest:
        raise BadRecipe(f"its variant {name} asks for {variant.context:,} tokens of a model that takes {longest:,}")
    cache, room = planner.cache_bytes(variant.context), room_bytes(device)
    if file_bytes + cache > room:
        raise BadRecipe(
            f"its variant {name} takes {file_bytes:,} bytes and {cache:,} for {variant.context:,} tokens of context, "
            f"and {device.name} has room for {room:,}; choose a smaller type or a shorter context"
        )
    return Checked(name, choice.type, file_bytes, device.name, variant.context, cache, room)

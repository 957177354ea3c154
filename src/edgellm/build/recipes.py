"""What a recipe comes to: the types of a variant, and the configuration of the full model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from edgellm.errors import BadRecipe, UsageError
from edgellm.records.recipe import Recipe, Rule, Variant
from edgellm.store import catalogue
from edgellm.store.checkpoint import read_json


@dataclass(frozen=True)
class Choice:
    """Type of the file, types of single tensors by pattern, and the size under which types are to be chosen."""

    type: str
    tensor_types: Mapping[str, str]
    target_size: str | None = None


def variant_of(recipe: Recipe, name: str) -> Variant:
    if name not in recipe.variants:
        known = ", ".join(recipe.variants) or "none"
        raise UsageError(f"the recipe {recipe.name} has no variant {name!r}; it has {known}")
    return recipe.variants[name]


def choose(recipe: Recipe, variant: str | None = None, type_name: str | None = None) -> Choice:
    """The recipe's own choice, that of a variant, or another type, under which only rules for float types hold.

    Raises UsageError for an unknown variant, or a variant and a type together.
    """
    from edgellm.engines.gguf.types import file_type, tensor_type

    asked, rules = recipe.quantization, recipe.quantization.rules
    if variant is not None and type_name is not None:
        raise UsageError(f"the variant {variant} of {recipe.name} has its own type; leave out --variant or --type")
    if variant is not None:
        chosen = variant_of(recipe, variant)
        types = by_pattern((*chosen.rules, *rules), asked.tensor_types)
        return Choice(chosen.type or asked.type, types, chosen.target_size)
    if type_name is None or file_type(type_name) == file_type(asked.type):
        return Choice(asked.type, by_pattern(rules, asked.tensor_types))
    lasting = [rule for rule in rules if not tensor_type(rule.type).is_quantized]
    return Choice(type_name, by_pattern(lasting, asked.tensor_types))


def by_pattern(rules: Iterable[Rule], tensor_types: Mapping[str, str]) -> dict[str, str]:
    """Pattern → type in the order in which they are asked; of equal patterns the first counts."""
    types: dict[str, str] = {}
    for pattern, name in [*((rule.pattern, rule.type) for rule in rules), *tensor_types.items()]:
        types.setdefault(pattern, name)
    return types


def is_calibrated(recipe: Recipe) -> bool:
    """Whether an importance matrix will weigh the errors."""
    return recipe.quantization.calibration != "none"


def config_of(recipe: Recipe) -> Mapping[str, Any]:
    """The full model's configuration, of `[shape]` or of the embedded model; raises UsageError without either, and
    BadRecipe for a model that is not embedded or a shape without its class."""
    scheme, _, place = recipe.source.checkpoint.partition(":")
    if recipe.shape:
        names = recipe.shape.get("architectures")
        if not (isinstance(names, list) and names and isinstance(names[0], str)):
            raise BadRecipe(f'[shape] of the recipe {recipe.name} needs architectures = ["CLASS"]; add it')
        return recipe.shape
    if scheme == "embedded":
        known = catalogue.embedded_models()
        if place not in known:
            raise BadRecipe(
                f"the recipe {recipe.name} names the checkpoint {recipe.source.checkpoint!r}, and no such model is "
                f"embedded; write embedded:{', embedded:'.join(known)}, or add a [shape]"
            )
        return read_json(known[place] / "config.json")
    raise UsageError(
        f"the recipe {recipe.name} has no [shape], so nothing is known of the size of its model; "
        "add what its config.json says"
    )


def with_layers(config: Mapping[str, Any], layers: int) -> Mapping[str, Any]:
    """The same model with only its first layers, for a quick look; raises BadRecipe where it does not say how many it
    has, UsageError for more than these."""
    full = config.get("num_hidden_layers")
    if type(full) is not int:
        raise BadRecipe("the recipe's [shape] needs num_hidden_layers, a whole number; add it, or leave out --layers")
    if not 0 < layers <= full:
        raise UsageError(f"the model has {full} layers, so --layers must be 1 to {full}, not {layers}")
    cut = {k: v[:layers] for k, v in config.items() if isinstance(v, list) and len(v) == full}
    return {**config, **cut, "num_hidden_layers": layers}

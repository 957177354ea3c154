"""What is asked of a build, and what that comes to with the recipe's answers: settled before any work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgellm.errors import BadRecipe, UsageError
from edgellm.inference.target import Target, resolve
from edgellm.records.recipe import Format, Gate, Recipe
from edgellm.stages.convert import FLOAT_BYTES
from edgellm.store import catalogue

DEFAULT_RECIPE = "default"


@dataclass(frozen=True)
class Order:
    """What is asked of `quantize`; None means what the recipe says."""

    target: str
    out: Path
    format: Format | None = None
    type: str | None = None
    tensor_types: Mapping[str, str] = field(default_factory=dict)
    calibration: str | None = None
    gated: bool = True
    threads: int = 0


def recipe_for(target: Target) -> Recipe:
    """The recipe that a target is, that of the embedded model that it is, or the default one.

    A name alone decides nothing: a folder of somebody's that is called tiny-ja gets neither its licence nor its gate.
    """
    if target.kind == "recipe":
        return catalogue.load_recipe(str(target.path))
    is_embedded = catalogue.embedded_models().get(target.name) == target.path
    return catalogue.load_recipe(target.name if is_embedded else DEFAULT_RECIPE)


def source_of(target: Target, recipe: Recipe) -> Target:
    """The checkpoint or GGUF behind a target; a recipe names its checkpoint, by a path from the recipe's folder."""
    if target.kind != "recipe":
        return target
    scheme, _, place = recipe.source.checkpoint.partition(":")
    if scheme == "embedded" and place in catalogue.embedded_models():
        return resolve(place)
    if scheme == "path" and place:
        return resolve(str(target.path.resolve().parent / place))
    raise UsageError(
        f"the recipe {recipe.name} takes its checkpoint from {recipe.source.checkpoint!r}; write path:FOLDER or one "
        f"of {', '.join(f'embedded:{name}' for name in catalogue.embedded_models())}"
    )


@dataclass(frozen=True)
class Plan:
    """What an order comes to, with the recipe's answers filled in and every name in its one spelling."""

    format: Format
    type: str
    tensor_types: Mapping[str, str]
    calibration: str


def settle(order: Order, recipe: Recipe) -> Plan:
    """Check an order before any work; raises UsageError for what cannot be made or would be ignored."""
    from edgellm.engines.gguf.quantize_plan import by_pattern
    from edgellm.engines.gguf.types import file_type

    check_gates(recipe)
    format_name = order.format or recipe.quantization.format
    if format_name == "onnx":
        if (order.type or "F32").upper() != "F32":
            raise UsageError(f"ONNX artifacts are F32 so far, not {order.type}; leave --type out or give F32")
        if order.tensor_types or order.calibration:
            raise UsageError("an F32 ONNX artifact takes no --tensor-type and no --calibration; leave them out")
        return Plan("onnx", "F32", {}, "none")
    type_name = file_type(order.type or recipe.quantization.type).name
    tensor_types = order.tensor_types or recipe.quantization.tensor_types
    by_pattern(tensor_types)
    calibration = order.calibration or recipe.quantization.calibration
    if type_name in FLOAT_BYTES and not tensor_types:
        if order.calibration not in (None, "none"):
            raise UsageError(f"{type_name} is not quantized, so it takes no --calibration; leave it out")
        calibration = "none"
    if calibration not in ("shipped", "self", "none"):
        catalogue.read_documents(Path(calibration))
    return Plan(format_name, type_name, tensor_types, calibration)


def check_gates(recipe: Recipe) -> None:
    """Raise BadRecipe for limits under a name that no type has: nothing would ever be held to them."""
    from edgellm.engines.gguf.types import FILE_TYPES, unknown

    for name in recipe.gates:
        if name != "default" and name not in FILE_TYPES:
            advice = unknown("quantization type", name, FILE_TYPES)
            raise BadRecipe(f"the recipe {recipe.name} sets limits in [gates.{name}], but {advice}")


def gate_of(recipe: Recipe, type_name: str) -> Gate | None:
    return recipe.gates.get(type_name, recipe.gates.get("default"))

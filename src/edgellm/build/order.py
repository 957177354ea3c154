"""What is asked of a build, and what that comes to with the recipe's answers: settled before any work."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgellm.build.goal import Goal, parse_size
from edgellm.build.recipes import Choice, choose
from edgellm.errors import BadRecipe, UsageError
from edgellm.inference.target import Target
from edgellm.records.recipe import Format, Gate, Recipe
from edgellm.stages.calibration_text import NONE, check_sources, parse_sources
from edgellm.stages.convert import FLOAT_BYTES
from edgellm.stages.coverage import CoverageRule
from edgellm.store import catalogue

CONTEXT_TOKENS = 4096  # that fit beside the weights where none are named


@dataclass(frozen=True)
class Order:
    """What is asked of `quantize`; None means what the recipe says."""

    target: str
    out: Path
    format: Format | None = None
    type: str | None = None
    tensor_types: Mapping[str, str] = field(default_factory=dict)
    calibration: str | Sequence[str] | None = None
    gated: bool = True
    threads: int = 0
    coverage: CoverageRule = CoverageRule()
    allow_fallback: bool = False  # take llama.cpp's replacement where a type does not fit a tensor's rows
    split_bytes: int | None = None  # the most that a file of the artifact may take
    variant: str | None = None  # of the recipe
    checkpoint: Path | None = None  # the weights, for a recipe that does not bring its own
    # Instead of a type; at most one of them.
    target_size: str | None = None
    target_bpw: float | None = None
    fit: str | None = None
    context: int | None = None  # tokens that have to fit beside the weights, for `fit`; None: 4,096


def recipe_for(target: Target) -> Recipe:
    """The recipe that a target is, that of the embedded model that it is, or the default one.

    A name alone decides nothing: a folder of somebody's that is called tiny-ja gets neither its licence nor its gate.
    """
    if target.kind == "recipe":
        return catalogue.load_recipe(str(target.path))
    is_embedded = catalogue.embedded_models().get(target.name) == target.path
    return catalogue.load_recipe(target.name if is_embedded else catalogue.DEFAULT_RECIPE)


@dataclass(frozen=True)
class Plan:
    """What an order comes to, with the recipe's answers filled in and every name in its one spelling."""

    format: Format
    type: str
    tensor_types: Mapping[str, str]  # the order's before the recipe's
    calibration: str | Sequence[str]
    goal: Goal | None = None  # then types are chosen for all tensors but those of `tensor_types`
    allow_fallback: bool = False


def settle(order: Order, recipe: Recipe) -> Plan:
    """Check an order before any work; raises UsageError for what cannot be made or would be ignored."""
    from edgellm.engines.gguf.quantize_plan import by_pattern
    from edgellm.engines.gguf.types import file_type

    check_gates(recipe)
    format_name = order.format or recipe.quantization.format
    if format_name == "onnx":
        if (order.type or "F32").upper() != "F32":
            raise UsageError(f"ONNX artifacts are F32 so far, not {order.type}; leave --type out or give F32")
        if order.tensor_types or order.calibration or order.variant:
            raise UsageError("an F32 ONNX artifact takes no --tensor-type, --calibration or --variant; leave them out")
        if order.target_size or order.target_bpw or order.fit:
            raise UsageError("an ONNX artifact is F32 whatever size is asked for; leave the size out, or make a GGUF")
        if order.split_bytes:
            raise UsageError("--split-max-size cuts GGUF files, and this is an ONNX folder; leave it out")
        if order.allow_fallback or order.coverage.required is not None or order.context is not None:
            raise UsageError(
                "an F32 ONNX artifact takes no --allow-fallback, --require-coverage or --context; leave them out"
            )
        return Plan("onnx", "F32", {}, NONE)
    choice = choose(recipe, order.variant, order.type)
    goal = goal_of(order, choice)
    type_name = file_type(choice.type).name
    rules = choice.tensor_types if goal is None else unquantized(choice.tensor_types)
    tensor_types = {**order.tensor_types, **{p: name for p, name in rules.items() if p not in order.tensor_types}}
    by_pattern(tensor_types)
    calibration = order.calibration or recipe.quantization.calibration
    if goal is None and type_name in FLOAT_BYTES and unquantized(tensor_types) == tensor_types:
        if order.calibration not in (None, NONE):
            raise UsageError(f"{type_name} is not quantized, so it takes no --calibration; leave it out")
        calibration = NONE
    check_calibration(calibration, order.coverage)
    allow_fallback = order.allow_fallback or recipe.quantization.fallback == "allow"
    return Plan(format_name, type_name, tensor_types, calibration, goal, allow_fallback)


def goal_of(order: Order, choice: Choice) -> Goal | None:
    """The size that is asked for, by the order or the recipe's variant; raises UsageError for two answers, and for a
    context without a device whose memory it would share."""
    asked = {
        "--type": order.type, "--variant": order.variant, "--target-size": order.target_size,
        "--target-bpw": order.target_bpw, "--fit": order.fit,
    }  # fmt: skip
    given = [option for option, value in asked.items() if value is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} each decide the types; give one of them")
    if order.context is not None and order.fit is None:
        raise UsageError("--context is room in the memory that --fit names; give --fit too, or leave --context out")
    if order.target_bpw is not None:
        if not 0 < order.target_bpw < math.inf:
            raise UsageError(f"--target-bpw {order.target_bpw:g} is no number of bits; write for example 4.5")
        return Goal(bits_per_weight=order.target_bpw)
    if order.fit is not None:
        return Goal(device=catalogue.load_device(order.fit), context_tokens=order.context or CONTEXT_TOKENS)
    size = order.target_size or (choice.target_size if order.type is None else None)
    return Goal(size=parse_size(size)) if size else None


def unquantized(tensor_types: Mapping[str, str]) -> dict[str, str]:
    """Rules that keep tensors from being quantized hold under any size; the others are what is to be chosen."""
    from edgellm.engines.gguf.types import tensor_type

    return {pattern: name for pattern, name in tensor_types.items() if not tensor_type(name).is_quantized}


def check_calibration(calibration: str | Sequence[str], coverage: CoverageRule) -> None:
    """Raises UsageError or BadInput for text that cannot be used, and for coverage that nothing could reach."""
    sources = parse_sources(calibration)
    if NONE not in [source.name for source in sources]:
        check_sources(sources)
    elif calibration != NONE:
        raise UsageError("--calibration none stands alone: it means that there is no text; leave it or the others out")
    elif coverage.required is not None:
        raise UsageError("--require-coverage asks what calibration reached, and there is none; leave it out")


def check_gates(recipe: Recipe) -> None:
    """Raise BadRecipe for limits under a name that no type has: nothing would ever be held to them."""
    from edgellm.engines.gguf.types import FILE_TYPES, unknown

    for name in recipe.gates:
        if name != "default" and name not in FILE_TYPES:
            advice = unknown("quantization type", name, FILE_TYPES)
            raise BadRecipe(f"the recipe {recipe.name} sets limits in [gates.{name}], but {advice}")


def gate_of(recipe: Recipe, type_name: str) -> Gate | None:
    return recipe.gates.get(type_name, recipe.gates.get("default"))

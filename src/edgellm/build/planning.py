"""A recipe and a machine, put together from shapes alone: file size, memory, what fits, how fast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgellm.build.order import CONTEXT_TOKENS, unquantized
from edgellm.build.planned_memory import Need, longest_context, need, offload
from edgellm.build.planned_speed import THIS_MACHINE, Spot, predicted, spot_of
from edgellm.build.recipes import Choice, choose, config_of, is_calibrated, variant_of, with_layers
from edgellm.build.reduced_depth import PROMPT_TOKENS, Types, measure
from edgellm.build.synth import planned_tensors
from edgellm.engines.gguf.full_shape import Shaped, ShapePlanner
from edgellm.engines.gguf.header import Header, read_header
from edgellm.engines.gguf.loading import GgufOptions, check_options
from edgellm.engines.gguf.types import file_type
from edgellm.errors import UsageError
from edgellm.records.plan import Offload, Plan, PlannedDevice, PredictedSpeed
from edgellm.records.recipe import Recipe
from edgellm.stages import Progress
from edgellm.stages.calibrate import IMATRIX, dataset
from edgellm.stages.calibration_text import parse_sources
from edgellm.stages.convert import FLOAT_BYTES
from edgellm.store import catalogue


@dataclass(frozen=True)
class Question:
    """What is asked of `plan`; None and 0 mean what the recipe, or the engine, takes by itself."""

    type_name: str | None = None
    variant: str | None = None
    stock: bool = False
    layers: int | None = None
    context: int = 0
    parallel: int = 1
    depth: int = 0
    type_k: str = "f16"
    type_v: str = "f16"
    measured: bool = False  # speeds from files of a few layers, instead of from figures


@dataclass(frozen=True)
class PlannedFile:
    """A file that nobody has written yet: what its header says, and the bytes that it would have."""

    header: Header
    size_bytes: int
    has_vocabulary: bool
    choice: Choice


def plan(recipe: Recipe, question: Question, device: str = THIS_MACHINE, progress: Progress | None = None) -> Plan:
    """`device`: a name, a .toml file or `here`.

    Raises UsageError for an unknown device, a recipe without a shape, an unknown type or variant, a context that the
    model does not have, and types that do not fit, BadRecipe for a shape that contradicts itself.
    """
    if question.measured and device != THIS_MACHINE:
        raise UsageError(f"--measure times this machine and --device {device} names another; leave one of them out")
    spot = spot_of(device)
    config = config_of(recipe) if question.layers is None else with_layers(config_of(recipe), question.layers)
    choice = choose(recipe, question.variant, question.type_name)
    if choice.target_size:
        raise UsageError(
            f"the variant {question.variant} of {recipe.name} chooses types by the weights' sensitivity, which no "
            f"shape tells; its file takes {choice.target_size} at most, and --type plans another"
        )
    with ShapePlanner(config, recipe.name) as planner:
        file = planned_file(planner, recipe, choice, question)
        options = options_of(recipe, question, file.header)
        made = put_together(recipe, question, file, options, spot)
    return with_measured_speed(made, recipe, question, progress) if question.measured else made


def planned_file(planner: ShapePlanner, recipe: Recipe, choice: Choice, question: Question) -> PlannedFile:
    tensors = planned_tensors(planner, recipe, choice, stock=question.stock)
    checkpoint = checkpoint_at_hand(recipe)
    if checkpoint is None or question.layers is not None:
        path = planner.empty_file(tensors, choice.type)
        return PlannedFile(read_header(path), path.stat().st_size, False, choice)
    extra = quantizer_keys(recipe, choice, tensors)
    path = planner.empty_checkpoint_file(checkpoint, tensors, choice.type, extra)
    return PlannedFile(read_header(path), path.stat().st_size, True, choice)


def checkpoint_at_hand(recipe: Recipe) -> Path | None:
    """Where the recipe's tokenizer and model card are, if they ship with edgellm."""
    scheme, _, place = recipe.source.checkpoint.partition(":")
    return catalogue.embedded_models().get(place) if scheme == "embedded" else None


def quantizer_keys(recipe: Recipe, choice: Choice, tensors: list[Shaped]) -> Mapping[str, int | str]:
    """What quantizing adds to a file's metadata: where its importance matrix comes from."""
    is_float = file_type(choice.type).name in FLOAT_BYTES
    if not is_calibrated(recipe) or (is_float and unquantized(choice.tensor_types) == choice.tensor_types):
        return {}
    # Two numbers take as many bytes whatever they are.
    numbers = {"quantize.imatrix.entries_count": len(tensors), "quantize.imatrix.chunks_count": 1}
    name = dataset(parse_sources(recipe.quantization.calibration)[0])
    return {**numbers, "quantize.imatrix.file": IMATRIX, "quantize.imatrix.dataset": name}


def options_of(recipe: Recipe, question: Question, header: Header) -> GgufOptions:
    """Raises UsageError for a context that the model does not have, or a cache that llama.cpp refuses."""
    asked = question.context
    if not asked and question.variant is not None:
        asked = variant_of(recipe, question.variant).context
    if asked > header.context_tokens:
        raise UsageError(f"{recipe.name} holds at most {header.context_tokens:,} tokens of context, not {asked:,}")
    context = asked or min(header.context_tokens, CONTEXT_TOKENS)
    if question.depth >= context:
        raise UsageError(f"--depth {question.depth} leaves no room in a context of {context} tokens; lower it")
    options = GgufOptions(
        context_tokens=context, sequences=question.parallel, type_k=question.type_k, type_v=question.type_v
    )
    check_options(options)
    return options


def put_together(recipe: Recipe, question: Question, file: PlannedFile, options: GgufOptions, spot: Spot) -> Plan:
    header, room = file.header, spot.device.usable_bytes
    wanted = need(header, options)
    fits = wanted.total <= room
    context = longest_context(header, options, room)
    split = offload(header, options, room) if not fits and spot.device.kind == "gpu" else None
    settings, notes = settings_of(recipe, options, wanted, context, split, spot)
    return Plan(
        recipe=recipe.name, type=file_type(file.choice.type).name, variant=question.variant,
        layers=header.of_architecture("block_count") or 0, parameters=header.parameters,
        active_parameters=header.active_parameters, bits_per_weight=header.bits_per_weight,
        device=described(spot), context=options.context_tokens, parallel=options.sequences,
        file_bytes=file.size_bytes, file_bytes_excludes_vocabulary=not file.has_vocabulary,
        weight_bytes=wanted.weights, kv_bytes=wanted.cache, compute_bytes=wanted.compute, memory_bytes=wanted.total,
        fits=fits, longest_context=context, offload=split,
        predicted=speed_of(file, options, fits, context, spot, question), settings=settings,
        command=command(recipe.name, settings), notes=notes,
    )  # fmt: skip


def described(spot: Spot) -> PlannedDevice:
    device = spot.device
    return PlannedDevice(
        name=device.name, title=device.title, kind=device.kind, memory_bytes=device.memory_bytes,
        usable_bytes=device.usable_bytes, bandwidth_bytes_per_s=device.memory_bandwidth_bytes_per_s,
        flops_per_s=device.peak_flops_per_s,
    )  # fmt: skip


def settings_of(
    recipe: Recipe, options: GgufOptions, wanted: Need, context: int | None, split: Offload | None, spot: Spot
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Options of `serve` with which it fits, a shorter context before a part of the model elsewhere; and in words what
    had to be given up."""
    device = spot.device
    room = f"{device.usable_bytes / 1e9:.1f} GB of {device.name}"
    base: dict[str, Any] = {"context": options.context_tokens, "parallel": options.sequences}
    for name, value in (("cache_type_k", options.type_k), ("cache_type_v", options.type_v)):
        if value != "f16":
            base[name] = value
    if context == options.context_tokens:
        return base, ()
    over = f"{wanted.total / 1e9:.1f} GB do not fit {room}"
    if context is not None:
        return base | {"context": context}, (f"{over}; {context:,} tokens of context do",)
    if split is not None and split.cpu_moe:
        return base | {"cpu_moe": True}, (f"{over}; they do with the experts in the machine's memory",)
    if split is not None:
        return base | {"gpu_layers": split.gpu_layers}, (
            f"{over}; {split.gpu_layers} layers do, the others stay in the machine's memory",
        )
    return {}, (f"{over}, with any context; choose a smaller --type or another machine",)


def command(recipe: str, settings: Mapping[str, Any]) -> str:
    """How to serve the bundle of the recipe; empty where nothing fits."""
    if not settings:
        return ""
    words = [f"--{key.replace('_', '-')}" + ("" if value is True else f" {value}") for key, value in settings.items()]
    return " ".join(["edgellm serve", f"BUNDLE-OF-{recipe}", *words])


def with_measured_speed(made: Plan, recipe: Recipe, question: Question, progress: Progress | None) -> Plan:
    """The same plan with speeds from two shallow files in the place of those from figures."""
    types, speeds = Types(question.type_name, question.variant, question.stock), made.predicted
    found = measure(recipe, types, sequences=sorted({1, made.parallel}), depth=speeds.depth, progress=progress)
    measured = speeds.model_copy(update={
        "decode_tokens_per_s": found.decode_tokens_per_s(made.layers, made.parallel),
        "decode_tokens_per_s_alone": found.decode_tokens_per_s(made.layers, 1),
        "prefill_tokens_per_s": found.prefill_tokens_per_s(made.layers), "prompt_tokens": PROMPT_TOKENS,
        "how": f"files of {' and '.join(map(str, found.seconds))} layers, timed here and extrapolated",
    })  # fmt: skip
    return made.model_copy(update={"predicted": measured})


def speed_of(
    file: PlannedFile, options: GgufOptions, fits: bool, context: int | None, spot: Spot, question: Question
) -> PredictedSpeed:  # fmt: skip
    if not fits and context is None:
        return PredictedSpeed(why_not="a model of which a part is elsewhere depends on how fast that part is read")
    depth = question.depth if context is None else min(question.depth, context - 1)
    return predicted(file.header, spot, replace(options, context_tokens=context or options.context_tokens), depth)

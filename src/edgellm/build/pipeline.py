"""From a TARGET to a verified bundle: the stages in their order."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgellm.engines.protocol import RuntimeOptions
from edgellm.errors import GateFailed, UsageError
from edgellm.inference.target import Target, resolve
from edgellm.measures import fidelity as fidelities
from edgellm.measures.sizing import Size, size_of
from edgellm.records.manifest import Manifest
from edgellm.records.recipe import Format, Gate, Recipe
from edgellm.records.results import Check, Fidelity, Verdict
from edgellm.stages import Progress, bundle, labelled, verify
from edgellm.stages.calibrate import IMATRIX, calibrate
from edgellm.stages.convert import FLOAT_BYTES, artifact_name, convert
from edgellm.stages.quantize import REPORT, quantize
from edgellm.store import catalogue, digest
from edgellm.store.atomic import file_aside
from edgellm.store.work import Made, WorkFolder, default_root

if TYPE_CHECKING:
    from edgellm.language.tokenizer import Tokenizer

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


@dataclass(frozen=True)
class Base:
    """The reference of a build: a GGUF in f32 (or the GGUF that was given), and where its tokenizer comes from."""

    name: str
    gguf: Path
    digest: str
    tokenizer: Tokenizer
    source: Path | None  # checkpoint folder, where there is one
    steps: tuple[Made, ...]


@dataclass(frozen=True)
class Product:
    """A quantized artifact in the work folder, with the steps that made it."""

    format: Format
    type: str
    artifact: Path
    steps: tuple[Made, ...]
    extras: dict[str, Path]  # files that go into the bundle beside it


@dataclass(frozen=True)
class Built:
    bundle: Path
    artifact: Path
    size: Size
    verdict: Verdict
    reused: list[str]


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
    from edgellm.engines.gguf.types import file_type, tensor_type

    bundle.check_out(order.out)
    format_name = order.format or recipe.quantization.format
    if format_name == "onnx":
        if (order.type or "F32").upper() != "F32":
            raise UsageError(f"ONNX artifacts are F32 so far, not {order.type}; leave --type out or give F32")
        if order.tensor_types or order.calibration:
            raise UsageError("an F32 ONNX artifact takes no --tensor-type and no --calibration; leave them out")
        return Plan("onnx", "F32", {}, "none")
    type_name = file_type(order.type or recipe.quantization.type).name
    tensor_types = order.tensor_types or recipe.quantization.tensor_types
    for wanted in tensor_types.values():
        tensor_type(wanted)
    calibration = order.calibration or recipe.quantization.calibration
    if type_name in FLOAT_BYTES and not tensor_types:
        if order.calibration not in (None, "none"):
            raise UsageError(f"{type_name} is not quantized, so it takes no --calibration; leave it out")
        calibration = "none"
    if calibration not in ("shipped", "self", "none"):
        catalogue.read_documents(Path(calibration))
    return Plan(format_name, type_name, tensor_types, calibration)


def make_base(target: Target, work: WorkFolder, progress: Progress | None = None) -> Base:
    """The f32 base artifact of a checkpoint; a GGUF is its own base."""
    if target.kind == "checkpoint":
        made = convert(target.path, "F32", work, progress=progress)
        gguf = made.folder / artifact_name("gguf")
        return Base(target.name, gguf, f"step:{made.step.key}", target.tokenizer(), target.path, (made,))
    if target.kind == "gguf":
        return Base(target.name, target.path, digest.of_file(target.path), target.tokenizer(), None, ())
    raise UsageError(
        f"{target.path} is a {target.kind}, which cannot be quantized; give a checkpoint folder, a .gguf or a recipe"
    )


def make_artifact(
    base: Base, format_name: Format, type_name: str, tensor_types: Mapping[str, str], calibration: str,
    work: WorkFolder, threads: int = 0, progress: Progress | None = None,
) -> Product:  # fmt: skip
    """One artifact of a base: converted for a float type or ONNX, calibrated and quantized otherwise."""
    if format_name == "onnx" and base.source is None:
        raise UsageError("ONNX is made from a checkpoint folder, not from a GGUF; give the checkpoint")
    if base.source is not None and (format_name == "onnx" or (type_name in FLOAT_BYTES and not tensor_types)):
        made = convert(base.source, type_name, work, format_name, progress)
        return Product(format_name, type_name, made.folder / artifact_name(format_name), (made,), {})
    steps, extras, imatrix = list(base.steps), {}, None
    if calibration != "none":
        calibrated = calibrate(base.gguf, base.digest, base.tokenizer, calibration, work, progress)
        imatrix = calibrated.folder / IMATRIX
        steps.append(calibrated)
        extras[IMATRIX] = imatrix
    made = quantize(base.gguf, base.digest, imatrix, type_name, tensor_types, work, threads, progress)
    extras[REPORT] = made.folder / REPORT
    return Product("gguf", type_name, made.folder / artifact_name("gguf"), (*steps, made), extras)


def measure(
    base: Base, products: Mapping[str, Product], progress: Progress | None = None
) -> dict[str, tuple[Fidelity, Check]]:
    """Fidelity of products against their base in one pass, and whether each generates."""
    from edgellm.engines import open_runtime

    documents = verify.verification_documents(base.tokenizer)
    options = RuntimeOptions(context_tokens=fidelities.WINDOW_TOKENS)
    opened = [open_runtime("gguf", base.gguf, options)]
    try:
        runtimes = {}
        for name, product in products.items():
            runtimes[name] = open_runtime(product.format, product.artifact, options)
            opened.append(runtimes[name])
        found = fidelities.compare(opened[0], runtimes, documents, on_progress=labelled(progress, "measure fidelity"))
        return {n: (found[n], verify.check_decodes(runtimes[n], documents[0].ids)) for n in products}
    finally:
        for runtime in opened:
            runtime.close()


def judge(tokenizer: Tokenizer, product: Product, found: Fidelity, generates: Check, gate: Gate | None) -> Verdict:
    """All checks of one artifact, with the tokenizer that ships beside it."""
    checks = verify.check_structure(product.artifact, product.format, product.type)
    checks += verify.check_tokenizer(tokenizer, product.artifact, product.format)
    return verify.verdict_of([*checks, generates, *verify.check_fidelity(found, gate)])


def gate_of(recipe: Recipe, type_name: str) -> Gate | None:
    return recipe.gates.get(type_name, recipe.gates.get("default"))


def facts_of(
    base: Base, product: Product, recipe: Recipe, gate: Gate | None, size: Size, verdict: Verdict, found: Fidelity
) -> Manifest:
    """The manifest of a product, but for its files, which are listed as they are written."""
    # The conversion read the whole checkpoint for its key; its record has the digest.
    read = base.steps[0].step.inputs["checkpoint"] if base.steps else base.digest
    source = {"name": base.name, "digest": read}
    return Manifest(
        name=f"{base.name}-{product.type}".lower() if product.format == "gguf" else f"{base.name}-onnx",
        family=size.architecture,
        format=product.format,
        type=product.type,
        artifact=product.artifact.name,
        tokenizer=bundle.TOKENIZER if base.source is not None else None,
        licence=recipe.source.licence,
        source=source,
        parameters=size.parameters,
        size_bytes=size.size_bytes,
        bits_per_weight=size.bits_per_weight,
        recipe=recipe.name,
        gate=gate,
        verdict=verdict,
        fidelity=found,
        lineage=[m.step for m in product.steps],
        files=[],
        created=bundle.now(),
    )


def build(order: Order, work: WorkFolder, progress: Progress | None = None) -> Built:
    """Make the bundle that was ordered; raises GateFailed with the reasons, and then no bundle is written."""
    target = resolve(order.target)
    recipe = recipe_for(target)
    plan = settle(order, recipe)
    base = make_base(source_of(target, recipe), work, progress)
    product = make_artifact(
        base, plan.format, plan.type, plan.tensor_types, plan.calibration, work, order.threads, progress
    )
    found, generates = measure(base, {plan.type: product}, progress)[plan.type]
    gate = gate_of(recipe, plan.type) if order.gated else None
    return ship(base, product, recipe, gate, found, generates, order.out)


def ship(
    base: Base, product: Product, recipe: Recipe, gate: Gate | None, found: Fidelity, generates: Check, out: Path
) -> Built:
    """Bundle a measured product into `out`; raises GateFailed with the reasons if it does not pass."""
    verdict = judge(base.tokenizer, product, found, generates, gate)
    if not verdict.passed:
        raise GateFailed(f"{base.name} as {product.type} was not bundled: {reasons(verdict)}", verdict)
    size = size_of(product.artifact, product.format)
    facts = facts_of(base, product, recipe, gate, size, verdict, found)
    bundle.write_bundle(out, product.artifact, base.source, product.extras, facts)
    reused = [m.step.stage for m in product.steps if m.reused]
    return Built(out, out / facts.artifact, size, verdict, reused)


def reasons(verdict: Verdict) -> str:
    """The failed checks in words."""
    return "; ".join(
        f"{c.name} is {c.value if not isinstance(c.value, float) else round(c.value, 5)}, limit {c.limit}"
        if c.limit is not None
        else f"{c.name} failed {c.detail}".strip()
        for c in verdict.checks
        if not c.passed
    )


def open_target(name: str, progress: Progress | None = None) -> Target:
    """What TARGET names, as something that an engine can load; see `runnable`."""
    return runnable(resolve(name), WorkFolder(default_root()), progress)


def runnable(target: Target, work: WorkFolder, progress: Progress | None = None) -> Target:
    """A target that an engine can load: a checkpoint (or a recipe's) is converted to an F16 GGUF in the work folder."""
    if target.kind == "recipe":
        target = source_of(target, recipe_for(target))
    if target.kind != "checkpoint":
        return target
    made = convert(target.path, "F16", work, progress=progress)
    artifact = made.folder / artifact_name("gguf")
    return Target(target.name, "gguf", artifact, "gguf", artifact, target.tokenizer_folder)


def write_imatrix(
    target: str, text: str, out: Path, work: WorkFolder, progress: Progress | None = None
) -> tuple[int, dict[str, float]]:
    """Calibrate a target into the file `out`; gives the tokens seen and the coverage of each weight.

    Coverage is the share of a weight's matrices (experts; one for a dense weight) that saw at least one token.
    """
    from edgellm.engines.gguf.imatrix import coverage
    from edgellm.engines.gguf.imatrix_file import read_imatrix

    found = resolve(target)
    base = make_base(source_of(found, recipe_for(found)), work, progress)
    made = calibrate(base.gguf, base.digest, base.tokenizer, text, work, progress)
    with file_aside(out) as aside:
        shutil.copyfile(made.folder / IMATRIX, aside)
    imatrix = read_imatrix(out)
    # Every token passes once through each dense weight; through stacked experts it passes top-k times.
    tokens = min(int(entry.counts.sum()) for entry in imatrix.entries.values())
    return tokens, coverage(imatrix)

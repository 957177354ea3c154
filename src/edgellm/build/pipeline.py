"""From a TARGET to a verified bundle: the stages in their order."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgellm.build.order import Order, Plan, gate_of, recipe_for, settle, source_of
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
from edgellm.store import digest
from edgellm.store.disk import need_space
from edgellm.store.work import Made, WorkFolder

if TYPE_CHECKING:
    from edgellm.language.tokenizer import Tokenizer


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


def make_base(target: Target, work: WorkFolder, progress: Progress | None = None) -> Base:
    """The f32 base artifact of a checkpoint; a GGUF is its own base."""
    if target.kind in ("checkpoint", "gguf"):
        # Both are read before the long work, so that what is wrong with them is told at once.
        tokenizer, _ = target.tokenizer(), target.chat_template()
    if target.kind == "checkpoint":
        made = convert(target.path, "F32", work, progress=progress)
        gguf = made.folder / artifact_name("gguf")
        return Base(target.name, gguf, f"step:{made.step.key}", tokenizer, target.path, (made,))
    if target.kind == "gguf":
        with labelled(progress, f"digest {target.path.name}") as on_progress:
            read = digest.of_file(target.path, on_progress)
        return Base(target.name, target.path, read, tokenizer, None, ())
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
    with ExitStack() as opened:
        with labelled(progress, "load the models to compare") as on_progress:
            runtimes = []
            for format_name, artifact in [("gguf", base.gguf), *((p.format, p.artifact) for p in products.values())]:
                runtimes.append(opened.enter_context(closing(open_runtime(format_name, artifact, options))))
                if on_progress:
                    on_progress(len(runtimes), len(products) + 1)
        artifacts = dict(zip(products, runtimes[1:], strict=True))
        with labelled(progress, "measure fidelity") as on_progress:
            found = fidelities.compare(runtimes[0], artifacts, documents, on_progress=on_progress)
        with labelled(progress, "generate"):
            return {n: (found[n], verify.check_decodes(artifacts[n], documents[0].ids)) for n in products}


def judge(tokenizer: Tokenizer, product: Product, found: Fidelity, generates: Check, gate: Gate | None) -> Verdict:
    """All checks of one artifact, with the tokenizer that ships beside it."""
    checks = verify.check_structure(product.artifact, product.format, product.type)
    checks += verify.check_tokenizer(tokenizer, product.artifact, product.format)
    return verify.verdict_of([*checks, generates, *verify.check_fidelity(found, gate)])


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
    source = source_of(target, recipe)
    if source.path.resolve().is_relative_to(order.out.resolve()):
        raise UsageError(f"{order.out} holds {source.path}, which is read for the build; name another folder")
    with bundle.claim(order.out):
        base = make_base(source, work, progress)
        need_space(order.out, least_bytes(base, plan), f"the bundle {order.out}")
        product = make_artifact(
            base, plan.format, plan.type, plan.tensor_types, plan.calibration, work, order.threads, progress
        )
        found, generates = measure(base, {plan.type: product}, progress)[plan.type]
        gate = gate_of(recipe, plan.type) if order.gated else None
        return ship(base, product, recipe, gate, found, generates, order.out, progress)


def least_bytes(base: Base, plan: Plan) -> int:
    """What the artifact surely needs: known before the long work, when its true size is not."""
    from edgellm.engines.gguf.types import TENSOR_TYPES, file_type, tensor_type

    types = [TENSOR_TYPES[file_type(plan.type).default], *map(tensor_type, plan.tensor_types.values())]
    # Some mixtures give single tensors the next smaller type: IQ3_XXS at most 16 % less (IQ2_S).
    return int(0.8 * size_of(base.gguf, "gguf").parameters * min(t.bits_per_weight for t in types) / 8)


def ship(
    base: Base, product: Product, recipe: Recipe, gate: Gate | None, found: Fidelity, generates: Check, out: Path,
    progress: Progress | None = None,
) -> Built:  # fmt: skip
    """Bundle a measured product into `out`, which the caller has claimed; raises GateFailed with the reasons if it
    does not pass."""
    with labelled(progress, "check structure and tokenizer"):
        verdict = judge(base.tokenizer, product, found, generates, gate)
    if not verdict.passed:
        raise GateFailed(
            f"{base.name} as {product.type} was not bundled: {reasons(verdict)}; choose a type with more bits, or see "
            "what --gate none makes",
            verdict,
        )
    size = size_of(product.artifact, product.format)
    facts = facts_of(base, product, recipe, gate, size, verdict, found)
    bundle.write_bundle(out, product.artifact, base.source, product.extras, facts, progress)
    reused = [m.step.stage for m in product.steps if m.reused]
    return Built(out, out / facts.artifact, size, verdict, reused)


def reasons(verdict: Verdict) -> str:
    """The failed checks in words."""
    return ", ".join(
        f"{c.name} is {c.value if not isinstance(c.value, float) else round(c.value, 5)}, limit {c.limit}"
        if c.limit is not None
        else f"{c.name} failed ({c.detail or 'no more is known'})"
        for c in verdict.checks
        if not c.passed
    )

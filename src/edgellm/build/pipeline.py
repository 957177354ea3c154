"""From a TARGET to a verified bundle: the stages in their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgellm.build.family_rules import with_family_rules, without_overruled
from edgellm.build.goal import Goal
from edgellm.build.order import Order, gate_of, recipe_for, settle
from edgellm.build.room import Room, room_of
from edgellm.build.solving import SOLUTION, check_size, choose_types
from edgellm.build.sources import source_of
from edgellm.engines.gguf.quantize import check_types
from edgellm.engines.gguf.tensor_groups import layout_of
from edgellm.engines.protocol import RuntimeOptions
from edgellm.errors import GateFailed, UsageError
from edgellm.inference.target import Target, resolve
from edgellm.measures.fidelity import WINDOW_TOKENS, Document
from edgellm.measures.fidelity_figures import compare
from edgellm.measures.sizing import Size, size_of
from edgellm.records.manifest import Manifest
from edgellm.records.recipe import Format, Gate, Recipe
from edgellm.records.results import Check, Fidelity, Verdict
from edgellm.stages import Progress, Report, bundle, labelled, verify
from edgellm.stages.calibrate import IMATRIX, calibrate
from edgellm.stages.convert import FLOAT_BYTES, artifact_name, convert
from edgellm.stages.coverage import CoverageRule, check_coverage
from edgellm.stages.cure import cure
from edgellm.stages.quantize import REPORT, quantize
from edgellm.stages.sensitivity import Effort
from edgellm.stages.split import first_part, split
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
    checks: tuple[Check, ...] = ()  # what was found while it was made
    predicted_mean_kld: float | None = None  # of types that were chosen for a size


@dataclass(frozen=True)
class Built:
    bundle: Path
    artifact: Path
    size: Size
    verdict: Verdict
    reused: list[str]
    predicted_mean_kld: float | None = None  # of types that were chosen for a size


def make_base(target: Target, work: WorkFolder, progress: Progress | None = None, room: Room | None = None) -> Base:
    """The f32 base artifact of a checkpoint; a GGUF is its own base. `room` is what is made of it.

    Raises UsageError for a target of another kind.
    """
    check_quantizable(target)
    # Both are read before the long work, so that what is wrong with them is told at once.
    tokenizer, _ = target.tokenizer(), target.chat_template()
    if target.kind == "checkpoint":
        later_bytes, later_words = (room.beside_base, room.words) if room else (0, "")
        made = convert(
            target.path, "F32", work, progress=progress, later_bytes=later_bytes, later_words=later_words
        )  # fmt: skip
        gguf = made.folder / artifact_name("gguf")
        return Base(target.name, gguf, f"step:{made.step.key}", tokenizer, target.path, (made,))
    with labelled(progress, f"digest {target.path.name}") as on_progress:
        read = digest_of_parts(target.path, on_progress)
    if cured := cure(target.path, read, work, progress):
        gguf = cured.folder / target.path.name
        return Base(target.name, gguf, f"step:{cured.step.key}", tokenizer, None, (cured,))
    return Base(target.name, target.path, read, tokenizer, None, ())


def check_quantizable(target: Target) -> None:
    if target.kind not in ("checkpoint", "gguf"):
        raise UsageError(
            f"{target.path} is of kind {target.kind}, which cannot be quantized; give a checkpoint folder, a .gguf or "
            "a recipe"
        )


def digest_of_parts(gguf: Path, on_progress: Report | None) -> str:
    """Of a file, or of all parts of a split model."""
    from edgellm.engines.gguf.header import read_header

    digests = digest.of_files(read_header(gguf).files, on_progress)
    return digests[0] if len(digests) == 1 else digest.of_value(digests)


def make_artifact(
    base: Base, format_name: Format, type_name: str, tensor_types: Mapping[str, str],
    calibration: str | Sequence[str], work: WorkFolder, threads: int = 0, progress: Progress | None = None, *,
    coverage: CoverageRule | None = None, allow_fallback: bool = False, goal: Goal | None = None,
    effort: Effort | None = None,
) -> Product:  # fmt: skip
    """One artifact of a base: converted for a float type or ONNX, calibrated and quantized otherwise.

    goal: a size, under which types are chosen for all tensors but those of `tensor_types`, in the place of
    `type_name`, by measuring as much as `effort` says. Raises UsageError for a size that cannot be met, GateFailed
    where calibration reached fewer experts than `coverage` requires.
    """
    if format_name == "onnx" and base.source is None:
        raise UsageError("ONNX is made from a checkpoint folder, not from a GGUF; give the checkpoint")
    if base.source is not None and (
        format_name == "onnx" or (type_name in FLOAT_BYTES and not tensor_types and goal is None)
    ):
        made = convert(base.source, type_name, work, format_name, progress)
        return Product(format_name, type_name, made.folder / artifact_name(format_name), (made,), {})
    tensor_types = with_family_rules(base.gguf, type_name, tensor_types)
    # What cannot be made is refused before the long work.
    if goal is not None:
        layout_of(base.gguf, None, tensor_types)
    elif calibration != "none":
        check_types(base.gguf, type_name, tensor_types, allow_fallback=allow_fallback)
    steps, extras, imatrix = list(base.steps), {}, None
    checks: tuple[Check, ...] = ()
    if calibration != "none":
        calibrated = calibrate(base.gguf, base.digest, base.tokenizer, calibration, work, progress)
        imatrix = calibrated.folder / IMATRIX
        steps.append(calibrated)
        extras[IMATRIX] = imatrix
        checks = check_coverage(imatrix, coverage or CoverageRule())
    name, solution = type_name, None
    if goal is not None:
        solved = choose_types(
            base.gguf, base.digest, base.tokenizer, goal, tensor_types, calibration, imatrix, work, progress, effort
        )
        solution, tensor_types = solved.solution, solved.tensor_types
        name, type_name = solution.type, solution.file_type
        steps += solved.steps
        extras[SOLUTION] = solved.file
    made = quantize(
        base.gguf, base.digest, imatrix, type_name, tensor_types, work, threads, progress, allow_fallback=allow_fallback
    )
    extras[REPORT] = made.folder / REPORT
    artifact, predicted = made.folder / artifact_name("gguf"), None
    if solution is not None:
        check_size(solution, artifact)
        predicted = solution.predicted_mean_kld
    return Product("gguf", name, artifact, (*steps, made), extras, checks, predicted)


def in_parts(product: Product, max_bytes: int, work: WorkFolder, progress: Progress | None = None) -> Product:
    """The same artifact in files of at most `max_bytes`."""
    made = split(product.artifact, f"step:{product.steps[-1].step.key}", max_bytes, work, progress)
    return replace(product, artifact=first_part(made.folder), steps=(*product.steps, made))


def measure(
    base: Base, products: Mapping[str, Product], progress: Progress | None = None,
    documents: Sequence[Document] | None = None,
) -> dict[str, tuple[Fidelity, Check]]:  # fmt: skip
    """Fidelity of products against their base in one pass, and whether each generates.

    documents: None for the verification text.
    """
    from edgellm.engines import open_runtime

    documents = documents or verify.verification_documents(base.tokenizer)
    options = RuntimeOptions(context_tokens=WINDOW_TOKENS)
    with ExitStack() as opened:
        with labelled(progress, "load the models to compare") as on_progress:
            runtimes = []
            for format_name, artifact in [("gguf", base.gguf), *((p.format, p.artifact) for p in products.values())]:
                runtimes.append(opened.enter_context(closing(open_runtime(format_name, artifact, options))))
                if on_progress:
                    on_progress(len(runtimes), len(products) + 1)
        artifacts = dict(zip(products, runtimes[1:], strict=True))
        with labelled(progress, "measure fidelity") as on_progress:
            found = compare(runtimes[0], artifacts, documents, on_progress=on_progress)
        with labelled(progress, "generate"):
            return {n: (found[n], verify.check_decodes(artifacts[n], documents[0].ids)) for n in products}


def judge(tokenizer: Tokenizer, product: Product, found: Fidelity, generates: Check, gate: Gate | None) -> Verdict:
    """All checks of one artifact, with the tokenizer that ships beside it."""
    checks = verify.check_structure(product.artifact, product.format, product.type)
    checks += verify.check_tokenizer(tokenizer, product.artifact, product.format)
    return verify.verdict_of([*checks, *product.checks, generates, *verify.check_fidelity(found, gate)])


def facts_of(
    base: Base, product: Product, recipe: Recipe, gate: Gate | None, size: Size, verdict: Verdict, found: Fidelity
) -> Manifest:
    """The manifest of a product, but for its files, which are listed as they are written."""
    # The first step, if there is one, read the whole source for its key; its record has the digest.
    read = next(iter(base.steps[0].step.inputs.values())) if base.steps else base.digest
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
    source = source_of(target, recipe, order.checkpoint, progress)
    check_quantizable(source)
    if source.path.resolve().is_relative_to(order.out.resolve()):
        raise UsageError(f"{order.out} holds {source.path}, which is read for the build; name another folder")
    with bundle.claim(order.out):
        room = room_of(source, plan, work, order.out, parts=order.split_bytes is not None)
        need_space(order.out, room.out, f"the bundle {order.out}")
        base = make_base(source, work, progress, room)
        tensor_types = without_overruled(base.gguf, order.tensor_types, plan.tensor_types)
        product = make_artifact(
            base, plan.format, plan.type, tensor_types, plan.calibration, work, order.threads, progress,
            coverage=order.coverage, allow_fallback=plan.allow_fallback, goal=plan.goal,
        )  # fmt: skip
        if order.split_bytes:
            product = in_parts(product, order.split_bytes, work, progress)
        found, generates = measure(base, {product.type: product}, progress)[product.type]
        gate = gate_of(recipe, product.type) if order.gated else None
        return ship(base, product, recipe, gate, found, generates, order.out, progress)


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
    return Built(out, out / facts.artifact, size, verdict, reused, product.predicted_mean_kld)


def reasons(verdict: Verdict) -> str:
    """The failed checks in words."""
    return ", ".join(
        f"{c.name} is {c.value if not isinstance(c.value, float) else round(c.value, 5)}, limit {c.limit}"
        if c.limit is not None
        else f"{c.name} failed ({c.detail or 'no more is known'})"
        for c in verdict.checks
        if not c.passed
    )

"""The artifacts of a ladder: each type as `quantize` would make it with our rules, and as llama.cpp alone would."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgellm.build.family_rules import with_family_rules
from edgellm.build.order import unquantized
from edgellm.build.pipeline import Base, Product, make_artifact
from edgellm.build.recipes import choose
from edgellm.errors import UsageError
from edgellm.measures.sizing import Size, size_of
from edgellm.records.quantization import QuantizeReport
from edgellm.records.recipe import Recipe
from edgellm.stages import Progress
from edgellm.stages.calibrate import IMATRIX, calibrate
from edgellm.stages.calibration_text import NONE
from edgellm.stages.convert import FLOAT_BYTES, artifact_name
from edgellm.stages.fidelity import Artifact
from edgellm.stages.quantize import REPORT, quantize
from edgellm.store.work import WorkFolder

TYPES = ("Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0")


@dataclass(frozen=True)
class Rung:
    """One type of a ladder. `rules`: pattern → type of what the mixture does not decide."""

    type: str
    rules: Mapping[str, str]
    product: Product
    size: Size

    @property
    def artifact(self) -> Artifact:
        return Artifact("gguf", self.product.artifact, f"step:{self.product.steps[-1].step.key}")

    @property
    def tensors(self) -> dict[str, int]:
        """Tensor type → how many tensors have it."""
        from edgellm.engines.gguf.header import read_header

        return dict(Counter(t.type for t in read_header(self.product.artifact).tensors).most_common())


def types_of(asked: Sequence[str], recipe: Recipe) -> list[str]:
    """The types that were asked for, or the usual ones and the recipe's own; raises UsageError for one that is none."""
    from edgellm.engines.gguf.types import file_type

    if recipe.quantization.format != "gguf":
        raise UsageError(f"the recipe {recipe.name} makes no GGUF, and the types of a ladder are those of GGUF files")
    wanted = asked or (*TYPES, recipe.quantization.type)
    return list(dict.fromkeys(file_type(name).name for name in wanted))


def recipe_rules(recipe: Recipe, type_name: str) -> Mapping[str, str]:
    """The recipe's rules for a type: its own, those of its variant of this type, else those that keep floats."""
    from edgellm.engines.gguf.types import file_type

    if file_type(recipe.quantization.type).name != type_name:
        for name, variant in recipe.variants.items():
            if variant.type is not None and variant.target_size is None and file_type(variant.type).name == type_name:
                return choose(recipe, variant=name).tensor_types
    return choose(recipe, type_name=type_name).tensor_types


def make_rung(
    base: Base, recipe: Recipe, type_name: str, work: WorkFolder, threads: int = 0, progress: Progress | None = None
) -> Rung:
    """The artifact of a type, with the rules of recipe and family and a named type for each tensor that would fall
    back; where the recipe allows llama.cpp's fallback, that stays. Raises as `make_artifact` does."""
    from edgellm.engines.gguf.fitting_rules import rules_for_misfits

    allow_fallback = recipe.quantization.fallback == "allow"
    rules = dict(recipe_rules(recipe, type_name))
    calibration: str | Sequence[str] = recipe.quantization.calibration
    if type_name in FLOAT_BYTES and unquantized(rules) == rules:
        calibration = NONE
    elif not allow_fallback:
        rules = rules_for_misfits(base.gguf, type_name, with_family_rules(base.gguf, type_name, rules)) | rules
    product = make_artifact(
        base, "gguf", type_name, rules, calibration, work, threads, progress, allow_fallback=allow_fallback
    )
    rules = with_family_rules(base.gguf, type_name, rules)
    return Rung(type_name, rules, product, size_of(product.artifact, "gguf"))


def make_stock(
    base: Base, recipe: Recipe, rung: Rung, work: WorkFolder, threads: int = 0, progress: Progress | None = None
) -> Rung:
    """The same type as llama.cpp's mixture gives it, with the same importance matrix and no rule of ours."""
    if not rung.rules:
        return rung
    imatrix, calibration = None, recipe.quantization.calibration
    if calibration != NONE and rung.type not in FLOAT_BYTES:
        imatrix = calibrate(base.gguf, base.digest, base.tokenizer, calibration, work, progress).folder / IMATRIX
    made = quantize(base.gguf, base.digest, imatrix, rung.type, {}, work, threads, progress, allow_fallback=True)
    product = Product("gguf", rung.type, made.folder / artifact_name("gguf"), (made,), {REPORT: made.folder / REPORT})
    return Rung(rung.type, {}, product, size_of(product.artifact, "gguf"))


def unasked(rung: Rung) -> str | None:
    """Which types stand in a file that nobody asked for, in words; None where there are none."""
    path = rung.product.extras.get(REPORT)
    if path is None:
        return None
    report = QuantizeReport.model_validate_json(path.read_text(encoding="utf-8"))
    fallen = Counter(f"{t.got} for {t.requested}" for t in report.tensors if t.got != t.requested)
    if not fallen:
        return None
    said = ", ".join(f"{count} {words}" for words, count in fallen.most_common())
    return f"{rung.type} holds types that nobody asked for in {fallen.total()} tensors: {said}"

"""`edgellm eval ladder`: every type of a model side by side, and the smallest that is good enough."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgellm.bench.engine import EngineLoad
from edgellm.bench.machine import describe_machine
from edgellm.build.benching import bench_opened
from edgellm.build.ladder_gate import disorder, failures, gate_for, is_monotone, recommended, rule_words
from edgellm.build.ladder_rungs import Rung, make_rung, make_stock, types_of, unasked
from edgellm.build.ladder_scores import Suites, choose_answers, flips_between, items_for, results_of, scores_of
from edgellm.build.order import check_calibration, check_gates, recipe_for
from edgellm.build.pipeline import Base, make_base
from edgellm.build.sources import source_of
from edgellm.engines.protocol import RuntimeOptions
from edgellm.errors import UsageError
from edgellm.evals.suites import SUITES
from edgellm.inference.target import Target, resolve
from edgellm.measures.fidelity_change import change_of_sums
from edgellm.measures.fidelity_figures import Sums, summary, sums_of
from edgellm.records.bench import EngineBench
from edgellm.records.evals import EvalResult, ItemRecord
from edgellm.records.ladder import DocumentSums, LadderBase, LadderResult, LadderRow
from edgellm.records.recipe import Gate, Recipe
from edgellm.records.results import Fidelity
from edgellm.stages import Progress, verify, versions_of
from edgellm.stages.bundle import now
from edgellm.stages.coverage import CoverageRule
from edgellm.stages.fidelity import Artifact, Tallied, measure_tallies
from edgellm.store import digest
from edgellm.store.work import WorkFolder

LOAD = EngineLoad(prompt_tokens=(0,), decode_tokens=(64,), repeat=3)
BASE = "base"  # the name of the base artifact beside those of the types
STOCK = "stock "  # before the type, where llama.cpp's own mixtures stand beside ours
FAR = 1.5  # a kind whose mean KLD lies wholly above so many times the whole's is worth a note


@dataclass(frozen=True)
class LadderOrder:
    """What is asked of a ladder."""

    target: str
    types: Sequence[str] = ()  # empty: the usual ones and the recipe's own
    suites: Suites = field(default_factory=Suites)
    limit: int | None = None  # documents of each kind of text, and multiple-choice items
    timed: bool = True
    checkpoint: Path | None = None  # the weights, for a recipe that does not bring its own
    threads: int = 0


@dataclass(frozen=True)
class Measured:
    """All that was measured of the rungs; `base` answers and results are those of the base artifact."""

    tallied: Tallied
    rungs: Sequence[Rung]
    stock: Sequence[Rung]  # in the order of `rungs`; empty where no rule of ours holds
    answers: Mapping[str, Sequence[ItemRecord]]
    results: Mapping[str, Mapping[str, EvalResult]]
    speeds: Mapping[str, EngineBench]

    def sums(self, name: str) -> Sums:
        return sums_of(self.tallied.artifacts[name], self.tallied.own, self.tallied.documents)

    def fidelity(self, name: str) -> Fidelity:
        return summary(self.tallied.artifacts[name], self.tallied.own, self.tallied.documents)


def run_ladder(order: LadderOrder, work: WorkFolder, progress: Progress | None = None) -> LadderResult:
    """Make every type, measure all against the base artifact, and say which is the smallest that keeps the gate.

    Everything that takes long is a step of the work folder: a run that was killed goes on where it was. Raises
    UsageError for types and suites that there are not, and what making, loading and measuring raise.
    """
    began = time.monotonic()
    target = resolve(order.target)
    recipe = recipe_for(target)
    check_gates(recipe)
    check_calibration(recipe.quantization.calibration, CoverageRule())
    types = types_of(order.types, recipe)
    if unknown := [name for name in order.suites.all_names if name not in SUITES]:
        raise UsageError(f"there is no suite {unknown[0]!r}; take one of {', '.join(SUITES)}")
    gate, gate_from = gate_for(recipe)
    base = make_base(source_of(target, recipe, order.checkpoint, progress), work, progress)
    found = measure(base, recipe, types, order, work, progress)
    rows = rows_of(found, gate, recipe, base)
    stock = stock_rows(found, rows, gate, recipe, base)
    return LadderResult(
        target=order.target, recipe=recipe.name, gate=gate, gate_from=gate_from, rule=rule_words(gate, gate_from),
        rows=rows, recommended=recommended(rows), monotone=is_monotone(rows), stock=stock,
        stock_disorder=[*filter(None, map(unasked, found.stock)), *disorder(stock)], base=base_of(base, found),
        reference_sha256=digest.of_value(base.digest),
        texts_sha256=digest.of_value([list(d.ids) for d in found.tallied.documents]),
        settings={"types": types, "limit": order.limit, "suites": order.suites.all_names,
                  "judge": order.suites.judge.place if order.suites.judge else None, "timed": order.timed},
        notes=notes_on(rows, order), machine=describe_machine(), conditions=conditions_of(found.speeds),
        valid=all(speed.valid for speed in found.speeds.values()),
        reasons=[f"{name}: {reason}" for name, speed in found.speeds.items() for reason in speed.reasons],
        versions=versions_of("llama-cpp-python"), seconds=round(time.monotonic() - began, 2), created=now(),
    )  # fmt: skip


def measure(
    base: Base, recipe: Recipe, types: Sequence[str], order: LadderOrder, work: WorkFolder, progress: Progress | None
) -> Measured:
    """Make the rungs, from the smallest file to the largest, and measure them."""
    rungs = [make_rung(base, recipe, name, work, order.threads, progress) for name in types]
    stock = [make_stock(base, recipe, rung, work, order.threads, progress) for rung in rungs]
    if all(ours is theirs for ours, theirs in zip(rungs, stock, strict=True)):
        stock = []
    rungs.sort(key=lambda rung: rung.size.size_bytes)
    stock.sort(key=lambda rung: [ours.type for ours in rungs].index(rung.type))
    reference = Artifact("gguf", base.gguf, base.digest)
    ours = {rung.type: rung.artifact for rung in rungs}
    theirs = {f"{STOCK}{rung.type}": rung.artifact for rung in stock}
    documents = verify.documents_by_kind(base.tokenizer, order.limit)
    tallied = measure_tallies(reference, ours | theirs, documents, work, progress)
    items, everyone = items_for(order.limit), {BASE: reference} | ours
    answers = {n: choose_answers(target_of(base, n, a), a, items, work, progress) for n, a in everyone.items()}
    results = {n: results_of(a, order.suites, work, progress) for n, a in everyone.items()}
    speeds = {n: timed(base, n, a, progress) for n, a in ours.items()} if order.timed else {}
    return Measured(tallied, rungs, stock, answers, results, speeds)


def target_of(base: Base, name: str, artifact: Artifact) -> Target:
    """An artifact of the work folder with the tokenizer of its source."""
    return Target(f"{base.name} {name}", "gguf", artifact.path, "gguf", artifact.path, base.source)


def timed(base: Base, name: str, artifact: Artifact, progress: Progress | None) -> EngineBench:
    return bench_opened(target_of(base, name, artifact), LOAD, RuntimeOptions(LOAD.context_tokens), progress)


def rows_of(found: Measured, gate: Gate, recipe: Recipe, base: Base) -> list[LadderRow]:
    rows = []
    for rung, larger in zip(found.rungs, [*found.rungs[1:], None], strict=True):
        row = row_of(rung, rung.type, found, gate, recipe, base)
        to_next = change_of_sums("mean_kld", whole(found, rung.type), whole(found, larger.type)) if larger else None
        speed = found.speeds.get(rung.type)
        decode = next(t for t in speed.results if t.test.startswith("tg")).tokens_per_s if speed else None
        rows.append(row.model_copy(update={
            "change_to_next": to_next,
            "flips": flips_between(found.answers[BASE], found.answers[rung.type]),
            "scores": scores_of(found.results[rung.type], found.results[BASE]),
            "decode_tokens_per_s": decode.median if decode else None, "decode": decode,
            "decode_valid": speed.valid if speed else None,
        }))  # fmt: skip
    return rows


def stock_rows(
    found: Measured, rows: Sequence[LadderRow], gate: Gate, recipe: Recipe, base: Base
) -> list[LadderRow]:  # fmt: skip
    """llama.cpp's own mixtures with their fidelity alone: they are shown, and never recommended."""
    stock = []
    for rung, ours in zip(found.stock, rows, strict=False):
        name = f"{STOCK}{rung.type}"
        change = change_of_sums("mean_kld", whole(found, name), whole(found, ours.type))
        stock.append(row_of(rung, name, found, gate, recipe, base).model_copy(update={"change_to_ours": change}))
    return stock


def row_of(rung: Rung, name: str, found: Measured, gate: Gate, recipe: Recipe, base: Base) -> LadderRow:
    fidelity = found.fidelity(name)
    checks = [
        *verify.check_structure(rung.product.artifact, "gguf", rung.type),
        *verify.check_tokenizer(base.tokenizer, rung.product.artifact, "gguf"), *rung.product.checks,
    ]  # fmt: skip
    said = failures(fidelity, rung.type, gate, recipe, checks)
    return LadderRow(
        type=rung.type, rules=dict(rung.rules), tensors=rung.tensors, size_bytes=rung.size.size_bytes,
        bits_per_weight=rung.size.bits_per_weight, mean_kld=fidelity.mean_kld,
        same_top_percent=fidelity.same_top_percent, bits_per_byte=fidelity.bits_per_byte,
        bits_per_character=fidelity.bits_per_character, by_kind=fidelity.by_kind, passes=not said, reasons=said,
        fidelity=fidelity, sums=document_sums(found, name),
    )  # fmt: skip


def whole(found: Measured, name: str) -> Sums:
    """The sums of the documents that the figures of the whole count."""
    return found.sums(name).pick([i for i, d in enumerate(found.tallied.documents) if not d.only_kind])


def document_sums(found: Measured, name: str) -> DocumentSums:
    sums, documents = found.sums(name), found.tallied.documents
    counts = {key: tuple(int(v) for v in getattr(sums, key))
              for key in ("tokens", "utf8_bytes", "characters", "same_top")}  # fmt: skip
    # As many digits as float32 arithmetic is worth.
    amounts = {key: tuple(float(f"{v:.8g}") for v in getattr(sums, key))
               for key in ("kld", "nats", "reference_nats", "delta_p", "delta_p_squared")}  # fmt: skip
    return DocumentSums.model_validate(
        {"kinds": tuple(d.kind for d in documents), "in_whole": tuple(not d.only_kind for d in documents)}
        | counts | amounts
    )  # fmt: skip


def base_of(base: Base, found: Measured) -> LadderBase:
    any_row = found.fidelity(found.rungs[0].type)
    return LadderBase(
        size_bytes=base.gguf.stat().st_size, bits_per_byte=any_row.reference_bits_per_byte,
        bits_per_character=any_row.reference_bits_per_character, scores=scores_of(found.results[BASE]),
    )  # fmt: skip


def notes_on(rows: Sequence[LadderRow], order: LadderOrder) -> list[str]:
    """What one must know to read the table: kinds of text that lose far more than the whole, and what was left out."""
    said = []
    for row in rows:
        far = {kind: f.mean_kld.value / row.mean_kld.value for kind, f in row.by_kind.items()
               if f.mean_kld.low > FAR * row.mean_kld.value}  # fmt: skip
        if far:
            named = ", ".join(f"{kind} {times:.1f} times" for kind, times in sorted(far.items(), key=lambda f: -f[1]))
            said.append(f"{row.type} loses far more in some kinds of text than the gate's text shows: {named}")
    if order.limit is not None:
        said.append(
            f"at most {order.limit} documents of each kind and items of each suite were taken: intervals are wide, and "
            "a type that fails here may pass with all"
        )
    return said


def conditions_of(speeds: Mapping[str, EngineBench]) -> dict[str, object]:
    """Those under which the first type was timed; the others followed at once."""
    return dict(next(iter(speeds.values())).conditions) if speeds else {}

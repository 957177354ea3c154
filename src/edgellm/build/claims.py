"""The reports' claims beside what was measured: a status for each device and batch, and from those the claim's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgellm.build.claim_found import Found
from edgellm.build.claim_metrics import UNMEASURABLE, Evidence, measure
from edgellm.records.bench import LoadBench
from edgellm.records.claims import (
    Case,
    CaseStatus,
    Claim,
    ClaimFound,
    ClaimsFound,
    ClaimStatus,
    Measure,
    MeasureFound,
    MeasureStatus,
    NotCounted,
)
from edgellm.records.evals import EvalResult
from edgellm.records.ladder import LadderResult
from edgellm.records.results import DemoResult
from edgellm.records.statistics import Interval
from edgellm.store import catalogue
from edgellm.store.results import Collection, Result, load_all, reasons_of

SIGNS = {"at_least": "≥ ", "at_most": "≤ ", "about": "", "one_of": "", "reported": "any "}


def claims_of(results: Path | None) -> ClaimsFound:
    """Every claim, with what the results below a folder show of it; without a folder, what shapes alone show.

    Raises BadInput if there is no such folder.
    """
    collection = load_all(results) if results is not None else Collection([], [])
    return judge(catalogue.load_claims().claims, collection, str(results or ""))


def judge(claims: Sequence[Claim], collection: Collection, place: str) -> ClaimsFound:
    excluded = {s.path: why for s in collection.results if (why := why_not_counted(s.result))}
    evidence = Evidence([s for s in collection.results if s.path not in excluded])
    found = tuple(judged(claim, evidence) for claim in claims)
    used = {file for claim in found for case in claim.cases for file in case.files}
    unused = {
        str(s.path): "no claim is about it, or a newer file took its place"
        for s in evidence.saved if str(s.path) not in used
    }  # fmt: skip
    unreadable = {str(u.path): u.reason for u in collection.unreadable}
    left = unreadable | {str(path): why for path, why in excluded.items()} | unused
    return ClaimsFound(
        claims=found, results=place, counted=tuple(sorted(used)),
        not_counted=tuple(NotCounted(file=file, reason=reason) for file, reason in sorted(left.items())),
    )  # fmt: skip


def why_not_counted(result: Result) -> str:
    """Why a result shows nothing of a claim whatever it is; empty where it may."""
    if isinstance(result, DemoResult):
        return "a record of the demo, whose model no claim is about"
    if isinstance(result, LadderResult):
        return "a ladder of types, of which no claim takes its figures"
    if reasons := reasons_of(result):
        return f"not valid: {'; '.join(reasons)}"
    if isinstance(result, LoadBench) or (isinstance(result, EvalResult) and result.model is None):
        return ""  # of a server, whose name says what it serves
    if result.model is None or result.model.recipe is None:
        return "it does not say of which recipe its model is"
    full = layers_of(result.model.recipe)
    if full and result.model.layers and result.model.layers != full:
        return f"only {result.model.layers} of {full} layers"
    return ""


def layers_of(recipe: str) -> int | None:
    """How many layers the recipe's full model has; None where that is not known."""
    if recipe not in catalogue.recipe_names():
        return None
    stated = catalogue.load_recipe(recipe).shape.get("num_hidden_layers")
    return stated if isinstance(stated, int) else None


def judged(claim: Claim, evidence: Evidence) -> ClaimFound:
    cases: list[Case] = []
    measures: list[MeasureFound] = []
    for asked in claim.measures:
        own = [case_of(asked, found) for found in measure(asked.metric, evidence)]
        cases += own
        measures.append(MeasureFound(
            name=asked.name, ja=asked.ja, kind=asked.metric.kind, target=target_words(asked),
            target_value=asked.target if isinstance(asked.target, float) else None, required=asked.required,
            status=status_of_cases([case.status for case in own]), how=asked.how, reason=asked.reason,
            reason_ja=asked.reason_ja,
            why_unmeasured="" if own else UNMEASURABLE.get(asked.metric.kind, "no valid result file shows it"),
        ))  # fmt: skip
    return ClaimFound(
        id=claim.id, source=claim.source, statement=claim.statement, ja=claim.ja, met_when=claim.met_when,
        met_when_ja=claim.met_when_ja, target="; ".join(f"{m.name} {m.target}" for m in measures),
        measured=measured_words(measures, cases), status=status_of_claim(measures), measures=tuple(measures),
        cases=tuple(cases), published=claim.published,
    )  # fmt: skip


def case_of(asked: Measure, found: Found) -> Case:
    return Case(
        measure=asked.name, device=found.device, test=found.test, parallel=found.parallel, variant=found.variant,
        value=found.value, text=found.text, unit=asked.unit, status=status_of(asked, found), how=found.how,
        files=found.files,
    )  # fmt: skip


def status_of(asked: Measure, found: Found) -> CaseStatus:
    """Both ends of the interval have to agree with each other, or nothing is decided."""
    if asked.compare == "one_of":
        return "met" if isinstance(asked.target, tuple) and found.text in asked.target else "missed"
    if found.value is None:
        return "missed"
    if asked.compare == "reported":
        return "met"
    if not found.sure:
        return "undecided"
    assert isinstance(asked.target, float)
    value, target = found.value, asked.target
    if asked.compare == "about":
        least, most = target * (1 - asked.tolerance), target * (1 + asked.tolerance)
        return decided(value.low >= least and value.high <= most, value.high < least or value.low > most)
    if asked.compare == "at_least":
        return decided(value.low >= target, value.high < target)
    return decided(value.high <= target, value.low > target)


def decided(met: bool, missed: bool) -> CaseStatus:
    return "met" if met else "missed" if missed else "undecided"


def status_of_cases(cases: Sequence[CaseStatus]) -> MeasureStatus:
    """The worst of the cases decides."""
    worst_first: tuple[CaseStatus, ...] = ("missed", "undecided", "met")
    return next((status for status in worst_first if status in cases), "unmeasured")


def status_of_claim(measures: Sequence[MeasureFound]) -> ClaimStatus:
    """Missed if any case misses; met if all that is required was measured and every case meets."""
    found = [m.status for m in measures]
    if "missed" in found:
        return "missed"
    required = [m.status for m in measures if m.required]
    return "met" if required and set(required) == {"met"} and "undecided" not in found else "unmeasured"


def target_words(asked: Measure) -> str:
    if asked.target is None:
        return "any figure" if asked.unit else "shown"
    if isinstance(asked.target, tuple):
        return " or ".join(asked.target)
    within = f" ± {number(float(f'{asked.tolerance * asked.target:.2g}'))}" if asked.tolerance else ""
    return f"{SIGNS[asked.compare]}{number(asked.target)}{within} {asked.unit}".rstrip()


def measured_words(measures: Sequence[MeasureFound], cases: Sequence[Case]) -> str | None:
    """What was found of each measure in a few words; the cases hold the numbers."""
    said = []
    for each in measures:
        own = [case for case in cases if case.measure == each.name]
        if own:
            count = f" in {len(own)} cases, {sum(c.status == 'met' for c in own)} met" if len(own) > 1 else ""
            said.append(f"{each.name}: {range_words(own)}{count}")
    return "; ".join(said) or None


def range_words(cases: Sequence[Case]) -> str:
    values = sorted(case.value.value for case in cases if case.value is not None)
    if not values:
        return ", ".join(dict.fromkeys(case.text for case in cases))
    ends = number(values[0]) if values[0] == values[-1] else f"{number(values[0])} to {number(values[-1])}"
    return f"{ends} {cases[0].unit}".rstrip()


def number(value: float) -> str:
    return f"{value:,.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.3g}"


def interval_words(value: Interval) -> str:
    if value.low == value.high:
        return number(value.value)
    return f"{number(value.value)} [{number(value.low)}, {number(value.high)}]"

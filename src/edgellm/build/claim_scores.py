"""What evaluations show of a claim: a model's score, or its ratio over another's that was judged alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgellm.build.claim_found import Found
from edgellm.build.comparing_evals import SCORE, eval_rows, why_unlike
from edgellm.records.claims import ScoreMetric
from edgellm.records.evals import EvalResult, Score
from edgellm.records.statistics import Interval
from edgellm.store.results import Saved, device_of, model_of

Evaluated = tuple[Saved, EvalResult]


def score_cases(metric: ScoreMetric, saved: Sequence[Saved]) -> list[Found]:
    """The newest score under each protocol and judge; with `over`, each pair of scores that may be compared."""
    ours = list(newest(saved, metric.suite, metric.recipe, metric.types))
    if metric.over is None:
        return [alone(each, metric) for each in ours if each[1].score is not None]
    theirs = list(newest(saved, metric.suite, metric.over, metric.over_types))
    pairs = [(one, other) for one in ours for other in theirs if one[0].path != other[0].path]
    found = [over(one, other) for one, other in pairs if not why_unlike(other[1], one[1])]
    return [each for each in found if each is not None]


def newest(saved: Sequence[Saved], suite: str, recipe: str, types: Sequence[str]) -> Iterator[Evaluated]:
    """Of each artifact under each protocol, items and judge."""
    found: dict[tuple[object, ...], Evaluated] = {}
    for each in sorted(saved, key=lambda one: one.result.created):
        result = each.result
        if isinstance(result, EvalResult) and result.suite == suite and is_of(result, recipe, types):
            artifact = result.model.sha256 if result.model else (result.target, result.model_name)
            key = (artifact or model_of(result), result.protocol_sha256, result.items_sha256, repr(result.judge))
            found[key] = each, result
    yield from found.values()


def is_of(result: EvalResult, recipe: str, types: Sequence[str]) -> bool:
    """A server's model, or a file of answers, is a recipe's where its name says so."""
    if result.model is None:
        return not types and recipe in f"{result.model_name} {result.target}".lower()
    return result.model.recipe == recipe and (not types or result.model.file_type in types)


def alone(evaluated: Evaluated, metric: ScoreMetric) -> Found:
    saved, result = evaluated
    assert result.score is not None
    value = scaled(result.score, metric.out_of / result.scale if metric.out_of else 1.0)
    return Found(
        value, place(result), how(result), result.protocol, variant=variant(result), files=(str(saved.path),),
        sure=is_sure(result),
    )  # fmt: skip


def over(ours: Evaluated, theirs: Evaluated) -> Found | None:
    """None where they have no item in common, or the other's score is 0."""
    (saved, result), (other_saved, other) = ours, theirs
    row = next((each for each in eval_rows(other, result) if each.test == SCORE), None)
    if row is None or row.ratio is None:
        return None
    sure = is_sure(result) and is_sure(other) and row.verdict != "not known"
    return Found(
        row.ratio, place(result), f"{how(result)}; {row.how}", result.protocol,
        variant=f"{variant(result)} / {variant(other)}", files=(str(saved.path), str(other_saved.path)), sure=sure,
    )  # fmt: skip


def scaled(score: Score, factor: float) -> Interval:
    return Interval(value=score.mean * factor, low=score.low * factor, high=score.high * factor)


def is_sure(result: EvalResult) -> bool:
    """A part of the items, or one of them alone, decides nothing."""
    return result.items > 1 and result.settings.get("limit") is None


def how(result: EvalResult) -> str:
    judge = f"judged by {result.judge.name} with prompts of {result.judge.prompts}" if result.judge else "no judge"
    return f"protocol {result.protocol}, {judge}, {result.items} items"


def place(result: EvalResult) -> str:
    return device_of(result) if result.model is not None else f"{result.model_name} at {result.target}".strip()


def variant(result: EvalResult) -> str:
    if result.model is None:
        return result.model_name or result.target
    size = f" {result.model.size_bytes / 1e9:.2f} GB" if result.model.size_bytes else ""
    return f"{result.model.recipe} {result.model.file_type or ''}{size}"

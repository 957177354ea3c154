"""Two evaluations of the same items, held against each other item by item; of anything else, why that cannot be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgellm.measures.comparison import paired_difference
from edgellm.records.comparison import ComparedTest, Verdict
from edgellm.records.evals import EvalResult, JudgeFingerprint
from edgellm.records.statistics import Interval

Turn = tuple[str, int]  # an item, and which turn of it
SCORE = "score"
SAME_MEAN = 1e-9  # means that differ by less are the same


def why_unlike(a: EvalResult, b: EvalResult) -> str:
    """Why two scores say nothing of each other; empty where they may be compared."""
    for what, mine, its in (("suite", a.suite, b.suite), ("protocol", a.protocol, b.protocol)):
        if mine != its:
            return f"the {what}s differ: {mine} and {its}"
    if why := why_unlike_judges(a.judge, b.judge):
        return why
    if a.items_sha256 != b.items_sha256:
        return f"the items differ: {brief(a.items_sha256)} and {brief(b.items_sha256)}"
    if a.protocol_sha256 != b.protocol_sha256:
        mine, its = brief(a.protocol_sha256), brief(b.protocol_sha256)
        return f"the prompts, sampling or rules of the protocol {a.protocol} differ: {mine} and {its}"
    return ""


def why_unlike_judges(a: JudgeFingerprint | None, b: JudgeFingerprint | None) -> str:
    if a is None or b is None:
        return "" if a is b else f"the judges differ: {a.name if a else 'none'} and {b.name if b else 'none'}"
    for name in JudgeFingerprint.model_fields:
        mine, its = getattr(a, name), getattr(b, name)
        if mine != its:
            said = "" if name == "name" else f" in {name.replace('_', ' ')}"
            return f"the judges differ{said}: {brief(str(mine))} and {brief(str(its))}"
    return ""


def brief(text: str) -> str:
    """Enough of a digest to tell it from another."""
    return f"{text[:19]}…" if text.startswith("sha256:") else text


def eval_rows(a: EvalResult, b: EvalResult) -> list[ComparedTest]:
    """The score, and that of each category, over the items that both have; empty where there are none."""
    mine, its = scores_by_turn(a), scores_by_turn(b)
    both = [turn for turn in mine if turn in its]
    categories = {record.id: record.category for record in a.records}
    rows = [row(SCORE, a, mine, its, both)]
    for category in dict.fromkeys(categories[item] for item, _ in both):
        own = [turn for turn in both if categories[turn[0]] == category]
        if len(own) < len(both):
            rows.append(row(f"{SCORE} {category or '(none)'}", a, mine, its, own))
    return [each for each in rows if each is not None]


def scores_by_turn(result: EvalResult) -> dict[Turn, float]:
    """The mean over repeats of each turn that has a score."""
    found: dict[Turn, list[float]] = {}
    for record in result.records:
        if record.score is not None:
            found.setdefault((record.id, record.turn), []).append(record.score)
    return {turn: float(np.mean(scores)) for turn, scores in found.items()}


def row(
    test: str, a: EvalResult, mine: Mapping[Turn, float], its: Mapping[Turn, float], turns: Sequence[Turn]
) -> ComparedTest | None:  # fmt: skip
    """B − A over the turns, with the interval that resampling whole items gives."""
    if not turns:
        return None
    of_a, of_b = (float(np.mean([scores[turn] for turn in turns])) for scores in (mine, its))
    found = paired_difference([its[turn] - mine[turn] for turn in turns], [item for item, _ in turns])
    items = len({item for item, _ in turns})
    return ComparedTest(
        test=test, unit=f"of {a.scale:g}", better="higher", a=of_a, b=of_b, ratio=over(of_a, found), difference=found,
        verdict=verdict(found, items), how=f"{items} items that both have, resampled in pairs",
    )  # fmt: skip


def over(mean: float, difference: Interval) -> Interval | None:
    """B over A, where A's mean is taken as it is: (A + difference) / A. None where that divides by nothing."""
    if mean <= 0:
        return None
    ends = {name: (mean + getattr(difference, name)) / mean for name in ("value", "low", "high")}
    return Interval(**ends)


def verdict(difference: Interval, items: int) -> Verdict:
    if items < 2:
        return "not known"
    if difference.low <= 0 <= difference.high:
        return "no difference seen"
    return "B is better" if difference.low > 0 else "B is worse"


def eval_notes(a: EvalResult, b: EvalResult, rows: Sequence[ComparedTest]) -> list[str]:
    """Where the rows are not of all that each side scored, or do not take the mean as its protocol does."""
    mine, its = scores_by_turn(a), scores_by_turn(b)
    said = []
    for label, own, other in (("A", mine, its), ("B", its, mine)):
        if left := [turn for turn in own if turn not in other]:
            said.append(f"{len(left)} scores of {label} are left out, because the other side has none for those items")
    means = next(((each.a, each.b) for each in rows if each.test == SCORE), ())
    for label, result, value in zip("AB", (a, b), means, strict=False):
        if result.score is not None and abs(result.score.mean - value) > SAME_MEAN:
            said.append(
                f"{label}'s score is {result.score.mean:.4g} as {result.protocol} counts it over all its items; here "
                "every turn that both have counts once"
            )
    return said

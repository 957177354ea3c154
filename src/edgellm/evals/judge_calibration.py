"""What a judge is worth: its scores held against another judge's, or people's, answer by answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgellm.errors import BadInput
from edgellm.evals.mt_bench_ja.files import NO_SCORE, Judged
from edgellm.records.judging import Agreement, JudgeCalibration, ModelAgreement, ModelOrder
from edgellm.records.statistics import Interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

RESAMPLES = 1000
SEED = 0  # the same files give the same interval
FEWEST = 20  # answers from which a correlation says anything
LEAST_SPEARMAN = 0.5  # below, a judge's order of answers is mostly its own
MOST_FAILED = 0.1
# Below this share of all differing scores between answers a judge repeats itself: 8, 8, 8, 9, 8 …
LEAST_DIFFERENT = 0.05

Place = tuple[str, str, int]  # question, model, turn


@dataclass(frozen=True)
class Pairs:
    """Answers that both gave a score; arrays of shape (answers,)."""

    judge: NDArray[Any]
    against: NDArray[Any]
    questions: Sequence[str]
    models: Sequence[str]
    categories: Sequence[str]

    def __len__(self) -> int:
        return len(self.questions)

    def where(self, kept: Sequence[bool]) -> tuple[Any, Any]:
        import numpy as np

        chosen = np.array(kept, dtype=bool)
        return self.judge[chosen], self.against[chosen]


def calibrate(
    judged: Sequence[Judged], against: Sequence[Judged], require_spearman: float | None = None
) -> JudgeCalibration:
    """Match judgments by question, model and turn, and say how far the first agree with the second.

    N judgments of one answer count as their mean, without those that failed. `require_spearman` takes the place of
    LEAST_SPEARMAN in the verdict. Raises BadInput where no answer is in both.
    """
    ours, theirs = by_place(judged), by_place(against)
    common = [place for place in ours if place in theirs]
    if not common:
        raise BadInput(
            "the two files share no answer (same question, model and turn), so there is nothing to compare; bring "
            "judgments of the same models' answers"
        )
    scored = [place for place in common if ours[place].score is not None and theirs[place].score is not None]
    failed = sum(ours[place].score is None and theirs[place].score is not None for place in common)
    failed_against = sum(theirs[place].score is None for place in common)
    pairs = pairs_of(scored, ours, theirs)
    share = failed / max(1, len(common) - failed_against)
    spearman, within = spearman_interval(pairs), spearman_interval(without_categories(pairs))
    usable, reason = verdict(pairs, spearman, within, share, require_spearman)
    gaps = pairs.judge - pairs.against
    return JudgeCalibration(
        judges=names(judged), against=names(against), n=len(pairs), unmatched=len(ours.keys() ^ theirs.keys()),
        failed=failed, failed_share=share, failed_against=failed_against, spearman=spearman,
        pearson=correlation(pairs.judge, pairs.against), kendall=kendall(pairs.judge, pairs.against),
        within_categories=within, mean_absolute_error=float(abs(gaps).mean()) if len(pairs) else None,
        bias=float(gaps.mean()) if len(pairs) else None,
        within_one_point=float((abs(gaps) <= 1).mean()) if len(pairs) else None,
        per_category=per_category(pairs), per_model=(models := per_model(pairs)), order_of_models=model_order(models),
        usable=usable, reason=reason,
    )  # fmt: skip


@dataclass(frozen=True)
class Scored:
    score: float | None
    category: str


def by_place(judged: Sequence[Judged]) -> dict[Place, Scored]:
    """The mean of all scores that an answer got; None where each judgment of it failed."""
    scores: dict[Place, list[float]] = {}
    categories: dict[Place, str] = {}
    for line in judged:
        place = (line.question, line.model, line.turn)
        known = scores.setdefault(place, [])
        known += [score for score in line.scores if score is not None and score != NO_SCORE]
        categories[place] = line.category or categories.get(place, "")
    return {
        place: Scored(sum(own) / len(own) if own else None, categories[place]) for place, own in scores.items()
    }  # fmt: skip


def pairs_of(places: Sequence[Place], ours: Mapping[Place, Scored], theirs: Mapping[Place, Scored]) -> Pairs:
    import numpy as np

    return Pairs(
        np.array([ours[place].score for place in places], dtype=float),
        np.array([theirs[place].score for place in places], dtype=float),
        [place[0] for place in places], [place[1] for place in places],
        [ours[place].category or theirs[place].category for place in places],
    )  # fmt: skip


def names(judged: Sequence[Judged]) -> tuple[str, ...]:
    return tuple(sorted({line.judge for line in judged if line.judge}))


def correlation(a: NDArray[Any], b: NDArray[Any]) -> float | None:
    """Pearson's; None where one of the two does not vary."""
    import numpy as np

    if len(a) < 2 or np.ptp(a) < 1e-12 or np.ptp(b) < 1e-12:
        return None
    a, b = a - a.mean(), b - b.mean()
    return float(np.clip((a @ b) / np.sqrt((a @ a) * (b @ b)), -1, 1))


def spearman_of(a: NDArray[Any], b: NDArray[Any]) -> float | None:
    """Pearson's of the ranks, with mean ranks for equal values."""
    from scipy.stats import rankdata

    return correlation(rankdata(a), rankdata(b))


def kendall(a: NDArray[Any], b: NDArray[Any]) -> float | None:
    """Kendall's tau-b."""
    from scipy.stats import kendalltau

    return None if correlation(a, b) is None else float(kendalltau(a, b).statistic)


def spearman_interval(pairs: Pairs) -> Interval | None:
    """Spearman's with a 95 % percentile bootstrap that draws questions, so that a question's answers stay together.

    None where it is undefined. Draws in which it is undefined are left out; with one question the ends are the value.
    """
    import numpy as np

    value = spearman_of(pairs.judge, pairs.against)
    if value is None:
        return None
    places: dict[str, list[int]] = {}
    for place, question in enumerate(pairs.questions):
        places.setdefault(question, []).append(place)
    groups = [np.array(own) for own in places.values()]
    draw = np.random.default_rng(SEED)
    found = []
    for _ in range(RESAMPLES if len(groups) > 1 else 0):
        chosen = np.concatenate([groups[place] for place in draw.integers(0, len(groups), len(groups))])
        drawn = spearman_of(pairs.judge[chosen], pairs.against[chosen])
        if drawn is not None:
            found.append(drawn)
    low, high = np.percentile(found, [2.5, 97.5]) if found else (value, value)
    return Interval(value=value, low=min(value, float(low)), high=max(value, float(high)))


def without_categories(pairs: Pairs) -> Pairs:
    """Each score less its category's mean, by each judge: what is left is what it knows of single answers."""
    import numpy as np

    judge, against = pairs.judge.copy(), pairs.against.copy()
    for category in set(pairs.categories):
        own = np.array([one == category for one in pairs.categories])
        judge[own] -= judge[own].mean()
        against[own] -= against[own].mean()
    return Pairs(judge.round(9), against.round(9), pairs.questions, pairs.models, pairs.categories)


def per_category(pairs: Pairs) -> dict[str, Agreement]:
    found = {}
    for category in sorted(set(pairs.categories)):
        a, b = pairs.where([one == category for one in pairs.categories])
        found[category] = Agreement(
            n=len(a), spearman=spearman_of(a, b), mean_absolute_error=float(abs(a - b).mean()),
            bias=float((a - b).mean()),
        )  # fmt: skip
    return found


def per_model(pairs: Pairs) -> dict[str, ModelAgreement]:
    found = {}
    for model in sorted(set(pairs.models)):
        a, b = pairs.where([one == model for one in pairs.models])
        found[model] = ModelAgreement(
            n=len(a), mean=float(a.mean()), mean_against=float(b.mean()), bias=float((a - b).mean())
        )
    return found


def model_order(models: Mapping[str, ModelAgreement]) -> ModelOrder:
    import numpy as np

    judge, against = (np.array([getattr(own, name) for own in models.values()]) for name in ("mean", "mean_against"))
    return ModelOrder(
        kendall=kendall(judge, against),
        judge=tuple(sorted(models, key=lambda name: -models[name].mean)),
        against=tuple(sorted(models, key=lambda name: -models[name].mean_against)),
    )


def verdict(
    pairs: Pairs, spearman: Interval | None, within: Interval | None, failed_share: float, required: float | None
) -> tuple[bool, str]:
    """Whether the judge can be used in the other's place, and why (not), in a sentence."""
    import numpy as np

    if len(pairs) < FEWEST:
        return False, f"{len(pairs)} answers have a score by both; at least {FEWEST} are needed to say anything"
    judge, against = np.unique(pairs.judge), np.unique(pairs.against)
    if len(judge) == 1:
        said = f"the judge gives every answer {judge[0]:g}: it tells nothing apart, and a correlation is undefined"
        return False, said
    if len(against) == 1:
        return False, f"what it is held against gives every answer {against[0]:g}, so a correlation is undefined"
    if failed_share > MOST_FAILED:
        return False, f"{failed_share:.0%} of its judgments hold no score; at most {MOST_FAILED:.0%} may"
    assert spearman is not None
    told = f"Spearman {spearman.value:.2f} ({spearman.low:.2f}–{spearman.high:.2f})"
    if spearman.low <= 0:
        return False, f"{told}: its order of answers may be chance"
    if len(set(pairs.categories)) > 1 and (within is None or within.low <= 0):
        inside = "undefined" if within is None else f"{within.value:.2f} ({within.low:.2f}–{within.high:.2f})"
        return False, (
            f"{told}, but {inside} within categories: it is no better than knowing each category's mean, and cannot "
            "tell single answers apart"
        )
    _, counts = np.unique(pairs.judge, return_counts=True)
    if 1 - counts.max() / counts.sum() < LEAST_DIFFERENT:
        return False, f"{told}, but {counts.max() / counts.sum():.0%} of its scores are the same"
    least = LEAST_SPEARMAN if required is None else required
    if spearman.value < least:
        return False, f"{told} is below {least:g}: its order of answers is not the other's"
    return True, f"{told}: it orders answers much as the other does, with {bias_in_words(pairs)}"


def bias_in_words(pairs: Pairs) -> str:
    bias = float((pairs.judge - pairs.against).mean())
    if abs(bias) < 0.05:
        return "the same mean"
    return f"scores {abs(bias):.2f} points {'higher' if bias > 0 else 'lower'} on average"

"""Evaluations as a report shows them: those that may be compared together, in a table and a plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from edgellm.records.evals import EvalResult
from edgellm.records.statistics import Interval
from edgellm.report.collected import Entry
from edgellm.report.forest import LEFT, RIGHT, Bar, forest_on
from edgellm.report.result_plots import Figure
from edgellm.report.scales import Scale

STEPS = 5  # of the axis, from 0 to the best score


@dataclass(frozen=True)
class ScoreGroup:
    """Results of one suite, protocol, judge and set of items, which alone may be compared."""

    name: str  # unique on the page
    scored: Sequence[tuple[Entry, EvalResult]]

    @property
    def one(self) -> EvalResult:
        """Any of them, for what all have alike."""
        return self.scored[0][1]

    @property
    def categories(self) -> list[str]:
        return list(dict.fromkeys(name for _, result in self.scored for name in result.categories))


def score_groups(entries: Sequence[Entry]) -> list[ScoreGroup]:
    found: dict[tuple[str, ...], list[tuple[Entry, EvalResult]]] = {}
    for entry in entries:
        result = entry.result
        if isinstance(result, EvalResult):
            key = (result.suite, result.protocol, result.items_sha256, result.protocol_sha256, repr(result.judge))
            found.setdefault(key, []).append((entry, result))
    return [ScoreGroup(f"scores-{number}", found[key]) for number, key in enumerate(sorted(found), 1)]


def score_figures(groups: Sequence[ScoreGroup]) -> list[Figure]:
    """A plot of each group with more than one score."""
    return [made for group in groups if (made := score_figure(group))[0]]


def score_figure(group: ScoreGroup) -> Figure:
    bars = [
        Bar(f"{entry.letter} {entry.model}", Interval(value=score.mean, low=score.low, high=score.high),
            "point" if entry.valid else "undecided", f"{entry.letter} {entry.model}: {score.mean:.4g}")
        for entry, result in group.scored if (score := result.score) is not None
    ]  # fmt: skip
    best = group.one.scale
    named = f"{group.one.suite}（{group.one.protocol}）"
    plot = forest_on(
        group.name, f"{named}の得点 Scores of {group.one.suite} ({group.one.protocol})",
        f"{named}の得点と 95 % 区間。値は表を参照。 Scores with their 95 % intervals; the values are in the table.",
        bars, Scale(0.0, best, LEFT, RIGHT, False), [best * step / STEPS for step in range(STEPS + 1)],
        f"得点（満点 {best:g}）", f"score (of {best:g})",
    ) if len(bars) > 1 else Markup("")  # fmt: skip
    ja = f"{named}の得点。横棒は 95 % 区間、白丸は有効でない結果です。"
    en = f"Scores of {group.one.suite} by the protocol {group.one.protocol}; bars: 95 % intervals; hollow: not valid."
    return plot, ja, en

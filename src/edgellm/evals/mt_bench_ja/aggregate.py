"""What judgments come to, as each protocol counts them.

Means are taken of exact fractions and rounded once, so that a sum of 724 over 160 judgments is 4.525 and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from statistics import stdev
from typing import Any, Literal

from edgellm.errors import BadInput
from edgellm.evals.judge import FAILED_CALL
from edgellm.evals.mt_bench_ja.files import NO_SCORE, Judged, Question
from edgellm.evals.mt_bench_ja.intervals import interval_of
from edgellm.evals.mt_bench_ja.protocols import EDGELLM, LLM_JP_JUDGE, Protocol

Duplicates = Literal["count", "last"]
TOP = 10  # the best score that a judge gives
FAILED = Fraction(-1)


@dataclass(frozen=True)
class Cell:
    """One judgment of one answer. `score` is None where the judge failed."""

    question: str
    turn: int
    category: str
    run: int  # which of N
    score: Fraction | None
    failed_call: bool = False


def aggregate(
    judgments: Sequence[Judged], protocol: Protocol, *, duplicates: Duplicates = "count", quirks: bool = False,
    reparse: bool = False,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """By model, in the order in which models come: mean, per_turn, per_category, items, failed, and what the protocol
    tells besides.

    `items` counts lines, a turn of a question each; `judgments` what was judged in them, N of each line; `failed` those
    without a score. `duplicates`: FastChat counts a line that stands twice twice; `last` lets the last stand for
    (model, question, turn, judge prompt). `reparse` reads scores from the judgments' texts instead of believing them.
    """
    by_model: dict[str, list[Judged]] = {}
    for judged in last_ones(judgments) if duplicates == "last" else judgments:
        by_model.setdefault(judged.model, []).append(judged)
    return {model: counted(own, protocol, quirks, reparse) for model, own in by_model.items()}


def with_categories(judgments: Iterable[Judged], questions: Iterable[Question]) -> list[Judged]:
    """The judgments with the categories of a question file, where it has the question."""
    known = {question.id: question.category for question in questions}
    return [replace(judged, category=known.get(judged.question, judged.category)) for judged in judgments]


def last_ones(judgments: Iterable[Judged]) -> list[Judged]:
    return list({(j.model, j.question, j.turn, j.prompt): j for j in judgments}.values())


def counted(judgments: Sequence[Judged], protocol: Protocol, quirks: bool, reparse: bool) -> dict[str, Any]:
    cells = [cell for judged in judgments for cell in cells_of(judged, protocol, reparse)]
    if protocol.counting == "categories":
        need_categories(judgments)
    mean = mean_of(protocol, quirks)
    failed = sum(cell.score is None for cell in cells)
    return {
        "mean": said(mean(cells)),
        "per_turn": {str(turn): said(mean(own)) for turn, own in sorted(parted(cells, lambda c: c.turn).items())},
        "per_category": {name: said(mean(own)) for name, own in sorted(by_category(cells).items())},
        "items": len(judgments),
        "failed": failed,
        "judgments": len(cells),
        "scale": protocol.scale,
    } | besides(judgments, cells, protocol, mean)  # fmt: skip


def besides(
    judgments: Sequence[Judged], cells: Sequence[Cell], protocol: Protocol, mean: Callable[[Sequence[Cell]], Any]
) -> dict[str, Any]:
    """What only some protocols report."""
    if protocol.counting == "runs":
        spread = {name: spread_of(own, protocol) for name, own in sorted(by_category(cells).items())}
        turns = {str(turn): spread_of(own, protocol) for turn, own in sorted(parted(cells, lambda c: c.turn).items())}
        return {"sd": spread_of(cells, protocol), "sd_per_turn": turns, "sd_per_category": spread}
    if protocol.name == LLM_JP_JUDGE.name:  # shares of errors, as it names them
        calls = sum(cell.failed_call for cell in cells)
        failed = sum(cell.score is None for cell in cells)
        return {"pattern_match(%)": percent(failed, len(cells)), "api(%)": percent(calls, len(cells))}
    if protocol.name == EDGELLM.name:
        statuses = [status for judged in judgments for status in judged.statuses]
        whole = interval_of(cells, protocol, mean(cells))
        return {
            "macro_mean": said(macro_mean(cells, mean)), "low": whole and whole.low, "high": whole and whole.high,
            "empty": statuses.count("empty"), "refused": statuses.count("refused"),
        }  # fmt: skip
    return {}


def cells_of(judged: Judged, protocol: Protocol, reparse: bool = False) -> list[Cell]:
    """One for each of N. A score that the protocol does not know is a failure."""
    cells = []
    for run, stored in enumerate(judged.scores):
        text = judged.texts[run] if judged.texts else None
        score = stored
        if text is not None and text != FAILED_CALL and (reparse or stored is None):
            score = score_in(text, protocol)
        elif score is not None:
            score = None if score == NO_SCORE else protocol.valid(score)
        exact = None if score is None else Fraction(str(score))
        cells.append(Cell(judged.question, judged.turn, judged.category, run, exact, text == FAILED_CALL))
    return cells


def score_in(text: str, protocol: Protocol) -> float | None:
    """By the protocol's schema where the judge was held to it, else by its pattern."""
    if protocol.schema is not None and text.lstrip().startswith("{"):
        return protocol.read_structured(text)
    return protocol.read(text)


def mean_of(protocol: Protocol, quirks: bool = False) -> Callable[[Sequence[Cell]], Fraction | None]:
    """The protocol's mean over cells, on its scale; None where no cell has a score."""
    ways: dict[str, Callable[[Sequence[Cell]], Fraction | None]] = {
        "rows": mean_of_rows,
        "runs": lambda cells: average(run_means(cells)),
        "questions": lambda cells: average(means_of_questions(cells, quirks).values()),
        "categories": mean_of_categories,
    }
    divisor = Fraction(TOP) / Fraction(str(protocol.scale))

    def mean(cells: Sequence[Cell]) -> Fraction | None:
        found = ways[protocol.counting](cells)
        return None if found is None else found / divisor

    return mean


def mean_of_rows(cells: Sequence[Cell]) -> Fraction | None:
    return average(cell.score for cell in cells if cell.score is not None)


def run_means(cells: Sequence[Cell]) -> list[Fraction]:
    """Of each of N runs, without what failed in it."""
    means = (mean_of_rows(own) for _, own in sorted(parted(cells, lambda cell: cell.run).items()))
    return [mean for mean in means if mean is not None]


def spread_of(cells: Sequence[Cell], protocol: Protocol) -> float | None:
    """Standard deviation of the runs' means (N - 1), on the scale of the mean; None for a single run."""
    means = run_means(cells)
    return stdev(means) * protocol.scale / TOP if len(means) > 1 else None


def means_of_questions(cells: Sequence[Cell], quirks: bool = False) -> dict[tuple[str, int], Fraction]:
    """The mean of each question and turn. With `quirks` a failure is a -1 in it, and only a mean of -1 is dropped."""
    found = {}
    for key, own in parted(cells, lambda cell: (cell.question, cell.turn)).items():
        mean = average(FAILED if c.score is None else c.score for c in own) if quirks else mean_of_rows(own)
        if mean is not None and not (quirks and mean == FAILED):
            found[key] = mean
    return found


def mean_of_categories(cells: Sequence[Cell]) -> Fraction | None:
    """Over questions and turns in each category, then over the categories."""
    means = (average(means_of_questions(own).values()) for own in by_category(cells).values())
    return average(mean for mean in means if mean is not None)


def macro_mean(cells: Sequence[Cell], mean: Callable[[Sequence[Cell]], Fraction | None]) -> Fraction | None:
    """The mean over categories of a protocol's means."""
    means = (mean(own) for own in by_category(cells).values())
    return average(found for found in means if found is not None)


def by_category(cells: Iterable[Cell]) -> dict[str, list[Cell]]:
    """Without those whose category nobody knows."""
    return parted((cell for cell in cells if cell.category), lambda cell: cell.category)


def parted(cells: Iterable[Cell], key: Callable[[Cell], Any]) -> dict[Any, list[Cell]]:
    parts: dict[Any, list[Cell]] = {}
    for cell in cells:
        parts.setdefault(key(cell), []).append(cell)
    return parts


def average(values: Iterable[Fraction]) -> Fraction | None:
    every = list(values)
    return sum(every, Fraction(0)) / len(every) if every else None


def said(mean: Fraction | None) -> float | None:
    return None if mean is None else float(mean)


def percent(part: int, whole: int) -> float:
    return float(Fraction(100 * part, whole)) if whole else 0.0


def need_categories(judgments: Iterable[Judged]) -> None:
    """Raises BadInput where a mean over categories would leave a judgment out."""
    for judged in judgments:
        if not judged.category:
            raise BadInput(
                f"{judged.where} has question {judged.question}, whose category nobody knows; give the question file"
            )

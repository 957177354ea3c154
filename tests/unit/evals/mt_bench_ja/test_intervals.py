"""Intervals resample questions, with all that belongs to one."""

from __future__ import annotations

from fractions import Fraction

from edgellm.evals.mt_bench_ja.aggregate import Cell, mean_of
from edgellm.evals.mt_bench_ja.intervals import interval_of
from edgellm.evals.mt_bench_ja.protocols import PROTOCOLS
from edgellm.records.evals import Score


def cell(question: int, score: int | None, *, turn: int = 1, category: str = "math", run: int = 0) -> Cell:
    return Cell(str(question), turn, category, run, None if score is None else Fraction(score))


def interval(name: str, cells: list[Cell]) -> Score:
    protocol = PROTOCOLS[name]
    found = interval_of(cells, protocol, mean_of(protocol)(cells))
    assert found is not None
    return found


def test_scores_that_do_not_differ_have_an_interval_of_no_width() -> None:
    for name, protocol in PROTOCOLS.items():
        found = interval(name, [cell(n, 7, turn=turn) for n in range(5) for turn in (1, 2)])
        assert (found.low, found.mean, found.high) == (0.7 * protocol.scale,) * 3


def test_the_interval_holds_the_mean_and_is_the_same_each_time() -> None:
    cells = [cell(n, 1 + n % 10, category="math" if n < 20 else "stem") for n in range(40)]
    for name in PROTOCOLS:
        found = interval(name, cells)
        assert found.low < found.mean < found.high
        assert interval(name, cells) == found


def test_repeats_of_a_question_make_no_interval_narrower() -> None:
    once = [cell(n, 1 + n % 10) for n in range(20)]
    five = [cell(n, 1 + n % 10, run=run) for n in range(20) for run in range(5)]
    for name in ("edgellm", "swallow", "swallow-instruct", "nejumi"):
        assert abs(interval(name, five).low - interval(name, once).low) < 1e-9


def test_a_mean_over_categories_draws_within_them() -> None:
    """Two categories without any spread in them: what is drawn within each never changes."""
    cells = [cell(n, 2, category="math") for n in range(10)] + [cell(n, 8, category="stem") for n in range(10, 20)]
    nejumi, ours = interval("nejumi", cells), interval("edgellm", cells)
    assert (nejumi.low, nejumi.high) == (0.5, 0.5)
    assert ours.low < 5 < ours.high


def test_failures_are_no_values() -> None:
    cells = [cell(1, 7), cell(2, 7), cell(3, None)]
    assert interval("edgellm", cells).low == 7


def test_nothing_has_no_interval() -> None:
    assert interval_of([cell(1, None)], PROTOCOLS["edgellm"], None) is None

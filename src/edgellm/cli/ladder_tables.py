"""The tables of `eval ladder`, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Column, Table

if TYPE_CHECKING:
    from edgellm.records.evals import Score
    from edgellm.records.ladder import LadderResult, LadderRow
    from edgellm.records.statistics import Interval

# Two tables, since a terminal is 80 columns wide.
SIZES = ("type", "MB", "bits/weight", "mean KLD", "95 %", "same top %", "passes")
FIGURES = ("type", "99 % KLD", "Δp %", "RMS Δp %", "flips", "bits/byte", "bits/char", "tok/s")


def print_ladder(result: LadderResult, console: Console | None = None) -> None:
    """The types with what each costs and keeps, kinds of text, suites, and the recommendation with its rule."""
    console = console or Console()
    say(console, f"{result.target} against its base artifact, gate: {result.gate_from}", "")
    console.print(table(SIZES, [sizes(row) for row in result.rows]))
    say(console, "")
    console.print(table(FIGURES, [figures(row) for row in result.rows]))
    print_kinds(result, console)
    print_scores(result, console)
    if result.stock:
        say(console, "", "llama.cpp's own mixtures, without our rules for single tensors")
        console.print(table(SIZES, [sizes(row) for row in result.stock]))
        say(console, *(f"disorder: {sentence}" for sentence in result.stock_disorder))
    say(console, "", *(f"{row.type} fails: {'; '.join(row.reasons)}" for row in result.rows if row.reasons))
    say(console, *(f"note: {note}" for note in result.notes))
    if not result.monotone:
        say(console, "note: the mean KLD does not fall from each type to the next larger one")
    if not result.valid:
        say(console, "speeds in parentheses do not hold: other programs, or heat, disturbed them")
    say(console, f"rule: {result.rule}", f"recommended: {result.recommended or 'none of these'}")


def say(console: Console, *lines: str) -> None:
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    found = Table(Column(heads[0], no_wrap=True), *(Column(h, justify="right") for h in heads[1:]), box=None,
                  pad_edge=False)  # fmt: skip
    for row in rows:
        found.add_row(*row)
    return found


def sizes(row: LadderRow) -> tuple[str, ...]:
    """One type under the headings of `SIZES`."""
    return (
        row.type, f"{row.size_bytes / 1e6:.2f}", f"{row.bits_per_weight:.2f}", f"{row.mean_kld.value:.5f}",
        f"{row.mean_kld.low:.5f}–{row.mean_kld.high:.5f}", f"{row.same_top_percent.value:.1f}",
        "yes" if row.passes else "no",
    )  # fmt: skip


def figures(row: LadderRow) -> tuple[str, ...]:
    """One type under the headings of `FIGURES`; a speed that does not hold is in parentheses."""
    speed = "" if row.decode_tokens_per_s is None else f"{row.decode_tokens_per_s:.0f}"
    fidelity = row.fidelity
    return (
        row.type, value(fidelity.p99_kld, ".4f"), value(fidelity.mean_delta_p_percent, "+.2f"),
        value(fidelity.rms_delta_p_percent, ".2f"), f"{row.flips.flips}/{row.flips.items}" if row.flips else "",
        f"{row.bits_per_byte.value:.4f}", value(row.bits_per_character, ".3f"),
        f"({speed})" if speed and not row.decode_valid else speed,
    )  # fmt: skip


def value(found: Interval | None, form: str) -> str:
    return "" if found is None else format(found.value, form)


def print_kinds(result: LadderResult, console: Console) -> None:
    """Mean KLD by kind of text."""
    kinds = list(dict.fromkeys(kind for row in result.rows for kind in row.by_kind))
    if kinds:
        say(console, "", "mean KLD by kind of text")
        rows = [[row.type, *(f"{row.by_kind[kind].mean_kld.value:.5f}" for kind in kinds)] for row in result.rows]
        console.print(table(("type", *kinds), rows))


def print_scores(result: LadderResult, console: Console) -> None:
    """Suites: the score of each type, and the change to the base artifact with its interval."""
    suites = list(result.base.scores)
    if not suites:
        return
    say(console, "", "scores, and the change to the base artifact with its 95 % interval")
    base = ["base", *(score_text(result.base.scores[suite].score) for suite in suites)]
    rows = [[row.type, *(with_change(row, suite) for suite in suites)] for row in result.rows]
    console.print(table(("type", *suites), [base, *rows]))


def score_text(score: Score | None) -> str:
    return "unscored" if score is None else f"{score.mean:.3f}"


def with_change(row: LadderRow, suite: str) -> str:
    found = row.scores[suite]
    change = found.change
    said = "" if change is None else f" ({change.value:+.3f}, {change.low:+.3f} to {change.high:+.3f})"
    return score_text(found.score) + said

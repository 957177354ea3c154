"""Tables of `eval calibrate-judge` and `eval pairwise`."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from edgellm.records.judging import JudgeCalibration, PairwiseResult


def table(*heads: str) -> Table:
    first, *rest = heads
    columns = (Column(first, no_wrap=True), *(Column(head, justify="right") for head in rest))
    return Table(*columns, box=None, pad_edge=False)


def shown(value: float | None, form: str = ".2f") -> str:
    return "undefined" if value is None else format(value, form)


def print_calibration(found: JudgeCalibration) -> None:
    console = Console()
    if found.spearman is not None:
        low, high = found.spearman.low, found.spearman.high
        console.print(f"Spearman {found.spearman.value:.3f} ({low:.3f}–{high:.3f}) over {found.n} answers")
    else:
        console.print(f"Spearman undefined over {found.n} answers")
    console.print(f"Pearson {shown(found.pearson, '.3f')}, Kendall {shown(found.kendall, '.3f')}")
    if found.mean_absolute_error is not None and found.bias is not None and found.within_one_point is not None:
        off = f"mean absolute error {found.mean_absolute_error:.2f}, bias {found.bias:+.2f}"
        console.print(f"{off}, {found.within_one_point:.0%} within 1 point")
    console.print(f"failed {found.failed} ({found.failed_share:.0%}), unmatched {found.unmatched}")
    categories = table("category", "n", "Spearman", "error", "bias")
    for name, own in found.per_category.items():
        error = f"{own.mean_absolute_error:.2f}"
        categories.add_row(escape(name) or "-", str(own.n), shown(own.spearman), error, f"{own.bias:+.2f}")
    models = table("model", "n", "judge", "against", "bias")
    for name, of in found.per_model.items():
        models.add_row(escape(name), str(of.n), f"{of.mean:.2f}", f"{of.mean_against:.2f}", f"{of.bias:+.2f}")
    console.print(categories)
    console.print(models)
    if found.order_of_models.kendall is not None:
        console.print(f"order of models: Kendall {found.order_of_models.kendall:.2f}")
    console.print(f"{'usable' if found.usable else 'not usable'}: {escape(found.reason)}")


def print_pairwise(found: PairwiseResult) -> None:
    console = Console()
    console.print(f"A: {escape(found.a)}\nB: {escape(found.b)}")
    rows = table("category", "A wins", "B wins", "ties", "B's share")
    for name, own in found.per_category.items():
        share = shown(own.win_rate_b) if own.win_rate_b is not None else "none"
        rows.add_row(escape(name) or "-", str(own.wins_a), str(own.wins_b), str(own.ties), share)
    rate = found.win_rate_b
    share = "none" if rate is None else f"{rate.mean:.2f} ({rate.low:.2f}–{rate.high:.2f})"
    rows.add_row("all", str(found.wins_a), str(found.wins_b), str(found.ties), share)
    console.print(rows)
    console.print(
        f"sign test p = {found.sign_test_p:.2g}; changed with the order {found.inconsistent}, failed {found.failed}, "
        f"same answers {found.same}, unmatched {found.unmatched}"
    )
    console.print(escape(found.verdict))

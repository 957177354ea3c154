"""Tables of results for people: what was compared, and the claims."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

if TYPE_CHECKING:
    from edgellm.records.claims import Case, ClaimFound, ClaimsFound
    from edgellm.records.comparison import ComparedTest, Comparison
    from edgellm.records.statistics import Interval


def print_comparison(found: Comparison) -> None:
    """A line a test, then what else differs."""
    scores = any(row.difference is not None for row in found.tests)
    heads = ("A", "B", *(("B − A", "95 % interval") if scores else ()), "B / A", "95 % interval")
    by_model = any(row.model for row in found.tests)
    columns = [Column("model", no_wrap=True)] if by_model else []
    table = Table(*columns, "test", "unit", *(Column(h, justify="right") for h in heads), "", box=None, pad_edge=False)
    for row in found.tests:
        figures = [*(value_and_ends(row.difference, row, "+.3f") if scores else ()), *value_and_ends(row.ratio, row)]
        cells = (row.test, row.unit, f"{row.a:.4g}", f"{row.b:.4g}", *figures, row.verdict)
        table.add_row(*map(escape, ((row.model, *cells) if by_model else cells)))
    console = Console()
    console.print(table)
    for note in found.notes:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)


def value_and_ends(value: Interval | None, row: ComparedTest, shape: str = ".3f") -> tuple[str, str]:
    if value is None:
        return "", ""
    ends = "" if row.verdict == "not known" else f"{value.low:{shape}} to {value.high:{shape}}"
    return f"{value.value:{shape}}", ends


def print_claims(found: ClaimsFound) -> None:
    """Each claim with its status, its cases below it, and at the end the files that do not count."""
    console = Console()
    for claim in found.claims:
        said = f"{claim.status:<10} {claim.id}: {claim.statement}"
        console.print(said, markup=False, highlight=False, soft_wrap=True)
        print_cases(claim, console)
    counts = {s: sum(claim.status == s for claim in found.claims) for s in ("met", "missed", "unmeasured")}
    console.print(f"\n{', '.join(f'{n} {s}' for s, n in counts.items())}", markup=False, highlight=False)
    for left in found.not_counted:
        console.print(f"not counted: {left.file}: {left.reason}", markup=False, highlight=False, soft_wrap=True)


def print_cases(claim: ClaimFound, console: Console) -> None:
    for measure in claim.measures:
        cases = [case for case in claim.cases if case.measure == measure.name]
        if not cases:
            said = f"{'':11}{measure.name}, {measure.target}: {measure.why_unmeasured}"
            console.print(said, markup=False, highlight=False, soft_wrap=True)
        for case in cases:
            place = ", ".join(part for part in (case.device, case.test, case.variant) if part and part != "any")
            said = f"{'':11}{case.status}: {measure.name} {value_words(case)} ({measure.target}) {place}"
            console.print(said.rstrip(), markup=False, highlight=False, soft_wrap=True)


def value_words(case: Case) -> str:
    if case.value is None:
        return case.text
    value: Interval = case.value
    ends = "" if value.low == value.high else f" [{value.low:,.4g}, {value.high:,.4g}]"
    whole = value.value.is_integer()
    return f"{value.value:,.0f}{ends} {case.unit}" if whole else f"{value.value:,.4g}{ends} {case.unit}"

"""What evaluations print for people."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

if TYPE_CHECKING:
    from edgellm.records.evals import EvalResult, Score

WIDTH = 118


def print_evaluation(result: EvalResult) -> None:
    """The score and those of the categories, further figures, what has no score, and what must be known to read it."""
    from edgellm.records.evals import with_ends

    asked = result.model_name if result.model_name in ("", result.target) else f"{result.model_name} ({result.target})"
    click.echo(f"{asked or result.target}: {result.suite}, protocol {result.protocol}, {result.items} items")
    if result.judge is not None:
        click.echo(f"judged by {result.judge.name}, with prompts of {result.judge.prompts}")
    right = [Column(head, justify="right") for head in (f"score (of {result.scale:g})", "95 % interval")]
    table = Table("", *right, box=None, pad_edge=False)
    table.add_row("all", *cells(result.score))
    for category, score in result.categories.items():
        table.add_row(escape(category or "(none)"), *cells(score))
    for name, value, ends in with_ends(result.measures):
        table.add_row(escape(name.replace("_", " ")), f"{value:.4g}", f"{ends[0]:.4g} to {ends[1]:.4g}" if ends else "")
    Console().print(table)
    for line in besides(result):
        click.echo(textwrap.fill(line, WIDTH, subsequent_indent="  "))
    for note in result.notes:
        click.echo(textwrap.fill(f"note: {note}", WIDTH, subsequent_indent="  "))


def cells(score: Score | None) -> tuple[str, str]:
    return ("none", "") if score is None else (f"{score.mean:.4g}", f"{score.low:.4g} to {score.high:.4g}")


def besides(result: EvalResult) -> list[str]:
    """Other figures, in lines; none for what did not happen."""
    counts = {name: getattr(result, name) for name in ("failed", "empty", "refused", "unscored")}
    said = [", ".join(f"{count} {name}" for name, count in counts.items() if count)]
    for name, shares in (("strict", result.strict), ("loose", result.loose)):
        if shares is not None:
            said.append(f"{name}: {shares.prompt:.4f} of the prompts, {shares.instruction:.4f} of the instructions")
    return [line for line in said if line]

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import click

from edgellm.cli.verb import Verb, json_option

PROTOCOLS = ("edgellm", "fastchat-jp", "llm-jp-judge", "swallow", "swallow-instruct", "nejumi")


@click.command(
    "eval aggregate",
    cls=Verb,
    arguments={"FILE": "judgments as FastChat writes them, or Swallow with lists of N, or Nejumi: one JSON a line."},
    examples=[
        "edgellm eval aggregate gpt-4_single.jsonl --protocol fastchat-jp",
        "edgellm eval aggregate judgments.jsonl --protocol swallow --questions question.jsonl --json",
        "edgellm eval aggregate judgments.jsonl --protocol swallow-instruct --quirks",
    ],
    json_keys={
        "MODEL.mean": "for each model of the file, by its name: its score, as the protocol takes the mean; null where "
        "nothing has a score",
        "MODEL.per_turn": "the same of each turn: `1`, `2`",
        "MODEL.per_category": "the same of each category, by its name",
        "MODEL.items": "lines of the file: a question's turn each",
        "MODEL.failed": "judgments without a score that the protocol knows; they are left out of the means",
        "MODEL.judgments": "judgments in all: N of each line where lines hold lists",
        "MODEL.scale": "the best mean that there is: 10, or 1 where the protocol divides by 10",
    },
)
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--protocol", type=click.Choice(PROTOCOLS), required=True, help="Whose way of counting.")
@click.option(
    "--questions", type=click.Path(path_type=Path), metavar="FILE",
    help="Question file that tells the categories; else the lines themselves, or the ids, tell.",
)  # fmt: skip
@click.option(
    "--duplicates", type=click.Choice(["count", "last"]), default="count", show_default=True,
    help="A judgment that stands twice: count both, as FastChat does, or the last alone.",
)  # fmt: skip
@click.option("--reparse", is_flag=True, help="Read scores from the judgments' texts again, by the protocol's pattern.")
@click.option("--quirks", is_flag=True, help="With swallow-instruct: count failures as it does, as -1 in a mean.")
@json_option
def eval_aggregate(
    path: Path, protocol: str, questions: Path | None, duplicates: Literal["count", "last"], reparse: bool,
    quirks: bool, as_json: bool,
) -> None:  # fmt: skip
    """Scores of a file of judgments, as a protocol counts them. Nothing is asked.

    Further keys of `--json`: `sd`, `sd_per_turn` and `sd_per_category` of N runs with swallow; `pattern_match(%)` and
    `api(%)`, shares of errors, with llm-jp-judge; `macro_mean`, `low` and `high` of the 95 % interval, `empty` and
    `refused` with edgellm.
    """
    from edgellm.evals.mt_bench_ja.aggregate import aggregate, with_categories
    from edgellm.evals.mt_bench_ja.files import read_judgments, read_questions
    from edgellm.evals.mt_bench_ja.protocols import protocol_named

    how = protocol_named(protocol, quirks=quirks)
    judgments = with_categories(read_judgments(path), read_questions(questions) if questions else [])
    scores = aggregate(judgments, how, duplicates=duplicates, quirks=quirks, reparse=reparse)
    if as_json:
        click.echo(json.dumps(scores, ensure_ascii=False))
    else:
        print_scores(scores)


def print_scores(scores: Mapping[str, Mapping[str, Any]]) -> None:
    """A line a model: mean, turns, categories, counts."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    turns = sorted({turn for own in scores.values() for turn in own["per_turn"]})
    categories = sorted({name for own in scores.values() for name in own["per_category"]})
    heads = ["mean", *(f"turn {turn}" for turn in turns), *categories, "items", "failed"]
    table = Table(
        Column("model", no_wrap=True), *(Column(escape(head), justify="right") for head in heads), box=None,
        pad_edge=False,
    )  # fmt: skip
    for model, own in scores.items():
        parts = [*(own["per_turn"].get(turn) for turn in turns), *(own["per_category"].get(c) for c in categories)]
        cells = ["none" if value is None else f"{value:.4g}" for value in (own["mean"], *parts)]
        table.add_row(escape(model), *cells, str(own["items"]), str(own["failed"]))
    Console().print(table)

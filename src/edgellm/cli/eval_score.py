from __future__ import annotations

from pathlib import Path

import click

from edgellm.cli.eval_run import show
from edgellm.cli.verb import Verb, json_option


@click.command(
    "eval score",
    cls=Verb,
    arguments={
        "FILE": "Answers. For ifeval-ja JSONL with `prompt` (or `key`) and `response`, verdict files too; for choice "
        "and exam JSON, JSONL or CSV with the question's id and what was answered."
    },
    examples=[
        "edgellm eval score responses.jsonl --suite ifeval-ja",
        "edgellm eval score eval_results_strict.jsonl --suite ifeval-ja --items ja_input_data.jsonl --json",
        "edgellm eval score answers.jsonl --suite exam --items questions.json",
    ],
    json_keys={
        "suite": "the suite's name",
        "protocol": "how scores are counted",
        "score.mean": "the score; for ifeval-ja the share of prompts followed, strictly; `score` may be null",
        "score.low": "lower end of its 95 % interval over items",
        "score.high": "upper end",
        "categories": "the same by category; for ifeval-ja the share of instructions by their rule's group",
        "items": "items of the items file",
        "failed": "items that got no score, or no response; for ifeval-ja these count as not followed",
        "strict": "with `ifeval-ja`: shares of prompts and of instructions followed, `{prompt, instruction}`",
        "loose": "the same where a first or last line and asterisks may be left out",
        "measures": "further figures of the suite by name",
        "notes": "what a reader must know, such as prompts without a response",
        "records[]": "one a scored item: prompt, answer, score, status, verdicts",
    },
)
@click.argument("answers", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--suite", required=True, type=click.Choice(["ifeval-ja", "choice", "exam"]), help="How the answers are scored."
)
@click.option(
    "--items", type=click.Path(path_type=Path), metavar="FILE",
    help="What was asked; ifeval-ja takes M-IFEval's input data, and without a file our own prompts.",
)  # fmt: skip
@click.option(
    "--save", type=click.Path(path_type=Path), metavar="FILE|DIR",
    help="Keep the result in this .json file, or in a folder of results under a name of its own.",
)  # fmt: skip
@json_option
def eval_score(answers: Path, suite: str, items: Path | None, save: Path | None, as_json: bool) -> None:
    """Score answers that were given elsewhere, without a model.

    ifeval-ja checks each response against its prompt's instructions, strictly and loosely, as M-IFEval does; where the
    file has verdicts of its own, it says how many of ours are equal to them.
    """
    from edgellm.evals.scorers import score

    show(score(suite, answers, items), as_json, save)

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgellm.cli.eval_asking import FILE
from edgellm.cli.eval_judging import Judging, judging_options
from edgellm.cli.progress import progress_on_stderr
from edgellm.cli.verb import Verb, json_option
from edgellm.errors import GateFailed, UsageError

if TYPE_CHECKING:
    from edgellm.records.judging import JudgeCalibration


@click.command(
    "eval calibrate-judge",
    cls=Verb,
    arguments={
        "FILE": "judgments of the judge as FastChat writes them; with --judge, answers that it shall judge now."
    },
    examples=[
        "edgellm eval calibrate-judge local_single.jsonl --against gpt-4_single.jsonl",
        "edgellm eval calibrate-judge local_single.jsonl --against people.jsonl --require-spearman 0.7 --json",
        "edgellm eval calibrate-judge answers.jsonl --against gpt-4_single.jsonl --judge http://127.0.0.1:8081",
    ],
    json_keys={
        "spearman.value": "how far the judge orders answers as the other does, -1 to 1; `spearman` is null where one "
        "of the two gives every answer the same score",
        "spearman.low": "lower end of its 95 % interval over questions",
        "spearman.high": "upper end",
        "pearson": "linear correlation, or null",
        "kendall": "Kendall's tau-b, or null",
        "within_categories": "Spearman of what is left when each category's mean is taken off, with its interval",
        "mean_absolute_error": "mean difference without its sign, in points",
        "bias": "how much higher the judge's scores are on average, in points",
        "within_one_point": "share of answers whose two scores are at most 1 apart",
        "per_category": "`{n, spearman, mean_absolute_error, bias}` of each category",
        "per_model": "`{n, mean, mean_against, bias}` of each model whose answers were judged",
        "order_of_models": "models from the best mean to the worst by each of the two, and Kendall's tau of the means",
        "n": "answers that both gave a score",
        "unmatched": "answers that only one of the two judged",
        "failed": "answers for which the judge gave no score and the other did",
        "usable": "whether the judge can stand in for the other",
        "reason": "why, or why not, in a sentence",
    },
)
@click.argument("path", metavar="FILE", type=FILE)
@click.option(
    "--against", type=FILE, required=True, metavar="FILE",
    help="Judgments of the same answers by another judge, or by people, as FastChat writes them.",
)  # fmt: skip
@click.option(
    "--require-spearman", type=click.FloatRange(-1, 1), metavar="X",
    help="Exit code 3 where Spearman's correlation is below X, or undefined.",
)  # fmt: skip
@click.option("--questions", type=FILE, metavar="FILE", help="With --judge: the questions, if they are not ours.")
@click.option("--references", type=FILE, metavar="FILE", help="With --judge: their reference answers.")
@click.option("--judge-prompts", type=FILE, metavar="FILE", help="With --judge: published judge prompts, not ours.")
@judging_options
@json_option
def eval_calibrate_judge(
    path: Path, against: Path, require_spearman: float | None, questions: Path | None, references: Path | None,
    judge_prompts: Path | None, judging: Judging, as_json: bool,
) -> None:  # fmt: skip
    """What a judge is worth: its scores held against another judge's, or people's.

    Judgments are matched by question, model and turn. A judge that gives every answer the same score, or knows no more
    than how hard a category is, is called so.
    """
    from edgellm.build.judging import Materials, calibrate_files, calibrate_now
    from edgellm.store.work import WorkFolder, default_root

    judge = judging.asked()
    if judge is None:
        if questions or references or judge_prompts:
            raise UsageError(
                "--questions, --references and --judge-prompts are for --judge; name one or leave them out"
            )
        found = calibrate_files(path, against, require_spearman)
    else:
        materials = Materials(questions, references, judge_prompts)
        with progress_on_stderr() as progress:
            found = calibrate_now(
                path, against, judge, materials, WorkFolder(default_root()), concurrency=judging.concurrency,
                require_spearman=require_spearman, progress=progress,
            )  # fmt: skip
    if as_json:
        click.echo(found.model_dump_json())
    else:
        from edgellm.cli.eval_judge_tables import print_calibration

        print_calibration(found)
    require(found, require_spearman, path)


def require(found: JudgeCalibration, least: float | None, path: Path) -> None:
    if least is None or (found.spearman is not None and found.spearman.value >= least):
        return
    value = "undefined" if found.spearman is None else f"{found.spearman.value:.3f}"
    raise GateFailed(f"Spearman of {path} is {value}, and {least:g} was required: {found.reason}", found)

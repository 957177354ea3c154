from __future__ import annotations

from pathlib import Path

import click

from edgellm.cli.eval_asking import FILE
from edgellm.cli.eval_judging import Judging, judging_options
from edgellm.cli.progress import progress_on_stderr
from edgellm.cli.verb import Verb, json_option
from edgellm.errors import UsageError


@click.command(
    "eval pairwise",
    cls=Verb,
    arguments={
        "A": "answers of one model, of the original say: a result of `eval run`, or a FastChat answer file.",
        "B": "answers of another to the same questions, of a quantization say.",
    },
    examples=[
        "edgellm eval pairwise original.json q4.json --judge http://127.0.0.1:8081",
        "edgellm eval pairwise model_answer/f16.jsonl model_answer/q4_k_m.jsonl --judge my-bundle --json",
    ],
    json_keys={
        "wins_a": "pairs in which the judge preferred A in both orders",
        "wins_b": "pairs in which it preferred B in both orders",
        "ties": "all other pairs that could be judged",
        "win_rate_b.mean": "share that B wins, where a tie counts half; 0.5 means as good as A",
        "win_rate_b.low": "lower end of its 95 % interval over questions",
        "win_rate_b.high": "upper end",
        "sign_test_p": "how likely wins as uneven are between equal models: the two-sided sign test, without ties",
        "inconsistent": "pairs in which the judge changed its mind with the order",
        "prefers_first": "share of these in which it preferred what stood first, or null",
        "position_biased": "whether it goes by position more than chance would",
        "failed": "pairs without a choice that can be read, in one of the orders",
        "same": "pairs of the same answer, which are ties without being asked about",
        "unmatched": "answers that only one of the two has",
        "per_category": "`{wins_a, wins_b, ties, win_rate_b}` of each category",
        "verdict": "what it comes to, in a sentence",
    },
)
@click.argument("a", type=FILE)
@click.argument("b", type=FILE)
@click.option(
    "--questions", type=FILE, metavar="FILE", help="Questions of FastChat answer files, if they are not ours."
)
@click.option("--model-a", metavar="NAME", help="Whose answers A has, where it has those of several.")
@click.option("--model-b", metavar="NAME", help="The same for B.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N questions.")
@judging_options
@json_option
def eval_pairwise(
    a: Path, b: Path, questions: Path | None, model_a: str | None, model_b: str | None, limit: int | None,
    judging: Judging, as_json: bool,
) -> None:  # fmt: skip
    """Which of two models answers better, by a judge that sees each pair twice, with the order exchanged.

    A model wins a pair only where it is preferred both times. A run that was stopped goes on where it was.
    """
    from edgellm.build.judging import Compared, compare_answers
    from edgellm.store.work import WorkFolder, default_root

    judge = judging.asked()
    if judge is None:
        raise UsageError("eval pairwise needs a judge; name one with --judge URL or --judge TARGET")
    with progress_on_stderr() as progress:
        found = compare_answers(
            Compared(a, b, model_a, model_b, limit), judge, questions, WorkFolder(default_root()),
            concurrency=judging.concurrency, progress=progress,
        )  # fmt: skip
    if as_json:
        click.echo(found.model_dump_json())
    else:
        from edgellm.cli.eval_judge_tables import print_pairwise

        print_pairwise(found)

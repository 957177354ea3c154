from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgellm.cli.eval_asking import PARALLEL, Asking, asking_options
from edgellm.cli.eval_questions import Questions, questions_options
from edgellm.cli.progress import progress_on_stderr
from edgellm.cli.verb import LOADABLE, Verb, json_option

if TYPE_CHECKING:
    from edgellm.records.evals import EvalResult
    from edgellm.stages import Progress


@click.command(
    "eval run",
    cls=Verb,
    arguments={"TARGET": f"what to ask: {LOADABLE} Without it, --url."},
    examples=[
        "edgellm eval run my-bundle --suite judge-free --save results",
        "edgellm eval run my-bundle --suite mt-bench-ja --judge http://127.0.0.1:8081",
        "edgellm eval run --url http://127.0.0.1:8080 --suite ifeval-ja --limit 20",
        "edgellm eval run my-bundle --suite choice --items jcommonsenseqa.jsonl --shots 3",
    ],
    json_keys={
        "suite": "what was asked",
        "protocol": "how it was asked and counted",
        "score.mean": "the score, as the protocol takes the mean; `score` is null where nothing could be scored",
        "score.low": "lower end of its 95 % interval over items",
        "score.high": "upper end",
        "scale": "the best score that there is: 1 or 10",
        "categories": "the same for each category, by its name",
        "failed": "answers, or turns of them, that have no score, because the server or the judge gave none",
        "items": "how many items were asked",
        "empty": "answers in which nothing was said",
        "refused": "answers in which the model declined",
        "unscored": "answers that cannot be scored on this machine, such as code without a sandbox",
        "strict": "with `ifeval-ja`: shares of prompts and of instructions followed, `{prompt, instruction}`",
        "loose": "the same where a first or last line and asterisks may be left out",
        "measures": "further figures of the suite, by name",
        "judge": "who judged: name, digest of the model, whose prompts, temperature; null without a judge",
        "items_sha256": "digest of the items",
        "protocol_sha256": "digest of all else that decides the score",
        "records[]": "what was asked, answered and scored, item by item",
        "notes": "what one must know to read the score",
    },
)
@click.argument("target", required=False)
@questions_options
@asking_options
@click.option("--fresh", is_flag=True, help="Begin anew, with nothing of a run that was stopped or judged before.")
@click.option(
    "--save", type=click.Path(path_type=Path), metavar="FILE|DIR",
    help="Keep the result in this .json file, or in a folder of results under a name of its own.",
)  # fmt: skip
@json_option
def eval_run(
    target: str | None, questions: Questions, asking: Asking, fresh: bool, save: Path | None, as_json: bool
) -> None:
    """Ask a model the questions of a suite, and score its answers.

    Suites: mt-bench-ja (80 questions in two turns, by a judge), judge-free (those of them that programs can check),
    ifeval-ja (instructions that can be verified), choice and exam (multiple choice; bring the items), long-ja (long
    texts), register (what quantization breaks first: script, language, repetition).

    A run that was stopped goes on where it was when the same is asked again. Nothing is sent but to the servers that
    are named. Two results are compared with `edgellm compare`, item by item.
    """
    with ExitStack() as kept:
        with progress_on_stderr() as progress:
            result = kept.enter_context(run(target, questions, asking, fresh, save, progress))
        show(result, as_json, save)


def run(
    target: str | None, questions: Questions, asking: Asking, fresh: bool, save: Path | None, progress: Progress
) -> AbstractContextManager[EvalResult]:
    """The result, for the time in which it is brought to where it shall be."""
    from edgellm.build.evaluating import Evaluation, evaluated
    from edgellm.store.disk import need_writable
    from edgellm.store.work import WorkFolder, default_root

    asked = asking.asked(target)
    options = questions.options(PARALLEL if asked.is_url else asked.options.sequences)
    if save is not None:
        need_writable(save, f"the result {save}", "give another place with --save")
    evaluation = Evaluation(questions.suite, asked, options, asking.judging(), questions.limit, fresh)
    return evaluated(evaluation, WorkFolder(default_root()), progress)


def show(result: EvalResult, as_json: bool, save: Path | None) -> None:
    """Print first: a result is not lost where it cannot be saved."""
    if as_json:
        click.echo(result.model_dump_json())
    else:
        from edgellm.cli.eval_tables import print_evaluation

        print_evaluation(result)
    if save is not None:
        from edgellm.store.results import save as save_result

        click.echo(f"saved as {save_result(result, save)}", err=True)

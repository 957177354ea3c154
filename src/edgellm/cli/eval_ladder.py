from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgellm.cli.ladder_keys import KEYS
from edgellm.cli.progress import progress_on_stderr
from edgellm.cli.verb import CONVERTIBLE, Verb, json_option, threads_option
from edgellm.errors import GateFailed, UsageError

if TYPE_CHECKING:
    from edgellm.build.eval_models import Asked
    from edgellm.records.ladder import LadderResult


def type_names(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    names = tuple(name.strip() for name in value.split(",")) if value else ()
    if not all(names):
        raise click.BadParameter("a name is missing between two commas")
    return names


def judge_of(judge: str | None, name: str | None, key_file: Path | None) -> Asked | None:
    """Who judges; raises UsageError for options of a judge without one."""
    from edgellm.build.eval_models import Asked
    from edgellm.build.ladder_scores import Suites
    from edgellm.cli.load_bench import api_key

    if judge is None:
        if name is not None or key_file is not None:
            raise UsageError("--judge-model and --judge-api-key-file are of a judge; name it with --judge")
        return None
    return Asked(judge, name, api_key(key_file) if key_file else None, Suites().options)


@click.command(
    "eval ladder",
    cls=Verb,
    arguments={"RECIPE|TARGET": CONVERTIBLE},
    examples=[
        "edgellm eval ladder tiny-ja",
        "edgellm eval ladder ./my-checkpoint --types Q3_K_M,IQ4_XS,Q4_K_M --save results",
        "edgellm eval ladder llm-jp-4-8b --suite judge-free --suite register --judge http://127.0.0.1:8081",
    ],
    json_keys=KEYS,
)
@click.argument("target", metavar="RECIPE|TARGET")
@click.option(
    "--types", callback=type_names, metavar="T,T,…", show_default="Q2_K to Q8_0, and the recipe's own",
    help="Which types to make and measure.",
)  # fmt: skip
@click.option("--suite", "suites", multiple=True, metavar="NAME", help="Ask these questions too, of `eval run`.")
@click.option("--judge", metavar="URL|TARGET", help="Have this model judge mt-bench-ja for every type and the base.")
@click.option("--judge-model", metavar="NAME", show_default="the first that the server lists", help="Who judges there.")
@click.option(
    "--judge-api-key-file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="File with the key for the judge's server.",
)  # fmt: skip
@click.option(
    "--limit", type=click.IntRange(1), metavar="N",
    help="For a quick look: at most so many documents of each kind of text, and items of each suite.",
)  # fmt: skip
@click.option("--speed/--no-speed", default=True, show_default=True, help="Time how fast each type decodes.")
@click.option(
    "--checkpoint", type=click.Path(path_type=Path), metavar="PATH", show_default="the recipe's",
    help="For a recipe: the folder or .gguf with the weights, where they are not on this machine or not public.",
)  # fmt: skip
@threads_option
@click.option(
    "--save", type=click.Path(path_type=Path), metavar="FILE|DIR",
    help="Keep the result in this .json file, or in a folder of results under a name of its own.",
)  # fmt: skip
@json_option
def eval_ladder(
    target: str, types: tuple[str, ...], suites: tuple[str, ...], judge: str | None, judge_model: str | None,
    judge_api_key_file: Path | None, limit: int | None, speed: bool, checkpoint: Path | None, threads: int,
    save: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Make a model in several types, measure each against the original, and name the smallest that is good enough.

    Good enough is what keeps the gate of the recipe, or the default one, with the ends of its intervals. Types get
    the recipe's rules, and tensors that do not fit a type's blocks a named one; llama.cpp's own mixtures stand beside
    them where that makes a difference. Stopped, it goes on where it was. Exit code 3 when no type keeps the gate.
    """
    from edgellm.build.ladder import LadderOrder, run_ladder
    from edgellm.build.ladder_scores import Suites
    from edgellm.store.disk import need_writable
    from edgellm.store.work import WorkFolder, default_root

    asked = Suites(suites, judge_of(judge, judge_model, judge_api_key_file), limit)
    if save is not None:
        need_writable(save, f"the result {save}", "give another place with --save")
    order = LadderOrder(target, types, asked, limit, speed, checkpoint, threads)
    with progress_on_stderr() as progress:
        result = run_ladder(order, WorkFolder(default_root()), progress)
    show(result, as_json, save)


def show(result: LadderResult, as_json: bool, save: Path | None) -> None:
    """Print first: a result is not lost where it cannot be saved."""
    if as_json:
        click.echo(result.model_dump_json())
    else:
        from edgellm.cli.ladder_tables import print_ladder

        print_ladder(result)
    if save is not None:
        from edgellm.store.results import save as save_result

        click.echo(f"saved as {save_result(result, save)}", err=True)
    if result.recommended is None:
        raise GateFailed(f"no type of {result.target} keeps the gate: {closest(result)}; add a larger type, or see why")


def closest(result: LadderResult) -> str:
    """Why the largest type, which comes nearest, does not pass."""
    row = result.rows[-1]
    return f"{row.type}, the largest, fails because {' and '.join(row.reasons)}"

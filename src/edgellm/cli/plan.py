from __future__ import annotations

import json

import click

from edgellm.cli.loading_options import CACHE_TYPES
from edgellm.cli.progress import progress_on_stderr
from edgellm.cli.verb import Verb, json_option
from edgellm.errors import UsageError


@click.command(
    "plan",
    cls=Verb,
    arguments={
        "RECIPE": "a recipe that states the shape of its model: its name, see `edgellm recipes`, or .toml file."
    },
    examples=[
        "edgellm plan llm-jp-4-32b-a3b --device rtx-4090",
        "edgellm plan llm-jp-4-33b --device l40s --context 8192 --parallel 4",
        "edgellm plan llm-jp-4-8b --measure",
        "edgellm plan --check",
    ],
    json_keys={
        "file_bytes": "size of the file that quantize writes, to the byte; see file_bytes_excludes_vocabulary",
        "file_bytes_excludes_vocabulary": "true where the tokenizer is not at hand: then it is what synth writes",
        "kv_bytes": "KV cache of all sequences, and states of recurrent layers",
        "compute_bytes": "what is reserved for results, an estimate",
        "memory_bytes": "weights, KV cache and results together",
        "fits": "whether that fits the device as asked",
        "longest_context": "tokens of a sequence that fit, up to what is asked; null: not even 512",
        "predicted.decode_tokens_per_s": "tokens a second of all sequences together; null where nothing can be said",
        "predicted.prefill_tokens_per_s": "tokens a second of a prompt that is read by itself; null likewise",
        "predicted.bound": "what holds decoding back: memory, compute or overhead",
        "settings": "options of serve with which it fits, by name; empty where nothing helps",
    },
)
@click.argument("recipe", required=False)
@click.option(
    "--device", default="here", show_default=True, metavar="NAME|FILE",
    help="A machine or class of machines, see `edgellm recipes --devices`; a .toml file of that form; or here.",
)  # fmt: skip
@click.option(
    "--context", type=click.IntRange(0), default=0, show_default=True, metavar="N",
    help="Tokens of a sequence; 0: the variant's, or what the model declares, at most 4096.",
)  # fmt: skip
@click.option(
    "--parallel", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="Sequences at the same time."
)
@click.option(
    "--depth", type=click.IntRange(0), default=0, show_default=True, metavar="N",
    help="Tokens that a sequence holds when its decoding speed is predicted.",
)  # fmt: skip
@click.option(
    "--type", "type_name", metavar="TYPE", show_default="the recipe's", help="Quantization type of llama.cpp."
)
@click.option("--variant", metavar="NAME", show_default="none", help="This variant of the recipe.")
@click.option("--stock", is_flag=True, help="llama.cpp's own mixture of that type, instead of the recipe's rules.")
@click.option(
    "--layers", type=click.IntRange(1), metavar="N", show_default="all", help="Only the first so many layers."
)
@click.option("--cache-type-k", type=click.Choice(CACHE_TYPES), default="f16", show_default=True, help="Of the keys.")
@click.option("--cache-type-v", type=click.Choice(CACHE_TYPES), default="f16", show_default=True, help="Of the values.")
@click.option(
    "--measure", "measuring", is_flag=True,
    help="Time files of 2 and 4 layers on this machine and extrapolate, instead of going by its ceilings.",
)  # fmt: skip
@click.option(
    "--check", "checking", is_flag=True, help="Hold the predictor against published speeds instead, and say its error."
)
@json_option
def plan(
    recipe: str | None, device: str, context: int, parallel: int, depth: int, type_name: str | None,
    variant: str | None, stock: bool, layers: int | None, cache_type_k: str, cache_type_v: str, measuring: bool,
    checking: bool, as_json: bool,
) -> None:  # fmt: skip
    """What a model takes on a machine and how fast it will be, before anything is downloaded.

    File size and KV cache are exact, from the shapes of the model and the rules of llama.cpp's quantizer. Speeds are
    predicted: from the bytes that a token reads, the machine's bandwidth and peak, and constants that were fitted on
    published speeds; --check shows how far off that is. On this machine --measure is nearer: it makes two files of a
    few layers, which take some GB of disk in the work folder and about a minute.
    """
    from edgellm.cli.plan_tables import print_check, print_plan

    if checking or recipe is None:
        if not checking or recipe is not None:
            raise UsageError("give a RECIPE to plan, or --check alone")
        from edgellm.build.prediction_check import check_predictions, judge

        found = check_predictions()
        click.echo(found.model_dump_json()) if as_json else print_check(found)
        judge(found)
        return
    from edgellm.build.planning import Question
    from edgellm.build.planning import plan as make
    from edgellm.store.catalogue import load_recipe

    question = Question(
        type_name, variant, stock, layers, context, parallel, depth, cache_type_k, cache_type_v, measuring
    )  # fmt: skip
    with progress_on_stderr() as progress:
        made = make(load_recipe(recipe), question, device, progress)
    if as_json:
        click.echo(json.dumps(made.model_dump(mode="json"), ensure_ascii=False))
    else:
        print_plan(made)

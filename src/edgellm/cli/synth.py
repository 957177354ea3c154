from __future__ import annotations

import json
from pathlib import Path

import click

from edgellm.cli.progress import progress_on_stderr
from edgellm.cli.verb import Verb, json_option


@click.command(
    "synth",
    cls=Verb,
    arguments={
        "RECIPE": "a recipe that states the shape of its model: its name, see `edgellm recipes`, or .toml file."
    },
    examples=[
        "edgellm synth llm-jp-4-8b --out llm-jp-4-8b.gguf",
        "edgellm synth llm-jp-4-32b-a3b --stock --out stock.gguf",
        "edgellm synth llm-jp-4-8b --layers 2 --type Q8_0 --out two-layers.gguf",
    ],
    json_keys={
        "path": "the file",
        "size_bytes": "its size",
        "parameters": "weights in it",
        "active_parameters": "weights that take part in one token; fewer with experts",
    },
)
@click.argument("recipe")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The .gguf to write.")
@click.option(
    "--type", "type_name", metavar="TYPE", show_default="the recipe's", help="Quantization type of llama.cpp."
)
@click.option("--variant", metavar="NAME", show_default="none", help="The types of this variant of the recipe.")
@click.option("--stock", is_flag=True, help="llama.cpp's own mixture of that type, instead of the recipe's rules.")
@click.option(
    "--layers", type=click.IntRange(1), metavar="N", show_default="all", help="Only the first so many layers."
)
@json_option
def synth(
    recipe: str, out: Path, type_name: str | None, variant: str | None, stock: bool, layers: int | None, as_json: bool
) -> None:
    """A GGUF of a model's true shape with random weights.

    Its size, memory and speed are those of the real model in these types; what it says means nothing. It has no
    vocabulary: `edgellm bench` gives it token ids.
    """
    from edgellm.build.synth import synth as make
    from edgellm.store.catalogue import load_recipe

    with progress_on_stderr() as progress:
        made = make(
            load_recipe(recipe), out, type_name=type_name, variant=variant, stock=stock, layers=layers,
            progress=progress,
        )  # fmt: skip
    document = {
        "path": str(made.path), "size_bytes": made.size_bytes, "parameters": made.parameters,
        "active_parameters": made.active_parameters,
    }  # fmt: skip
    if as_json:
        click.echo(json.dumps(document, ensure_ascii=False))
        return
    active = "" if made.active_parameters == made.parameters else f", {made.active_parameters:,} of them active"
    click.echo(f"{made.path}: {made.size_bytes:,} bytes, {made.parameters:,} parameters{active}")

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
        "routing.touched_share": "share of a layer's experts that 512 random tokens are sent to, where it is least; "
        "routing is null without experts or --routing",
        "routing.most_over_mean": "tokens of the busiest expert over those of the average one, where it is most",
        "routing.evenness": "entropy of the choice of experts over that of an even one, where it is least",
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
@click.option(
    "--routing/--no-routing", "with_routing", default=None, show_default="where memory suffices to load the file",
    help="Load the file and count which experts 512 random tokens are sent to; of a mixture of experts.",
)  # fmt: skip
@json_option
def synth(
    recipe: str, out: Path, type_name: str | None, variant: str | None, stock: bool, layers: int | None,
    with_routing: bool | None, as_json: bool,
) -> None:  # fmt: skip
    """A GGUF of a model's true shape with random weights.

    Its size, memory and speed are those of the real model in these types; what it says means nothing. It has no
    vocabulary: `edgellm bench` gives it token ids. Routers are random too: --routing counts how evenly they use the
    experts, since one that sent all tokens to the same few would make a file look faster than it is.
    """
    from dataclasses import asdict

    from edgellm.build.routing import measured_routing
    from edgellm.build.synth import synth as make
    from edgellm.store.catalogue import load_recipe

    with progress_on_stderr() as progress:
        made = make(
            load_recipe(recipe), out, type_name=type_name, variant=variant, stock=stock, layers=layers,
            progress=progress,
        )  # fmt: skip
        routing = None if with_routing is False else measured_routing(out, must=with_routing is True, progress=progress)
    document = {
        "path": str(made.path), "size_bytes": made.size_bytes, "parameters": made.parameters,
        "active_parameters": made.active_parameters, "routing": routing and asdict(routing),
    }  # fmt: skip
    if as_json:
        click.echo(json.dumps(document, ensure_ascii=False))
        return
    active = "" if made.active_parameters == made.parameters else f", {made.active_parameters:,} of them active"
    click.echo(f"{made.path}: {made.size_bytes:,} bytes, {made.parameters:,} parameters{active}")
    if routing is not None:
        click.echo(routing.words)

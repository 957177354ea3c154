from __future__ import annotations

import click

from edgellm.cli.computing_options import Computing, Keeping, computing_options, keeping_options
from edgellm.cli.loading_options import Loading, loading_options
from edgellm.cli.serving_options import Bounds, Door, bounds_options, door_options
from edgellm.cli.verb import LOADABLE, Verb


@click.command(
    "serve",
    cls=Verb,
    arguments={"TARGET": LOADABLE},
    examples=[
        "edgellm serve tiny-ja",
        "edgellm serve large-bundle small-bundle --memory 16GB",
        "edgellm serve my-bundle --host 0.0.0.0 --api-key-file keys --tls-cert cert.pem --tls-key key.pem",
        "edgellm serve my-bundle --lora legal=legal.gguf --lora sales=./sales-adapter",
    ],
)
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
@click.option(
    "--lora",
    multiple=True,
    metavar="NAME=PATH",
    help="LoRA adapter, a PEFT folder or a GGUF made of one, for requests whose model is MODEL:NAME; may be given "
    "several times. Of the first TARGET; MODEL:NAME=PATH is another's.",
)
@door_options
@bounds_options
@computing_options
@keeping_options
@loading_options
def serve(
    targets: tuple[str, ...], lora: tuple[str, ...], door: Door, bounds: Bounds, computing: Computing,
    keeping: Keeping, loading: Loading,
) -> None:  # fmt: skip
    """Serve models over HTTP, for clients of OpenAI's API.

    When the first model is loaded, stderr says: serving NAME on http://HOST:PORT. The others are loaded when they are
    first asked for. /openapi.json lists the paths. SIGTERM lets requests under way end, Ctrl-C does not. A checkpoint
    is converted to an F16 GGUF first.

    Each model runs in a process of its own. If that dies, requests under way end with an error and it is started
    again; /health says 503 meanwhile.

    On a CPU an F16 or Q8_0 file gives the same answer at temperature 0 alone and while others are answered
    ("batch_invariant" in /health); other types may differ by the number of requests.

    Each LoRA adapter is one more model, MODEL:NAME, in /v1/models. Requests with different adapters are answered at
    the same time but not computed together: llama.cpp takes one adapter at a time. To convert a PEFT folder takes the
    config.json of its base: TARGET's own if that is a checkpoint, else one that lies in the folder.
    """
    from edgellm.cli.serving import serve_models

    serve_models(targets, lora, door, bounds, computing, keeping, loading)

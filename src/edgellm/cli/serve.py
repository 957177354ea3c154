from __future__ import annotations

from pathlib import Path

import click

from edgellm.cli.progress import progress_on_stderr
from edgellm.cli.verb import LOADABLE, Verb, context_option, threads_option

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@click.command(
    "serve",
    cls=Verb,
    arguments={"TARGET": LOADABLE},
    examples=[
        "edgellm serve tiny-ja",
        "edgellm serve my-bundle --host 0.0.0.0 --port 8000 --api-key-file keys.txt",
        "edgellm serve my-bundle --lora legal=legal.gguf --lora sales=./sales-adapter",
    ],
)
@click.argument("target")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    metavar="N",
    help="Port to listen on; 0: a free one, which the ready line names.",
)
@click.option(
    "--parallel",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    metavar="N",
    help="Requests that are answered at the same time.",
)
@context_option
@click.option(
    "--max-queue",
    type=click.IntRange(0),
    default=64,
    show_default=True,
    metavar="N",
    help="Requests that may wait; one more is told to come back later (429).",
)
@click.option(
    "--api-key-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File with one key a line; then only requests that send one are answered.",
)
@click.option(
    "--lora",
    multiple=True,
    metavar="NAME=PATH",
    help="LoRA adapter, a PEFT folder or a GGUF made of one, for requests whose model is MODEL:NAME; may be given "
    "several times.",
)
@threads_option
def serve(
    target: str, host: str, port: int, parallel: int, context: int, max_queue: int, api_key_file: Path | None,
    lora: tuple[str, ...], threads: int,
) -> None:  # fmt: skip
    """Serve a model over HTTP, for clients of OpenAI's API.

    Paths: /health, /v1/models, /v1/chat/completions, /v1/completions. When it listens, it says so on stderr:
    serving NAME on http://HOST:PORT. Ctrl-C ends it. A checkpoint is converted to an F16 GGUF first.

    On a CPU an F16 or Q8_0 file gives the same answer at temperature 0 alone and while others are answered
    ("batch_invariant" in /health); other types may differ by the number of requests.

    Each LoRA adapter is one more model, MODEL:NAME, in /v1/models. Requests with different adapters are answered at
    the same time but not computed together: llama.cpp takes one adapter at a time. To convert a PEFT folder takes the
    config.json of its base: TARGET's own if that is a checkpoint, else one that lies in the folder.
    """
    from contextlib import ExitStack

    from edgellm.build.adapters import adapter_files, named_paths
    from edgellm.build.opening import open_target
    from edgellm.engines.protocol import RuntimeOptions
    from edgellm.inference.advice import advised_sampling
    from edgellm.inference.local_chat import open_chat
    from edgellm.serve.app import create_app
    from edgellm.serve.keys import read_keys
    from edgellm.serve.server import Server, address, bind, run_until_stopped
    from edgellm.serve.service import Service

    keys = read_keys(api_key_file) if api_key_file else []
    adapters = named_paths(lora)
    if host not in LOOPBACK and not keys:
        click.echo(
            f"edgellm: anyone who reaches {host} may use the model; give --api-key-file to prevent it",
            err=True,
        )
    with ExitStack() as opened:
        with progress_on_stderr() as progress:
            files = adapter_files(adapters, target, progress)
            model = open_target(target, progress)
            sock = bind(host, port)
            with progress.work(f"load {model.name}"):
                options = RuntimeOptions(context, parallel, threads, batch_invariant=True, adapters=files)
                chat = opened.enter_context(open_chat(model, options, max_waiting=max_queue))
        service = Service(model.name, chat, advised_sampling(model))
        server = Server(
            create_app(service, keys),
            chat.scheduler,
            lambda: click.echo(f"serving {model.name} on {address(sock)}", err=True),
        )
        run_until_stopped(server, sock, lambda: click.echo(f"stopped serving {model.name}", err=True))

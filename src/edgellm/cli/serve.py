from __future__ import annotations

from pathlib import Path

import click

from edgellm.cli.progress import progress_on_stderr

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@click.command("serve")
@click.argument("target")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0: a free one.")
@click.option("--parallel", type=click.IntRange(1), default=4, show_default=True, help="Requests decoded together.")
@click.option("--context", type=click.IntRange(0), default=0, help="Tokens of prompt and answer; the model's.")
@click.option("--max-queue", type=click.IntRange(0), default=64, show_default=True, help="Requests that may wait.")
@click.option(
    "--api-key-file",
    type=click.Path(path_type=Path),
    help="One key a line; then only those who send one may ask.",
)
@click.option("--threads", type=click.IntRange(0), default=0, help="0: all cores.")
def serve(
    target: str, host: str, port: int, parallel: int, context: int, max_queue: int, api_key_file: Path | None,
    threads: int,
) -> None:  # fmt: skip
    """OpenAI-compatible server: /health, /v1/models, /v1/chat/completions, /v1/completions.

    Says on stderr when it listens: serving NAME on http://HOST:PORT. Ctrl-C ends it.
    """
    from edgellm.build.pipeline import open_target
    from edgellm.engines.protocol import RuntimeOptions
    from edgellm.inference.advice import advised_sampling
    from edgellm.inference.local_chat import open_chat
    from edgellm.serve.app import create_app
    from edgellm.serve.keys import read_keys
    from edgellm.serve.server import Server, address, bind, run_until_stopped
    from edgellm.serve.service import Service

    keys = read_keys(api_key_file) if api_key_file else []
    if host not in LOOPBACK and not keys:
        click.echo(
            f"edgellm: anyone who reaches {host} may use the model; give --api-key-file to prevent it",
            err=True,
        )
    with progress_on_stderr() as progress:
        model = open_target(target, progress)
    sock = bind(host, port)
    with open_chat(model, RuntimeOptions(context, parallel, threads), max_waiting=max_queue) as chat:
        service = Service(model.name, chat, advised_sampling(model))
        server = Server(
            create_app(service, keys),
            chat.scheduler,
            lambda: click.echo(f"serving {model.name} on {address(sock)}", err=True),
        )
        run_until_stopped(server, sock, lambda: click.echo(f"stopped serving {model.name}", err=True))

from __future__ import annotations

from pathlib import Path

import click

from edgellm.cli.progress import progress_on_stderr
from edgellm.cli.verb import Verb, json_option


@click.command(
    "demo",
    cls=Verb,
    examples=["edgellm demo", "edgellm demo --out first-light --json > result.json"],
    json_keys={
        "bundle": "the bundle folder",
        "report": "the HTML report",
        "formats[].format": "`gguf`",
        "formats[].type": "quantization type",
        "formats[].size_bytes": "size of the file",
        "formats[].bits_per_weight": "bits of all tensors, divided by the number of weights",
        "formats[].mean_kld": "mean KL divergence from the f32 original, in nats a token",
        "formats[].same_top_percent": "positions at which the likeliest next token is that of the original, in percent",
        "formats[].bits_per_byte": "bits that the model needs for one UTF-8 byte of the verification text",
        "formats[].decode_tokens_per_s": "tokens decoded a second: the median of 5 runs",
        "reply": "what the served model answered",
        "elapsed_s": "seconds of the whole run",
    },
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("demo"),
    show_default=True,
    metavar="DIR",
    help="Folder for the bundle, demo.json, report.html and the work of the run.",
)
@json_option
def demo(out: Path, as_json: bool) -> None:
    """Run the whole pipeline on the embedded model, offline, and write a report.

    Converts, calibrates, quantizes to eight types, measures the fidelity and speed of each, verifies and bundles
    Q4_K_M, serves it, asks it one question over HTTP, and writes report.html with what it measured.

    Exit code 3 when Q4_K_M does not pass its gate.
    """
    from edgellm.build.demo import run_demo

    with progress_on_stderr() as progress:
        result = run_demo(out, progress)
    if as_json:
        click.echo(result.model_dump_json())
        return
    from edgellm.cli.tables import print_demo

    print_demo(result)

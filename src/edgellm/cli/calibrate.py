from __future__ import annotations

import json
from pathlib import Path

import click

from edgellm.cli.progress import progress_on_stderr
from edgellm.cli.verb import CONVERTIBLE, Verb, json_option


@click.command(
    "calibrate",
    cls=Verb,
    arguments={"TARGET": CONVERTIBLE},
    examples=[
        "edgellm calibrate tiny-ja --out imatrix.gguf",
        "edgellm calibrate ./my-checkpoint --text my-text.txt --out imatrix.gguf",
    ],
    json_keys={
        "path": "the file that was written",
        "tokens": "tokens of calibration text that every dense weight has seen",
        "coverage": "by weight, the share of its matrices that saw a token: experts, or one for a dense weight",
    },
)
@click.argument("target")
@click.option(
    "--text",
    default="shipped",
    metavar="FILE|shipped|self",
    show_default=True,
    help="Calibration text: a UTF-8 file, the text that ships, or self (the model generates it).",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The .gguf file to write.")
@json_option
def calibrate(target: str, text: str, out: Path, as_json: bool) -> None:
    """Collect an importance matrix, in llama.cpp's GGUF format, which llama-quantize takes too.

    Two thirds of the text that ships are Japanese, one third is English. `quantize` calibrates by itself; this verb
    is for those who want the file.
    """
    from edgellm.build.calibration import write_imatrix
    from edgellm.store.work import WorkFolder, default_root

    with progress_on_stderr() as progress:
        tokens, coverage = write_imatrix(target, text, out, WorkFolder(default_root()), progress)
    if as_json:
        click.echo(json.dumps({"path": str(out), "tokens": tokens, "coverage": coverage}, ensure_ascii=False))
    else:
        click.echo(f"{out}: {tokens:,} tokens, {len(coverage)} weights")

from __future__ import annotations

import json
from pathlib import Path

import click

from edgellm.cli.progress import progress_on_stderr


@click.command("calibrate")
@click.argument("target")
@click.option("--text", default="shipped", metavar="FILE|self", show_default=True, help="Calibration text.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The imatrix .gguf to write.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def calibrate(target: str, text: str, out: Path, as_json: bool) -> None:
    """Collect an importance matrix, in llama.cpp's GGUF format.

    Text is the Japanese text that ships, a UTF-8 file, or `self`: text that the model itself generates.
    """
    from edgellm.build.pipeline import write_imatrix
    from edgellm.store.work import WorkFolder, default_root

    with progress_on_stderr() as progress:
        tokens, coverage = write_imatrix(target, text, out, WorkFolder(default_root()), progress)
    if as_json:
        click.echo(json.dumps({"path": str(out), "tokens": tokens, "coverage": coverage}, ensure_ascii=False))
    else:
        click.echo(f"{out}: {tokens:,} tokens, {len(coverage)} weights")

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgellm.cli.progress import progress_on_stderr
from edgellm.errors import GateFailed, UsageError

if TYPE_CHECKING:
    from edgellm.build.pipeline import Built
    from edgellm.records.recipe import Format
    from edgellm.records.results import Verdict


def parse_tensor_types(texts: tuple[str, ...]) -> dict[str, str]:
    pairs = [t.rpartition("=") for t in texts]
    for (pattern, _, type_name), text in zip(pairs, texts, strict=True):
        if not pattern or not type_name:
            raise UsageError(f"--tensor-type {text!r} is not PATTERN=TYPE; write for example 'ffn_down=Q6_K'")
    return {pattern: type_name for pattern, _, type_name in pairs}


@click.command("quantize")
@click.argument("target")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The bundle folder to make.")
@click.option("--format", "format_name", type=click.Choice(["gguf", "onnx"]), help="What the recipe says.")
@click.option("--type", "type_name", help="Any llama.cpp type, such as Q4_K_M; what the recipe says.")
@click.option("--tensor-type", multiple=True, metavar="PATTERN=T", help="Type of tensors that match; repeatable.")
@click.option("--calibration", metavar="FILE|self|none", help="Text for the importance matrix; shipped text.")
@click.option("--gate", type=click.Choice(["recipe", "none"]), default="recipe", show_default=True)
@click.option("--threads", type=click.IntRange(0), default=0, help="0: all cores.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def quantize(
    target: str, out: Path, format_name: Format | None, type_name: str | None, tensor_type: tuple[str, ...],
    calibration: str | None, gate: str, threads: int, as_json: bool,
) -> None:  # fmt: skip
    """Make a verified bundle from a checkpoint, a GGUF or a recipe.

    Steps that were made before are reused. When the quality gate says no, nothing is written to --out, the
    reasons are printed and the exit code is 3.
    """
    from edgellm.build.pipeline import Order, build
    from edgellm.records.results import Verdict
    from edgellm.store.work import WorkFolder, default_root

    order = Order(
        target, out, format_name, type_name, parse_tensor_types(tensor_type), calibration, gate == "recipe", threads
    )
    try:
        with progress_on_stderr() as progress:
            built = build(order, WorkFolder(default_root()), progress)
    except GateFailed as error:
        if as_json and isinstance(error.verdict, Verdict):
            click.echo(refused(error.verdict))
        raise
    if as_json:
        click.echo(document(built))
        return
    from edgellm.cli.tables import print_checks

    click.echo(f"{built.bundle}: {built.size.size_bytes:,} bytes, {built.size.bits_per_weight:.2f} bits per weight")
    print_checks(built.verdict.checks)


def document(built: Built) -> str:
    return json.dumps(
        {
            "bundle": str(built.bundle),
            "artifact": str(built.artifact),
            "size_bytes": built.size.size_bytes,
            "bits_per_weight": built.size.bits_per_weight,
            "verdict": built.verdict.model_dump(),
            "reused": built.reused,
        },
        ensure_ascii=False,
    )


def refused(verdict: Verdict) -> str:
    """The same keys when the gate said no: there is a verdict and no bundle."""
    keys = dict.fromkeys(("bundle", "artifact", "size_bytes", "bits_per_weight"))
    return json.dumps(keys | {"verdict": verdict.model_dump(), "reused": []}, ensure_ascii=False)

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgellm.cli.progress import progress_on_stderr
from edgellm.cli.verb import CONVERTIBLE, Verb, json_option, threads_option
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


@click.command(
    "quantize",
    cls=Verb,
    arguments={"TARGET": CONVERTIBLE},
    examples=[
        "edgellm quantize tiny-ja --out my-bundle",
        "edgellm quantize ./my-checkpoint --type Q5_K_M --calibration my-text.txt --out my-bundle",
        "edgellm quantize ./my-checkpoint --tensor-type ffn_down=Q6_K --gate none --out my-bundle",
    ],
    json_keys={
        "bundle": "the bundle folder; null when the gate said no",
        "artifact": "the file in it that an engine loads; null when the gate said no",
        "size_bytes": "size of the artifact; null when the gate said no",
        "bits_per_weight": "bits of all tensors, divided by the number of weights; null when the gate said no",
        "verdict.passed": "whether every check passed",
        "verdict.checks[].name": "what was checked",
        "verdict.checks[].passed": "whether it passed",
        "verdict.checks[].value": "what was found: a number, a text or null",
        "verdict.checks[].limit": "what it was held to: a number, a text or null",
        "reused": "stages whose product was there already",
    },
)
@click.argument("target")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="The bundle folder to make; a bundle that is there is replaced.",
)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["gguf", "onnx"]),
    show_default="the recipe's",
    help="Format of the artifact; onnx needs the extra [onnx] and is F32.",
)
@click.option(
    "--type",
    "type_name",
    metavar="TYPE",
    show_default="the recipe's",
    help="Quantization type of llama.cpp, such as Q8_0, Q5_K_M, Q4_K_M or IQ4_XS.",
)
@click.option(
    "--tensor-type",
    multiple=True,
    metavar="PATTERN=TYPE",
    help="Type of the tensors whose name the regular expression finds; may be given several times, the "
    "first that matches decides.",
)
@click.option(
    "--calibration",
    metavar="FILE|shipped|self|none",
    show_default="the recipe's",
    help="Text for the importance matrix: a UTF-8 file, the text that ships, self (the model generates it), or none.",
)
@click.option(
    "--gate",
    type=click.Choice(["recipe", "none"]),
    default="recipe",
    show_default=True,
    help="Limits that the result must keep: the recipe's, or none.",
)
@threads_option
@json_option
def quantize(
    target: str, out: Path, format_name: Format | None, type_name: str | None, tensor_type: tuple[str, ...],
    calibration: str | None, gate: str, threads: int, as_json: bool,
) -> None:  # fmt: skip
    """Make a verified bundle from a checkpoint, a GGUF or a recipe.

    Converts, calibrates, quantizes, and measures on Japanese text how far the result is from the original. Steps
    that were made before are reused. A checkpoint or .gguf of yours is held to the recipe `default`: Q4_K_M,
    calibrated on the text that ships, wide limits.

    Exit code 3 when the gate says no: the reasons are printed and nothing is written to --out.
    """
    from edgellm.build.order import Order
    from edgellm.build.pipeline import build
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

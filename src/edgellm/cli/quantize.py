from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgellm.cli.progress import progress_on_stderr
from edgellm.cli.verb import (
    CONVERTIBLE,
    TextSource,
    Verb,
    coverage_threshold_option,
    json_option,
    require_coverage_option,
    threads_option,
)
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
        "edgellm quantize ./my-checkpoint --target-size 18.3GB --out my-bundle",
        "edgellm quantize ./my-checkpoint --fit edge-16gb --context 8192 --out my-bundle",
        "edgellm quantize ./my-checkpoint --calibration self --calibration shipped=2 --out my-bundle",
        "edgellm quantize ./my-checkpoint --tensor-type ffn_down=Q6_K --gate none --out my-bundle",
    ],
    json_keys={
        "bundle": "the bundle folder; null when the gate said no",
        "artifact": "the file in it that an engine loads, of several parts the first; null when the gate said no",
        "size_bytes": "size of the artifact; null when the gate said no",
        "bits_per_weight": "bits of all tensors, divided by the number of weights; null when the gate said no",
        "verdict.passed": "whether every check passed",
        "verdict.checks[].name": "what was checked",
        "verdict.checks[].passed": "whether it passed",
        "verdict.checks[].value": "what was found: a number, a text or null",
        "verdict.checks[].limit": "what it was held to: a number, a text or null",
        "reused": "stages whose product was there already",
        "predicted_mean_kld": "of types chosen for a size: the divergence that their groups add up to, in nats a "
        "token; null with --type",
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
    "--target-size",
    metavar="SIZE",
    show_default="none",
    help="Instead of a type: choose one for each group of tensors so that the file takes at most this (18.3GB, 17GiB) "
    "and loses least, by measuring each group.",
)
@click.option(
    "--target-bpw", type=float, metavar="BITS", show_default="none", help="The same for bits per weight, such as 4.5."
)
@click.option(
    "--fit",
    metavar="DEVICE",
    show_default="none",
    help="The same for a class of machines: weights and context fit its memory; `edgellm recipes --devices` lists "
    "them.",
)
@click.option(
    "--context",
    type=click.IntRange(min=1),
    show_default="4096",
    metavar="TOKENS",
    help="Tokens of context that fit beside the weights, for --fit.",
)
@click.option("--variant", metavar="NAME", show_default="none", help="The recipe's choice for a class of machines.")
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    metavar="PATH",
    show_default="the recipe's",
    help="For a recipe: the folder or .gguf with the weights, where they are not on this machine yet or not public.",
)
@click.option(
    "--tensor-type",
    multiple=True,
    metavar="PATTERN=TYPE",
    help="Type of the tensors whose name the regular expression finds; may be given several times, the "
    "first that matches decides, and these come before the recipe's.",
)
@click.option(
    "--allow-fallback",
    is_flag=True,
    help="Where the blocks of a type do not fit a tensor's rows, take llama.cpp's replacement instead of refusing.",
)
@click.option(
    "--calibration",
    type=TextSource(),
    multiple=True,
    metavar="FILE|shipped|self|none[=WEIGHT]",
    show_default="the recipe's",
    help="Text for the importance matrix: a UTF-8 file, the text that ships, self (the model generates it), or none. "
    "Given several times, the sources share 24,576 tokens by their weights.",
)
@coverage_threshold_option
@require_coverage_option
@click.option(
    "--split-max-size",
    metavar="SIZE",
    show_default="one file",
    help="Write the artifact in parts of at most this size, 4GB say, as llama.cpp reads them.",
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
    variant: str | None, checkpoint: Path | None, calibration: tuple[str, ...], gate: str, threads: int, as_json: bool,
    allow_fallback: bool, coverage_threshold: int, require_coverage: float | None, split_max_size: str | None,
    target_size: str | None, target_bpw: float | None, fit: str | None, context: int | None,
) -> None:  # fmt: skip
    """Make a verified bundle from a checkpoint, a GGUF or a recipe.

    Converts, calibrates, quantizes, and measures on Japanese text how far the result is from the original. Steps
    that were made before are reused. A checkpoint or .gguf of yours is held to the recipe `default`: Q4_K_M,
    calibrated on the text that ships, wide limits.

    Exit code 3 when the gate, or --require-coverage, says no: the reasons are printed and nothing is written to --out.
    """
    from edgellm.build.goal import parse_size
    from edgellm.build.order import Order
    from edgellm.build.pipeline import build
    from edgellm.records.results import Verdict
    from edgellm.stages.coverage import CoverageRule
    from edgellm.store.work import WorkFolder, default_root

    order = Order(
        target, out, format_name, type_name, parse_tensor_types(tensor_type),
        calibration[0] if len(calibration) == 1 else calibration or None, gate == "recipe", threads,
        coverage=CoverageRule(coverage_threshold, require_coverage), allow_fallback=allow_fallback,
        split_bytes=parse_size(split_max_size) if split_max_size else None, variant=variant, checkpoint=checkpoint,
        target_size=target_size, target_bpw=target_bpw, fit=fit, context=context,
    )  # fmt: skip
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
    if built.predicted_mean_kld is not None:
        predicted = f"{built.predicted_mean_kld:.5f}"
        click.echo(f"predicted mean KLD {predicted}; solution.json says what each group of tensors costs")


def document(built: Built) -> str:
    return json.dumps(
        {
            "bundle": str(built.bundle),
            "artifact": str(built.artifact),
            "size_bytes": built.size.size_bytes,
            "bits_per_weight": built.size.bits_per_weight,
            "verdict": built.verdict.model_dump(),
            "reused": built.reused,
            "predicted_mean_kld": built.predicted_mean_kld,
        },
        ensure_ascii=False,
    )


def refused(verdict: Verdict) -> str:
    """The same keys when the gate said no: there is a verdict and no bundle."""
    keys = dict.fromkeys(("bundle", "artifact", "size_bytes", "bits_per_weight", "predicted_mean_kld"))
    return json.dumps(keys | {"verdict": verdict.model_dump(), "reused": []}, ensure_ascii=False)

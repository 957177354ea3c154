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
)
from edgellm.errors import GateFailed

if TYPE_CHECKING:
    from edgellm.build.calibration import Calibrated


@click.command(
    "calibrate",
    cls=Verb,
    arguments={"TARGET": CONVERTIBLE},
    examples=[
        "edgellm calibrate tiny-ja --out imatrix.gguf",
        "edgellm calibrate ./my-checkpoint --text my-text.txt --out imatrix.gguf",
        "edgellm calibrate ./my-checkpoint --text self --text shipped=2 --text my-text.txt --out imatrix.gguf",
    ],
    json_keys={
        "path": "the file that was written; null when --require-coverage said no",
        "tokens": "tokens of calibration text that every dense weight has seen",
        "coverage": "by weight, the share of its matrices that saw a token: experts, or one for a dense weight",
        "experts": "by layer, the tokens that were routed to each expert; empty for a dense model",
        "expert_coverage": "share of the experts that saw as many tokens as --coverage-threshold; 1 without experts",
        "missed": "the experts that saw fewer, each with its `layer`, its number `expert` and the `tokens` that it saw",
    },
)
@click.argument("target")
@click.option(
    "--text",
    type=TextSource(),
    multiple=True,
    default=("shipped",),
    metavar="FILE|shipped|self[=WEIGHT]",
    show_default="shipped",
    help="Calibration text: a UTF-8 file, the text that ships, or self (the model generates it). Given several times, "
    "the sources share 24,576 tokens by their weights.",
)
@coverage_threshold_option
@require_coverage_option
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The .gguf file to write.")
@json_option
def calibrate(
    target: str, text: tuple[str, ...], coverage_threshold: int, require_coverage: float | None, out: Path,
    as_json: bool,
) -> None:  # fmt: skip
    """Collect an importance matrix, in llama.cpp's GGUF format, which llama-quantize takes too.

    Two thirds of the text that ships are Japanese, one third is English. `quantize` calibrates by itself; this verb
    is for those who want the file. Text that fidelity is measured on is refused.

    Exit code 3 when --require-coverage says no: nothing is written to --out.
    """
    from edgellm.build.calibration import Calibrated, write_imatrix
    from edgellm.stages.coverage import CoverageRule
    from edgellm.store.work import WorkFolder, default_root

    rule = CoverageRule(coverage_threshold, require_coverage)
    try:
        with progress_on_stderr() as progress:
            made = write_imatrix(target, text, out, WorkFolder(default_root()), progress, rule)
    except GateFailed as error:
        if as_json and isinstance(error.verdict, Calibrated):
            click.echo(json.dumps(document(None, error.verdict), ensure_ascii=False))
        raise
    if as_json:
        click.echo(json.dumps(document(out, made), ensure_ascii=False))
        return
    click.echo(f"{out}: {made.tokens:,} tokens, {len(made.shares)} weights")
    if made.experts.experts:
        click.echo(made.experts.words)


def document(out: Path | None, made: Calibrated) -> dict[str, object]:
    experts = made.experts
    missed = [{"layer": layer, "expert": expert, "tokens": tokens} for layer, expert, tokens in experts.missed]
    return {
        "path": out and str(out), "tokens": made.tokens, "coverage": made.shares, "experts": experts.tokens,
        "expert_coverage": experts.share, "missed": missed,
    }  # fmt: skip

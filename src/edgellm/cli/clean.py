from __future__ import annotations

import json

import click

from edgellm.cli.progress import progress_on_stderr
from edgellm.cli.verb import Verb, json_option


@click.command(
    "clean",
    cls=Verb,
    examples=["edgellm clean", "edgellm clean --older-than 0"],
    json_keys={
        "removed": "steps and journals that were removed",
        "freed_bytes": "bytes that they held",
        "work": "the work folder",
    },
)
@click.option(
    "--older-than",
    "days",
    type=click.FloatRange(0),
    default=30,
    show_default=True,
    metavar="DAYS",
    help="Days without use after which a step is removed; 0: every step, so not while another build runs.",
)
@json_option
def clean(days: float, as_json: bool) -> None:
    """Remove old steps, old journals of evaluations, and what killed runs left behind, from the work folder.

    Bundles stay.
    """
    from edgellm.store.work import WorkFolder, default_root

    root = default_root()
    with progress_on_stderr() as progress, progress.work("clean"):
        removed, freed = WorkFolder(root).clean(days)
    if as_json:
        click.echo(json.dumps({"removed": removed, "freed_bytes": freed, "work": str(root)}, ensure_ascii=False))
    else:
        click.echo(f"removed {removed} steps and journals, {freed:,} bytes, from {root}")

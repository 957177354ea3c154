from __future__ import annotations

import json

import click


@click.command("clean")
@click.option("--older-than", "days", type=click.FloatRange(0), default=30, show_default=True, metavar="DAYS")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def clean(days: float, as_json: bool) -> None:
    """Remove steps that were not used for so many days, and what killed runs left behind. Bundles stay."""
    from edgellm.store.work import WorkFolder, default_root

    root = default_root()
    removed, freed = WorkFolder(root).clean(days)
    if as_json:
        click.echo(json.dumps({"removed": removed, "freed_bytes": freed, "work": str(root)}, ensure_ascii=False))
    else:
        click.echo(f"removed {removed} folders, {freed:,} bytes, from {root}")

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from edgellm.cli.progress import progress_on_stderr
from edgellm.cli.verb import Verb, VerbGroup, json_option

if TYPE_CHECKING:
    from edgellm.records.lab import LabRun


@click.command(
    "lab run",
    cls=Verb,
    examples=[
        "edgellm lab run --inventory lab.toml --recipe my-bundle --suite engine-short",
        "edgellm lab run --inventory lab.toml --recipe llm-jp-4-8b --suite engine-full --results results --json",
        "edgellm lab run --inventory lab.toml --recipe my-bundle --suite engine-short --on ray",
    ],
    json_keys={
        "bundle": "digest of what was measured: of the bundle's manifest, or of a GGUF",
        "suite": "name of the suite",
        "devices[].name": "name of the device",
        "devices[].done": "entries of the suite that were measured by this call",
        "devices[].failed": "entries that were not, though they should have been",
        "devices[].skipped": "entries that had results of an earlier call",
        "devices[].sent_bytes": "bytes that were pushed to the device; 0 where it had the bundle",
        "devices[].results": "result files of this call",
        "devices[].why": "what failed; empty when nothing did",
        "devices[].notes": "results that are not valid, and why",
    },
)
@click.option(
    "--inventory", type=click.Path(path_type=Path), required=True, metavar="FILE",
    help="The devices: a TOML file, see docs/lab.md.",
)  # fmt: skip
@click.option(
    "--recipe", "target", required=True, metavar="R|BUNDLE",
    help="What is measured: a recipe, whose bundle is built first, a bundle folder or a .gguf.",
)  # fmt: skip
@click.option(
    "--suite", required=True, metavar="S",
    help="What is run on each device: engine-short, engine-full or a TOML file.",
)  # fmt: skip
@click.option(
    "--on", type=click.Choice(["ssh", "ray"]), default="ssh", show_default=True,
    help="How devices are reached; ray: nodes of a Ray cluster that is there already.",
)  # fmt: skip
@click.option(
    "--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True, metavar="DIR",
    help="Folder of results, with a folder for each device.",
)  # fmt: skip
@click.option("--again", is_flag=True, help="Measure again what has results; they stay beside the new ones.")
@click.option("--offline", is_flag=True, help="Reach no other machine: only devices on this one are measured.")
@json_option
def run(
    inventory: Path, target: str, suite: str, on: Literal["ssh", "ray"], results: Path, again: bool, offline: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Measure a bundle on many devices at the same time, and collect the results.

    The bundle is pushed to each device that lacks it, checked there by digest, `edgellm bench` runs there, and the
    result comes back. A device that fails stops no other. What has a result is not run again, so after a failure the
    same command finishes the rest. Nothing is sent to any machine but those that the inventory names.
    """
    from edgellm.build.lab import LabOrder, run_lab
    from edgellm.errors import DeviceFailed
    from edgellm.store.work import WorkFolder, default_root

    order = LabOrder(inventory, target, suite, results, on, again, offline)
    with progress_on_stderr() as progress:
        found = run_lab(order, WorkFolder(default_root()), progress)
    if as_json:
        click.echo(found.model_dump_json())
    else:
        print_rows(found)
    if found.failed:
        names = ", ".join(row.name for row in found.failed)
        raise DeviceFailed(f"{names} did not finish; mend what is said of it and run the same command again to finish")


def print_rows(found: LabRun) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    counts = (Column(name, justify="right") for name in ("done", "failed", "skipped", "MB sent"))
    table = Table("device", *counts, "why", box=None, pad_edge=False)
    for row in found.devices:
        sent = f"{row.sent_bytes / 1e6:.1f}"
        why = "; ".join([*([row.why] if row.why else []), *row.notes])
        table.add_row(row.name, str(row.done), str(row.failed), str(row.skipped), sent, escape(why))
    Console().print(table)


lab = VerbGroup("lab", [run], "Measure on many devices, over ssh or through Ray.")

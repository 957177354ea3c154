from __future__ import annotations

from pathlib import Path

import click

from edgellm.cli.progress import progress_on_stderr


@click.command("demo")
@click.option("--out", type=click.Path(path_type=Path), default=Path("demo"), show_default=True, metavar="DIR")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def demo(out: Path, as_json: bool) -> None:
    """Run the whole pipeline on the embedded model, offline, and write a report.

    Converts, calibrates, quantizes to eight types, verifies, bundles, benches, serves one HTTP request and
    writes report.html with what it measured.
    """
    from edgellm.build.demo import run_demo

    with progress_on_stderr() as progress:
        result = run_demo(out, progress)
    if as_json:
        click.echo(result.model_dump_json())
        return
    from edgellm.cli.tables import print_ladder

    print_ladder(result.formats)
    click.echo(f"\nQ: {result.question}\nA: {result.reply}\n")
    click.echo(f"bundle: {result.bundle}\nreport: {result.report}\n{result.elapsed_s:.0f} s in all")

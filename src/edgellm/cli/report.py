from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from edgellm.cli.verb import Verb, json_option


@click.command(
    "report",
    cls=Verb,
    arguments={"RESULTS": "Result files, as `--save` writes them, the demo's demo.json, or folders of them."},
    examples=[
        "edgellm report results --out report.html",
        "edgellm report results --for claims --out claims.html",
        "edgellm report one.json two.json --out report.html --json",
    ],
    json_keys={"path": "the HTML file", "results": "how many results it shows"},
)
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The .html to write.")
@click.option(
    "--for", "about", type=click.Choice(["results", "claims"]), default="results", show_default=True,
    help="What it is about: the results themselves, or what they show of the claims.",
)  # fmt: skip
@json_option
def report(results: Sequence[Path], out: Path, about: str, as_json: bool) -> None:
    """Tables and plots from result files alone; no model is run.

    One HTML file in Japanese and English that needs nothing but itself. Results that are not valid are shown and
    marked.
    """
    from edgellm.build.reporting import report_on

    count = report_on(results, out, for_claims=about == "claims")
    if as_json:
        click.echo(json.dumps({"path": str(out), "results": count}, ensure_ascii=False))
    else:
        click.echo(f"{out}: {count} results")

from __future__ import annotations

from pathlib import Path

import click

from edgellm.cli.verb import Verb, json_option

RESULTS = Path("results")


@click.command(
    "claims",
    cls=Verb,
    examples=["edgellm claims", "edgellm claims --results results --json"],
    json_keys={
        "claims[].id": "name of the claim, as the recipes' targets have it",
        "claims[].source": "who says so",
        "claims[].statement": "what is claimed, in our words; `ja` is the same in Japanese",
        "claims[].target": "what has to hold, measure by measure",
        "claims[].measured": "what was found, in a few words; null where nothing was",
        "claims[].status": "`met`: all that is required was measured and every case meets; `missed`: some case misses; "
        "`unmeasured`",
        "claims[].cases": "one for each device, test and pair of files: `device`, `test`, `parallel`, "
        "`value{value,low,high}`, `status` (also `undecided`: the interval holds the target) and `files`",
        "not_counted": "the files that show nothing of a claim, each with the reason",
    },
)
@click.option(
    "--results", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    show_default="results, if it is there",
    help="Folder of result files, as `--save` makes it; folders in it are read too.",
)  # fmt: skip
@json_option
def claims(results: Path | None, as_json: bool) -> None:
    """The reports' claims beside what result files show.

    A status stands for each device and batch, and the claim's follows from these. Only valid results of whole models
    count. What no file shows is unmeasured.
    """
    from edgellm.build.claims import claims_of

    found = claims_of(results or (RESULTS if RESULTS.is_dir() else None))
    if as_json:
        click.echo(found.model_dump_json())
        return
    from edgellm.cli.result_tables import print_claims

    print_claims(found)

from __future__ import annotations

from pathlib import Path

import click

from edgellm.cli.verb import Verb, json_option
from edgellm.errors import GateFailed


@click.command(
    "compare",
    cls=Verb,
    arguments={
        "A": "A result file, or a folder of results: what B is held against.",
        "B": "Another result file, or another folder.",
    },
    examples=[
        "edgellm compare before.json after.json",
        "edgellm compare before.json after.json --test tg128 --fail-below 0.97",
        "edgellm compare results/old results/new --json",
        "edgellm compare original-ifeval.json quantized-ifeval.json",
    ],
    json_keys={
        "ratio.value": "B over A, of the first test; `ratio` is null where A's score is 0",
        "ratio.low": "lower end of its 95 % interval",
        "ratio.high": "upper end",
        "difference": "of evaluations: B less A, `{value, low, high}` with its 95 % interval over items; else null",
        "verdict": "`B is better`, `B is worse`, `no difference seen` where the interval holds 1, `not known` where a "
        "side has one run only",
        "test": "the test that both are of: the decode test, or the one that was asked for",
        "tests[].test": "every test that both have",
        "tests[].ratio": "its ratio, as above",
        "tests[].difference": "its difference, as above",
        "tests[].verdict": "its verdict, as above",
        "notes": "what else differs, and whose figures do not hold",
    },
)
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--test", metavar="NAME", help="Only this test: `tg128`, or `ttft p50` of a load.")
@click.option(
    "--fail-below", type=click.FloatRange(0, min_open=True), metavar="X",
    help="Exit code 3 where the lower end of how many times as good B is, in any test, lies below X.",
)  # fmt: skip
@json_option
def compare(a: Path, b: Path, test: str | None, fail_below: float | None, as_json: bool) -> None:
    """How much faster, or better, B is than A, with an interval, and whether there is a difference at all.

    Engine results are compared test by test: A's times over B's, resampling the runs of each. Load results: percentiles
    and amounts a second, resampling requests. Evaluations: B's score less A's, resampling the items that both have;
    different suites, protocols, judges or items are refused. Of two folders the newest results of each model are
    compared. What else differs (models, machines, settings) is noted, and so is a result that is not valid.
    """
    from edgellm.build.comparing import compare as held_against
    from edgellm.measures.comparison import advantage

    found = held_against(a, b, test)
    if as_json:
        click.echo(found.model_dump_json())
    else:
        from edgellm.cli.result_tables import print_comparison

        print_comparison(found)
    if fail_below is not None:
        # A ratio is missing where A's score is 0, of which nothing can fall short.
        times = [(advantage(row.ratio, row.better), row.test) for row in found.tests if row.ratio is not None]
        low = [each for each in times if each[0] < fail_below]
        if low:
            worst, test_name = min(low)
            said = f"{worst:.3f} times as good as {a} in {test_name}"
            raise GateFailed(f"{b} may be only {said}, below {fail_below:g}; see what changed between the two")

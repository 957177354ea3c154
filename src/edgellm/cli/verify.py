from __future__ import annotations

from pathlib import Path

import click

from edgellm.cli.progress import progress_on_stderr
from edgellm.cli.verb import Verb, json_option
from edgellm.errors import GateFailed


@click.command(
    "verify",
    cls=Verb,
    arguments={"BUNDLE": "A bundle folder, as `quantize` makes it."},
    examples=[
        "edgellm verify my-bundle",
        "edgellm verify my-bundle --reference ./my-checkpoint",
        "edgellm verify my-bundle --reference ./my-checkpoint --kinds",
    ],
    json_keys={
        "passed": "whether every check passed",
        "checks[].name": "what was checked",
        "checks[].passed": "whether it passed",
        "checks[].value": "what was found: a number, a text or null",
        "checks[].limit": "what it was held to: a number, a text or null",
    },
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--reference", metavar="TARGET", help="Measure fidelity again, against this checkpoint, .gguf or recipe.")
@click.option("--kinds", is_flag=True, help="With --reference: also by kind of text (`fidelity` in JSON).")
@json_option
def verify(bundle: Path, reference: str | None, kinds: bool, as_json: bool) -> None:
    """Check a bundle: digests, structure, tokenizer round trip, that it generates, and with --reference fidelity.

    Fidelity is held to the gate that the bundle was made with. Exit code 3 when a check fails.
    """
    from edgellm.build.verification import verify_bundle
    from edgellm.records.results import VerdictByKind
    from edgellm.store.work import WorkFolder, default_root

    with progress_on_stderr() as progress:
        verdict = verify_bundle(bundle, reference, WorkFolder(default_root()), progress, by_kind=kinds)
    if as_json:
        click.echo(verdict.model_dump_json())
    else:
        from edgellm.cli.tables import print_checks, print_kinds

        print_checks(verdict.checks)
        if isinstance(verdict, VerdictByKind):
            print_kinds(verdict.fidelity)
    if not verdict.passed:
        from edgellm.build.pipeline import reasons

        raise GateFailed(f"{bundle} did not pass: {reasons(verdict)}; fetch or make the bundle again", verdict)

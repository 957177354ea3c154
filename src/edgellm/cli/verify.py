from __future__ import annotations

from pathlib import Path

import click

from edgellm.cli.progress import progress_on_stderr
from edgellm.errors import GateFailed


@click.command("verify")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--reference", metavar="TARGET", help="Measure fidelity again, against this checkpoint or GGUF.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def verify(bundle: Path, reference: str | None, as_json: bool) -> None:
    """Check a bundle: digests, structure, tokenizer round trip, that it generates, and with --reference fidelity.

    Exit code 3 when a check fails.
    """
    from edgellm.build.verification import verify_bundle
    from edgellm.store.work import WorkFolder, default_root

    with progress_on_stderr() as progress:
        verdict = verify_bundle(bundle, reference, WorkFolder(default_root()), progress)
    if as_json:
        click.echo(verdict.model_dump_json())
    else:
        from edgellm.cli.tables import print_checks

        print_checks(verdict.checks)
    if not verdict.passed:
        raise GateFailed(f"{bundle} did not pass: {', '.join(c.name for c in verdict.checks if not c.passed)}", verdict)

from __future__ import annotations

import json
from pathlib import Path

import click

from edgellm.cli.verb import Verb, VerbGroup, json_option
from edgellm.errors import GateFailed


@click.command(
    "audit verify",
    cls=Verb,
    arguments={"FILE": "an audit log, as `serve --audit` writes it."},
    examples=["edgellm audit verify audit.jsonl", "edgellm audit verify audit.jsonl --head sha256:9f86d08…"],
    json_keys={
        "passed": "whether the chain is whole and holds the kept head",
        "records": "lines that were checked",
        "head": "hash of the last of them, to keep elsewhere for the next time",
        "broken_line": "number of the first line that is broken, or null",
        "problem": "what is wrong with it, or empty",
        "torn_lines": "pieces of lines that crashes left, each named by the line after it",
        "unfinished_bytes": "bytes after the last line: from a crash, or being written now",
    },
)
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--head", metavar="HASH", help="Hash that a check of before printed; a line must have it.")
@json_option
def verify(path: Path, head: str | None, as_json: bool) -> None:
    """Check the hash chain of an audit log; exit code 3 where it is broken.

    Each line holds the hash of the line before it, so that a line that was changed, removed, added or moved shows. A
    chain alone cannot show that its last lines were cut off, or that somebody made all of it anew: for that keep the
    head that this prints where the server cannot write, and give it with --head the next time.

    What a crash left of a line stays in the file, and the next line names it by its hash; that is no break.
    """
    from dataclasses import asdict

    from edgellm.store.hash_chain import verify as verify_chain

    found = verify_chain(path, head)
    if as_json:
        click.echo(json.dumps({"passed": found.whole} | asdict(found), ensure_ascii=False))
    else:
        click.echo(f"{found.records} lines are whole, and the head is {found.head or 'that of an empty log'}")
        if found.unfinished_bytes:
            click.echo(f"{found.unfinished_bytes} bytes after them are a line that was not finished")
    if not found.whole:
        where = f"{path} line {found.broken_line}" if found.broken_line else str(path)
        raise GateFailed(f"{where} breaks the chain: {found.problem}; compare with a copy of before")


audit = VerbGroup("audit", [verify], "Check the audit log of a server.")
